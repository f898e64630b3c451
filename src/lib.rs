//! pointsman: an OpenAI-compatible gateway that lets a learned router choose which model answers.

pub mod admission;
pub mod budget;
pub mod cache;
pub mod config;
pub mod database;
pub mod demo;
pub mod fleet;
pub mod gateway;
pub mod http;
pub mod hub;
pub mod ledger;
pub mod money;
pub mod openai;
pub mod resilience;
pub mod routing;
pub mod secret;
pub mod server;
pub mod snapshot;
pub mod store;
pub mod stream;
pub mod telemetry;
pub mod tenancy;
pub mod upstream;
