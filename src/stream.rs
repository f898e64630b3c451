//! Answers on their way from an upstream to a client: read, checked, rewritten where law 1 allows, never held
//! longer than needed, and ended honestly.
//!
//! Must not know of tenants, routes or connections: a stream is any body of bytes.

pub mod body;
pub mod fault;
pub mod patience;
pub mod progress;
pub mod relay;
pub mod sse;
pub mod transcript;
pub mod whole;
