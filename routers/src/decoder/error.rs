//! What can be wrong with a decoder's files, or with a pass through it.

use std::path::PathBuf;

use crate::gguf::GgufError;

/// Why a decoder could not be loaded, or gave no states.
#[derive(Debug, thiserror::Error)]
pub enum DecoderError {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A folder holds no weights.
    #[error(
        "{}: holds neither model.safetensors nor model.safetensors.index.json; fetch the model anew",
        path.display()
    )]
    NoWeights {
        /// The folder.
        path: PathBuf,
    },
    /// A JSON file does not say what it must, or the metadata of a GGUF file does not.
    #[error("{}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The files describe a network that this crate does not run.
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
    /// A file of weights is not a whole safetensors file.
    #[error("{}: not a whole safetensors file: {reason}; fetch it again", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A file is not a whole GGUF file.
    #[error("{}: {source}", path.display())]
    Gguf {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: GgufError,
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
    /// A token has no row in the table of embeddings.
    #[error("token {token} is outside the vocabulary of {vocabulary}")]
    Token {
        /// The token.
        token: u32,
        /// Rows of the table.
        vocabulary: usize,
    },
    /// A sequence is longer than the model can see.
    #[error("a sequence of {tokens} tokens is longer than the model's {tokens_max}")]
    TooLong {
        /// Tokens in the sequence, those of its prefix included.
        tokens: usize,
        /// The most that the model takes.
        tokens_max: usize,
    },
    /// There is no last position to give a state for.
    #[error("an empty sequence has no last token")]
    Empty,
    /// A prefix was computed by another model.
    #[error("the prefix was computed by another model")]
    ForeignPrefix,
    /// The network gave an infinite value or none at all.
    #[error("the decoder produced a state that is not finite")]
    NotFinite,
}
