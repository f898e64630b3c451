//! pointsman: an OpenAI-compatible gateway that lets a learned router choose which model answers.

pub mod config;
pub mod openai;
pub mod secret;
pub mod stream;
pub mod telemetry;
pub mod upstream;
