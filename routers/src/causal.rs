//! A causal language model as a router: what it is asked, what its answer means, and what it learns from.
//!
//! The model reads an instruction, the request and the name of a candidate, and says as one of five label tokens how good
//! that candidate's answer will be; the labels' logits give the candidate's skill. Training and scoring both go through
//! [`Template`], so that a model scores the very tokens that it was trained on.
//!
//! Must not know how a network is run or trained as a whole; only the small [`head`] is.

pub mod examples;
pub mod head;
pub mod labels;
pub mod measure;
pub mod reader;
mod router;
pub(crate) mod schedule;
mod script;
pub mod template;
mod weights;

pub use examples::{Draw, Example, Sampler, SamplerState};
pub use head::Head;
pub use labels::{LABELS, label_of, skill};
pub use reader::{Reader, ReaderError};
pub use router::Causal;
pub use script::{Prompt, Script};
pub use template::{PromptTokens, Template, TemplateError};
pub use weights::CausalWeights;

#[cfg(test)]
mod tests;
