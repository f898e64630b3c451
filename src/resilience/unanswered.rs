//! Why another service that was asked gave no answer.

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Too many questions are on their way.
    #[error("too many questions are on their way")]
    Busy,
    /// Time was up.
    #[error("no answer in time")]
    Late,
    /// It failed.
    #[error("{0}")]
    Failed(String),
}
