//! What several gateways share at every moment, by Redis.

pub mod link;
