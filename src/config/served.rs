//! A server that reads texts for a router.

use std::path::PathBuf;

use super::model::ModelConfig;

/// What reads texts for a router in another process (key `served`).
#[derive(Debug, Clone, PartialEq)]
pub struct ServedConfig {
    /// Where it is, and how it is spoken to.
    pub upstream: ModelConfig,
    /// What it is asked.
    pub api: ServedApi,
    /// The tokenizer of a language model, by which it is given tokens; else it is given texts.
    pub tokenizer: Option<PathBuf>,
}

/// What a server is asked, by its path below the base URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedApi {
    /// `/completions`: the log-probabilities of the labels behind a prompt.
    Completions,
    /// `/chat/completions`: those behind a conversation that the prompt is.
    Chat,
    /// `/embeddings`, as OpenAI has them: the vector of a text.
    Embeddings,
    /// `/embed`, as Text Embeddings Inference has it: likewise.
    Embed,
}

impl ServedApi {
    /// Its name in files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completions => "completions",
            Self::Chat => "chat",
            Self::Embeddings => "embeddings",
            Self::Embed => "embed",
        }
    }

    /// Its path below a base URL.
    #[must_use]
    pub const fn path(self) -> &'static str {
        match self {
            Self::Completions => "/completions",
            Self::Chat => "/chat/completions",
            Self::Embeddings => "/embeddings",
            Self::Embed => "/embed",
        }
    }

    /// It says labels, not vectors.
    #[must_use]
    pub const fn labels(self) -> bool {
        matches!(self, Self::Completions | Self::Chat)
    }
}
