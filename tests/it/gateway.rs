//! The gateway's laws (the design's section 4), each test named for the sentence it proves.

mod access_log;
mod accounting;
mod bounds;
mod budgets;
mod bytes;
mod cache;
mod commit;
mod drain;
mod egress;
mod ends;
mod faults;
mod headers;
mod http2;
mod keep_alive;
mod leaving;
mod metrics;
mod outcomes;
mod recovery;
mod reload;
mod routing;
mod secrets;
mod shipped;
mod smuggling;
mod stalling;
mod tenancy;
mod tls;
