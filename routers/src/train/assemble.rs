//! From data to an artefact: what is trained on, what is measured, what goes into the file.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use faer::Mat;
use serde_json::json;

use super::{MfOptions, Part, Progress, TrainError, TrainedMf, sample, train_mf};
use crate::artifact::{Anchor, Artifact, Body, CalibrationSample, Provenance, Ratings, Source};
use crate::data::{Dataset, Prompt};
use crate::embed::{EmbedError, Embedder, embed_all};
use crate::split::{PromptHash, Side, Split};

/// The share of prompts that training stops early on.
pub const DEV_SHARE: f64 = 0.1;

/// The text of a prompt as a gateway would route it: the user's turns, a line each.
#[must_use]
pub fn routing_text(prompt: &Prompt) -> String {
    prompt.turns.join("\n")
}

/// Embeds every prompt, on one thread: one row each.
///
/// # Errors
/// When the embedder fails.
pub fn embed_prompts(
    data: &Dataset,
    embedder: &dyn Embedder,
    progress: &mut dyn FnMut(usize),
) -> Result<Mat<f32>, EmbedError> {
    let texts: Vec<String> = data.prompts.iter().map(routing_text).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    embed_all(embedder, &texts, NonZeroUsize::MIN, progress)
}

/// Where the data comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Origin {
    /// The embedder's fingerprint.
    pub embedder: String,
    /// The files.
    pub sources: Vec<Source>,
}

/// Trains the `mf` router on nine prompts of ten, measures it on the tenth, and puts the artefact together.
///
/// # Errors
/// See [`TrainError`].
pub fn train_mf_artifact(
    data: &Dataset,
    embeddings: &Mat<f32>,
    origin: &Origin,
    options: &MfOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Artifact, TrainError> {
    let split = Split::new(options.seed);
    let part = |prompt: &Prompt| match split.side(prompt.hash(), DEV_SHARE) {
        Side::Train => Part::Train,
        Side::Dev => Part::Dev,
    };
    let trained = train_mf(data, embeddings, &part, options, progress)?;
    let provenance = Provenance {
        embedder: origin.embedder.clone(),
        anchor: Anchor::arena(),
        sources: origin.sources.clone(),
        training_prompts: training_prompts(data, &part),
        seed: options.seed,
        metrics: metrics(data, &trained),
    };
    let ratings = Ratings::of(&data.models, &trained.global);
    let empty = CalibrationSample::quantise(&Mat::zeros(0, data.models.len()), &[]);
    let artifact = Artifact::new(ratings, Body::Mf(trained.weights), provenance, empty)?;
    sample::calibrated(artifact, data, embeddings)
}

/// The hashes of the prompts that any weight depends on.
fn training_prompts(data: &Dataset, part: &dyn Fn(&Prompt) -> Part) -> Vec<PromptHash> {
    data.prompts.iter().filter(|prompt| part(prompt) == Part::Train).map(Prompt::hash).collect()
}

/// What was measured on the dev prompts.
fn metrics(data: &Dataset, trained: &TrainedMf) -> BTreeMap<String, serde_json::Value> {
    let losses: BTreeMap<&str, serde_json::Value> = trained
        .dev
        .iter()
        .map(|loss| {
            let measured =
                json!({"prompts": loss.prompts, "log_loss": loss.router, "log_loss_of_global_fit": loss.global});
            (loss.source.as_str(), measured)
        })
        .collect();
    let by_source = |values: &[f64]| -> BTreeMap<String, f64> {
        data.sources.iter().cloned().zip(values.iter().copied()).collect()
    };
    BTreeMap::from([
        ("dev_log_loss".to_owned(), json!(losses)),
        ("label_scales".to_owned(), json!(by_source(&trained.scales))),
        ("source_weights".to_owned(), json!(by_source(&trained.source_weights))),
        ("temperature".to_owned(), json!(trained.temperature)),
        ("epoch".to_owned(), json!(trained.epoch)),
    ])
}
