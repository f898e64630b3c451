//! Which of a pool's models should answer a request, in which order, and why.
//!
//! Must not know of upstreams, keys or sockets: a pool is a list of names with prices and abilities.

pub mod beside;
pub mod candidates;
pub mod decide;
pub mod drift;
pub mod embedders;
pub mod engine;
pub mod explain;
pub mod plan;
pub mod served;
pub mod text;
pub mod worker;
