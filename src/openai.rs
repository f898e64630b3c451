//! What the gateway knows of OpenAI's wire formats: just enough to route a request, to rewrite the few bytes
//! that law 1 allows, and to tell a whole answer from a broken one.
//!
//! Must not know of tenants, upstreams or sockets. Everything a client or an upstream adds to the formats
//! tomorrow passes through, since values are kept as the bytes they arrived in.

pub mod answer;
pub mod canonical;
pub mod characters;
pub mod chunk;
pub mod duration;
pub mod endpoint;
pub mod error;
pub mod messages;
mod object;
pub mod request;
pub mod rewrite;
pub mod scan;
pub mod text;
pub mod usage;
