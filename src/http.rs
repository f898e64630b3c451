//! Requests in, responses out: which handler a request goes to, and what every response carries.
//!
//! Must not know how connections are accepted or closed.

mod admin;
pub mod app;
mod attempt;
mod body;
mod cached;
mod chat;
mod error;
mod exchange;
mod explain;
mod forward;
mod heartbeat;
mod limits;
mod meta;
mod observe;
mod page;
mod pursuit;
mod refuse;
mod respond;
mod serve;
mod target;
mod usage;

pub use refuse::{HeadFault, refuse};
pub use respond::{BodyError, ResponseBody};
pub use serve::{Face, HEADER_FIELDS_MAX, handle};
