//! Training of a causal language model as a router, every weight of it.
//!
//! candle gives the derivatives. Its fused norms, softmax and rotations have none, so the network here is made of
//! operations that do. A training goes on after an interruption to the same bits, on the same machine.
//!
//! Must not know where the data come from, nor how a trained model is served: what it writes is an ordinary folder.

mod checkpoint;
mod config;
mod error;
mod event;
mod files;
mod forms;
mod gguf;
mod measure;
mod model;
mod network;
mod optimiser;
mod options;
mod pack;
mod recipe;
mod run;
mod vocabulary;
mod weights;

pub use error::FinetuneError;
pub use event::{Event, Measures, StepReport};
pub use model::CausalModel;
pub use options::{FinetuneOptions, Precision};
pub use run::{Finetuned, Report, finetune};

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;
