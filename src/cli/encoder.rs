//! What a command says where the encoder or the decoder of an artefact is not at hand.

use pointsman::routing::embedders::Misfit;
use pointsman::routing::engine::EngineError;

/// The options that name an encoder and a decoder.
const OPTIONS: [&str; 2] = ["--encoder DIR", "--decoder PATH"];

/// What is wrong with a router, and what to do about it.
pub(super) fn advised(error: &EngineError) -> String {
    match error {
        EngineError::Misfit { misfit, .. } => format!("{error}: {}", advice(misfit)),
        EngineError::Router(error) => error.to_string(),
    }
}

/// The same where the router goes by a name.
pub(super) fn missing(router: &str, misfit: &Misfit) -> String {
    format!("{router} {misfit}: {}", advice(misfit))
}

fn advice(misfit: &Misfit) -> String {
    let [encoder, decoder] = OPTIONS;
    misfit.advice(encoder, decoder)
}
