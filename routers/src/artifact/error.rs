//! What can be wrong with an artefact.

use super::FORMAT_VERSION;

/// Why a file is not a usable router artefact.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("router artefact `{file}`: {problem}")]
pub struct ArtifactError {
    /// The file, as the caller named it.
    pub file: String,
    /// What is wrong with it.
    pub problem: ArtifactProblem,
}

/// What is wrong, whichever file it is.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ArtifactProblem {
    /// Not a safetensors file, or cut short.
    #[error("not a whole safetensors file ({0}): copy it again, or train it again")]
    NotSafetensors(String),
    /// A safetensors file of something else.
    #[error("a safetensors file without a router manifest: give a file that `pointsman train` wrote")]
    NoManifest,
    /// The manifest cannot be read, or contradicts itself.
    #[error("its manifest cannot be used: {0}")]
    Manifest(String),
    /// Written by a later release.
    #[error(
        "it has format version {found}, this release reads up to {FORMAT_VERSION}: upgrade pointsman, or train it again"
    )]
    NewerFormat {
        /// The file's version.
        found: u64,
    },
    /// The content is not the one that was written.
    #[error(
        "its content has SHA-256 {found}, its manifest says {expected}: the file is damaged, copy it again or train it again"
    )]
    Digest {
        /// The digest written down.
        expected: String,
        /// The digest of what is there.
        found: String,
    },
    /// A router of another kind.
    #[error(
        "it holds a router of kind `{found}`, expected `{expected}`: use it as `router: {found}`, or give another file"
    )]
    Kind {
        /// The file's kind.
        found: String,
        /// The kind wanted.
        expected: String,
    },
    /// A router that this release does not have.
    #[error("it holds a router of kind `{found}`, which this release does not know: upgrade pointsman")]
    UnknownKind {
        /// The file's kind.
        found: String,
    },
    /// A tensor is missing, or has the wrong type, shape or values.
    #[error("its tensor `{name}` {reason}: the file was not written by `pointsman train`, train it again")]
    Tensor {
        /// The tensor.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
}

impl ArtifactProblem {
    /// Says which file has the problem.
    pub(super) fn in_file(self, file: &str) -> ArtifactError {
        ArtifactError { file: file.to_owned(), problem: self }
    }
}
