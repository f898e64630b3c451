//! What the gateway tells its operators: metrics, and one accounting record per request.
//!
//! Must not know of HTTP bodies or upstreams, and never sees a prompt or a secret.

pub mod account;
pub mod metrics;
pub mod outcome;
