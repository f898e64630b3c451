//! What keeps a request going when upstreams do not: which model is asked next and when, which upstreams are left alone.
//!
//! Knows instants and numbers only: no sockets, no HTTP, no clock of its own. Whoever calls says what time it is, so that every
//! rule can be tested to the millisecond.

pub mod attempts;
pub mod backoff;
pub mod breaker;
pub mod budget;
pub mod health;
pub mod latencies;
pub mod unanswered;
