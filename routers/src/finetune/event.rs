//! What a training tells its caller.

use std::path::PathBuf;

/// Something that a caller may want to draw or write down.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A step was made.
    Step(StepReport),
    /// The model was measured on held-out prompts.
    Measured(Measures),
    /// A checkpoint was written.
    Checkpoint(PathBuf),
}

/// A step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// From 1.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Mean cross-entropy of the step's labels over the whole vocabulary, in nats.
    pub loss: f64,
    /// Tokens read in this step, without padding.
    pub tokens: usize,
    /// The step size.
    pub learning_rate: f64,
    /// The length of the gradient before it was clipped.
    pub gradient_norm: f64,
}

/// How good the model is on held-out prompts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measures {
    /// Steps made.
    pub step: usize,
    /// Mean cross-entropy of the labels over the whole vocabulary, in nats.
    pub loss: f64,
    /// The share of the pairs of models on a prompt that skills order as scores do; `None` when no prompt has such a pair.
    pub pairwise_accuracy: Option<f64>,
    /// Labels measured.
    pub examples: usize,
}
