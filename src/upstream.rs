//! Upstream models: where they are, how they are called, what a failed call means.
//!
//! Must not know of tenants, routes or clients' connections. Upstreams come from the configuration alone;
//! redirects are not followed.

mod address;
pub mod body;
pub mod check;
pub mod client;
pub mod collector;
pub mod egress;
pub mod headers;
pub mod model;
pub mod service;
pub mod tls;
pub mod webhook;
