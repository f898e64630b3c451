//! What a command says where the encoder of an artefact is not at hand.

use pointsman::routing::embedders::EmbedderMismatch;
use pointsman::routing::engine::EngineError;

/// The option that names an encoder.
const OPTION: &str = "--encoder DIR";

/// What is wrong with a router, and what to do about it.
pub(super) fn advised(error: &EngineError) -> String {
    match error {
        EngineError::Embedder { mismatch, .. } => format!("{error}: {}", mismatch.advice(OPTION)),
        EngineError::Router(error) => error.to_string(),
    }
}

/// The same where the router goes by a name.
pub(super) fn missing(router: &str, mismatch: &EmbedderMismatch) -> String {
    format!("{router} {mismatch}: {}", mismatch.advice(OPTION))
}
