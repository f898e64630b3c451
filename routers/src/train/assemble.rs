//! From data to an artefact: what is trained on, what is measured, what goes into the file.

use std::collections::BTreeMap;

use faer::Mat;
use serde_json::json;

use super::{MfOptions, Part, Progress, TrainError, TrainedMf, train_mf};
use crate::artifact::{Anchor, Artifact, Body, CalibrationSample, Provenance, Ratings, Source};
use crate::data::{Dataset, Prompt};
use crate::embed::{EmbedError, Embedder};
use crate::select::cost::estimate_tokens;
use crate::split::{PromptHash, Side, Split};

/// The share of prompts that training stops early on.
pub const DEV_SHARE: f64 = 0.1;
/// Prompts in a calibration sample, if there are as many.
pub const SAMPLE_PROMPTS: usize = 4608;
/// Texts embedded at a time.
const CHUNK: usize = 512;

/// The text of a prompt as a gateway would route it: the user's turns, a line each.
#[must_use]
pub fn routing_text(prompt: &Prompt) -> String {
    prompt.turns.join("\n")
}

/// Embeds every prompt: one row each.
///
/// # Errors
/// When the embedder fails.
pub fn embed_prompts(
    data: &Dataset,
    embedder: &dyn Embedder,
    progress: &mut dyn FnMut(usize),
) -> Result<Mat<f32>, EmbedError> {
    let mut embeddings = Mat::zeros(data.prompts.len(), embedder.dim());
    for (chunk, prompts) in data.prompts.chunks(CHUNK).enumerate() {
        let texts: Vec<String> = prompts.iter().map(routing_text).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = embedder.embed_batch(&texts)?;
        embeddings.get_mut(chunk * CHUNK..chunk * CHUNK + prompts.len(), ..).copy_from(&vectors);
        progress(chunk * CHUNK + prompts.len());
    }
    Ok(embeddings)
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
    Ok(Artifact::new(ratings, Body::Mf(trained.weights), provenance, sample(data, embeddings))?)
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

/// The calibration sample: as many prompts of each source as there are, up to an even share of the whole; within
/// a source those of the lowest hashes, which is to say any.
fn sample(data: &Dataset, embeddings: &Mat<f32>) -> CalibrationSample {
    let mut of_source: Vec<Vec<(PromptHash, usize)>> = vec![Vec::new(); data.sources.len()];
    for (place, prompt) in data.prompts.iter().enumerate() {
        if let Some(prompts) = of_source.get_mut(usize::from(prompt.source)) {
            prompts.push((prompt.hash(), place));
        }
    }
    of_source.iter_mut().for_each(|prompts| prompts.sort_unstable());
    let mut order: Vec<usize> = (0..of_source.len()).collect();
    order.sort_by_key(|&source| of_source[source].len());
    let mut chosen: Vec<usize> = Vec::new();
    for (done, source) in order.iter().enumerate() {
        // What the smaller sources could not fill is shared by the larger ones.
        let share = (SAMPLE_PROMPTS - chosen.len()) / (order.len() - done);
        chosen.extend(of_source[*source].iter().take(share).map(|(_, place)| *place));
    }
    chosen.sort_unstable();
    let rows =
        Mat::from_fn(chosen.len(), embeddings.ncols(), |row, column| embeddings[(chosen[row], column)]);
    let tokens: Vec<u32> =
        chosen.iter().map(|&place| estimate_tokens(&routing_text(&data.prompts[place]))).collect();
    CalibrationSample::quantise(&rows, &tokens)
}
