//! What can be wrong with an encoder's folder, or with a pass through it.

use std::path::PathBuf;

/// Why an encoder could not be loaded, or gave no vector.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A JSON file does not say what it must.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The folder describes a network that this crate does not run.
    #[error("{}: {what} is not supported (supported: {supported})", path.display())]
    Unsupported {
        /// The file that asks for it.
        path: PathBuf,
        /// What was asked for.
        what: String,
        /// What there is instead.
        supported: &'static str,
    },
    /// The tokenizer cannot be used.
    #[error("{}: {reason}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file of weights is not a whole safetensors file.
    #[error("{}: not a whole safetensors file: {reason}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is missing, or has the wrong shape, type or values.
    #[error("{}: tensor `{name}` {reason}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// The tokenizer failed on a text.
    #[error("tokenizing failed: {0}")]
    Tokenize(String),
    /// A token has no row in the table of word embeddings.
    #[error("token {token} is outside the vocabulary of {vocabulary}")]
    Token {
        /// The token.
        token: u32,
        /// Rows of the table.
        vocabulary: usize,
    },
    /// A token sequence is longer than the table of positions.
    #[error("a sequence of {tokens} tokens is longer than the model's {tokens_max}")]
    TooLong {
        /// Tokens in the sequence.
        tokens: usize,
        /// The most that the model takes.
        tokens_max: usize,
    },
    /// The network gave an infinite value or none at all.
    #[error("the encoder produced a vector that is not finite")]
    NotFinite,
}
