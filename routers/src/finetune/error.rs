//! What can be wrong with a base model, its data, or a training.

use std::path::PathBuf;

use crate::causal::TemplateError;

/// Why there is no trained model.
#[derive(Debug, thiserror::Error)]
pub enum FinetuneError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file could not be written.
    #[error("{}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A file of the base model does not say what it must.
    #[error("{}: {reason}", path.display())]
    Base {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The base model is a network that cannot be trained here.
    #[error("{}: {what} is not supported (supported: {supported})", path.display())]
    Unsupported {
        /// The file that asks for it.
        path: PathBuf,
        /// What was asked for.
        what: String,
        /// What there is instead.
        supported: &'static str,
    },
    /// The labels cannot be added to the tokenizer.
    #[error("the tokenizer cannot be given the labels: {0}")]
    Vocabulary(String),
    /// A text has no tokens.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// An operation of the network failed; most often memory is short.
    #[error("the network failed: {0}")]
    Network(#[from] candle_core::Error),
    /// There is nothing to learn from.
    #[error("no scored prompts to train on: give outcome or battle rows with prompts")]
    NoExamples,
    /// The threads for the training could not be started.
    #[error("no threads for the training: {0}")]
    Threads(#[from] rayon::ThreadPoolBuildError),
    /// A checkpoint is not one, or is of another training.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint, or the folder of checkpoints.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The caller wanted no more; a checkpoint was written, if there is a folder for them.
    #[error("interrupted after step {step}")]
    Interrupted {
        /// The last step made.
        step: usize,
    },
    /// The loss or the gradient came out infinite or not a number.
    #[error("training diverged at step {step}: the loss is not finite; try a smaller learning rate")]
    Diverged {
        /// The step.
        step: usize,
    },
}
