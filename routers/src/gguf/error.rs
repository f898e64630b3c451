//! What can be wrong with a GGUF file.

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The first bytes are not `GGUF`.
    #[error("not a GGUF file: it does not start with `GGUF`")]
    Magic,
    /// The file was written for machines with the other order of bytes.
    #[error("a big-endian GGUF file is not supported; convert it to little-endian")]
    BigEndian,
    /// A version that is not read.
    #[error("GGUF version {0} is not supported (supported: 2, 3); convert the model anew")]
    Version(u32),
    /// The file ends before its header does.
    #[error("cut short: the file ends within {0}; fetch it again")]
    Short(String),
    /// Bytes that should be text are not UTF-8.
    #[error("{0} is not UTF-8")]
    Text(String),
    /// A metadata key or a tensor's name stands there twice.
    #[error("`{0}` is there twice")]
    Twice(String),
    /// A metadata value cannot be what it is.
    #[error("metadata `{key}` {reason}")]
    Metadata {
        /// The key.
        key: String,
        /// What is wrong.
        reason: String,
    },
    /// A tensor's header cannot be true.
    #[error("tensor `{name}` {reason}")]
    Tensor {
        /// The tensor.
        name: String,
        /// What is wrong.
        reason: String,
    },
}
