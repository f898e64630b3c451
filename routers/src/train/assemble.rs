//! From data to an artefact: what is trained on, what is measured, what goes into the file.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use faer::Mat;
use serde_json::json;

use super::{BertOptions, MfOptions, Part, Report, TrainError, Trained, sample, train_bert, train_mf};
use crate::artifact::{Anchor, Artifact, CalibrationSample, Provenance, Ratings, Source};
use crate::data::{Dataset, Prompt};
use crate::embed::{EmbedError, Embedder, embed_all};
use crate::split::{PromptHash, Side, Split};

/// The share of prompts that the temperature is fitted on.
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
    report: Report<'_>,
) -> Result<Artifact, TrainError> {
    let part = parts(options.seed);
    let trained = train_mf(data, embeddings, &part, options, report)?;
    artifact(data, embeddings, origin, options.seed, trained)
}

/// Trains the `bert` router likewise.
///
/// # Errors
/// See [`TrainError`].
pub fn train_bert_artifact(
    data: &Dataset,
    embeddings: &Mat<f32>,
    origin: &Origin,
    options: &BertOptions,
    report: Report<'_>,
) -> Result<Artifact, TrainError> {
    let part = parts(options.seed);
    let trained = train_bert(data, embeddings, &part, options, report)?;
    artifact(data, embeddings, origin, options.seed, trained)
}

/// Which prompts an artefact is trained on, and which it is measured on.
fn parts(seed: u64) -> impl Fn(&Prompt) -> Part {
    let split = Split::new(seed);
    move |prompt| match split.side(prompt.hash(), DEV_SHARE) {
        Side::Train => Part::Train,
        Side::Dev => Part::Dev,
    }
}

fn artifact(
    data: &Dataset,
    embeddings: &Mat<f32>,
    origin: &Origin,
    seed: u64,
    trained: Trained,
) -> Result<Artifact, TrainError> {
    let provenance = Provenance {
        embedder: origin.embedder.clone(),
        anchor: Anchor::arena(),
        sources: origin.sources.clone(),
        training_prompts: training_prompts(data, &parts(seed)),
        seed,
        metrics: metrics(data, &trained),
    };
    let ratings = Ratings::of(&data.models, &trained.global);
    let empty = CalibrationSample::quantise(&Mat::zeros(0, data.models.len()), &[]);
    let artifact = Artifact::new(ratings, trained.body, provenance, empty)?;
    sample::calibrated(artifact, data, embeddings)
}

/// The hashes of the prompts that any weight depends on.
fn training_prompts(data: &Dataset, part: &dyn Fn(&Prompt) -> Part) -> Vec<PromptHash> {
    data.prompts.iter().filter(|prompt| part(prompt) == Part::Train).map(Prompt::hash).collect()
}

/// What was measured on the dev prompts.
fn metrics(data: &Dataset, trained: &Trained) -> BTreeMap<String, serde_json::Value> {
    let losses: BTreeMap<&str, serde_json::Value> = trained
        .dev
        .iter()
        .map(|loss| {
            let measured =
                json!({"prompts": loss.prompts, "log_loss": loss.router, "log_loss_of_global_fit": loss.global});
            (loss.source.as_str(), measured)
        })
        .collect();
    let by_source = |values: Vec<serde_json::Value>| -> BTreeMap<String, serde_json::Value> {
        data.sources.iter().cloned().zip(values).filter(|(_, value)| !value.is_null()).collect()
    };
    let ridge = |ridge: &Option<(f64, f64)>| match ridge {
        Some((features, embedding)) => json!({"features": features, "embedding": embedding}),
        None => serde_json::Value::Null,
    };
    BTreeMap::from([
        ("dev_log_loss".to_owned(), json!(losses)),
        (
            "label_scales".to_owned(),
            json!(by_source(trained.scales.iter().map(|scale| json!(scale)).collect())),
        ),
        ("ridges".to_owned(), json!(by_source(trained.ridges.iter().map(ridge).collect()))),
        ("temperature".to_owned(), json!(trained.temperature)),
    ])
}
