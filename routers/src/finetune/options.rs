//! How a model is trained.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Serialize;

/// The type of the weights that are written. Training itself is in 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// 16 bits with the range of 32: what servers run.
    #[default]
    Bf16,
    /// As trained.
    F32,
}

/// How a model is trained. What is serialised decides the weights; a checkpoint goes on only with the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FinetuneOptions {
    /// Steps in all.
    pub steps: usize,
    /// Prompts a step, each with up to `models_per_prompt` labels.
    pub batch: usize,
    /// Prompts that go through the network at once: bounds the memory, and changes results by rounding only.
    pub micro_batch: usize,
    /// Models a prompt: the prompt is read once for all of them.
    pub models_per_prompt: usize,
    /// The largest step size.
    pub learning_rate: f64,
    /// Steps over which the step size grows to the largest; a cosine then leads it towards zero.
    pub warm_up: usize,
    /// How fast matrices decay, per step size; norms and biases don't.
    pub weight_decay: f64,
    /// The gradient's greatest length.
    pub clip: f64,
    /// Decides what is held out and what is drawn.
    pub seed: u64,
    /// The share of prompts that are held out.
    pub dev_share: f64,
    /// Tokens of a request that are read; longer ones lose their middle.
    pub question_tokens_max: usize,
    /// Steps between two measurements; there is always one at the end.
    #[serde(skip)]
    pub evaluate_every: usize,
    /// Held-out prompts to measure on.
    #[serde(skip)]
    pub evaluate_prompts_max: usize,
    /// Steps between two checkpoints.
    #[serde(skip)]
    pub checkpoint_every: usize,
    /// Where checkpoints go; `None` for none.
    #[serde(skip)]
    pub checkpoint_dir: Option<PathBuf>,
    /// Goes on from the latest checkpoint, if there is one.
    #[serde(skip)]
    pub resume: bool,
    /// Threads on the CPU; `None` for one a core.
    #[serde(skip)]
    pub threads: Option<NonZeroUsize>,
}

impl Default for FinetuneOptions {
    fn default() -> Self {
        Self {
            steps: 2000,
            batch: 16,
            micro_batch: 4,
            models_per_prompt: 4,
            learning_rate: 2e-5,
            warm_up: 100,
            weight_decay: 0.01,
            clip: 1.0,
            seed: 0,
            dev_share: crate::train::DEV_SHARE,
            question_tokens_max: 256,
            evaluate_every: 200,
            evaluate_prompts_max: 200,
            checkpoint_every: 200,
            checkpoint_dir: None,
            resume: false,
            threads: None,
        }
    }
}
