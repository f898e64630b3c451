//! From data to an artefact: what is trained on, what is measured, what goes into the file.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use faer::Mat;
use serde_json::json;

use super::{Material, Origin, Part, Recipe, Report, TrainError, Trained, anchor, sample, train};
use crate::artifact::{Artifact, Provenance, Ratings};
use crate::data::{Dataset, Prompt};
use crate::embed::{EmbedError, Embedder, embed_all};
use crate::split::{Side, Split};

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

/// Trains a router on nine prompts of ten, measures it on the tenth, and puts the artefact together.
///
/// # Errors
/// See [`TrainError`].
pub fn train_artifact(
    recipe: &Recipe,
    data: &Dataset,
    embeddings: &Mat<f32>,
    origin: &Origin,
    seed: u64,
    report: Report<'_>,
) -> Result<Artifact, TrainError> {
    let part = parts(seed);
    let material = Material { data, embeddings, origin, part: &part, seed };
    artifact(&material, train(recipe, &material, report)?)
}

/// Which prompts an artefact is trained on, and which it is measured on.
pub(super) fn parts(seed: u64) -> impl Fn(&Prompt) -> Part + Copy {
    let split = Split::new(seed);
    move |prompt| match split.side(prompt.hash(), DEV_SHARE) {
        Side::Train => Part::Train,
        Side::Dev => Part::Dev,
    }
}

/// The artefact of a router that was trained on the material.
pub(super) fn artifact(material: &Material<'_>, trained: Trained) -> Result<Artifact, TrainError> {
    let Material { data, origin, part, seed, .. } = *material;
    let is_trained_on = |prompt: &&Prompt| part(prompt) == Part::Train;
    let provenance = Provenance {
        embedder: origin.embedder.clone(),
        anchor: anchor::of(data).ok_or(TrainError::NoBattles)?,
        sources: origin.sources.clone(),
        training_prompts: data.prompts.iter().filter(is_trained_on).map(Prompt::hash).collect(),
        seed,
        metrics: metrics(data, &trained),
    };
    let (ratings, sample) = (Ratings::of(&data.models, &trained.global), sample::of(data, &trained));
    Ok(Artifact::new(ratings, trained.body, provenance, sample)?)
}

/// What was chosen, and what was measured on the dev prompts.
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
    let scales: BTreeMap<&String, &f64> = data.sources.iter().zip(&trained.scales).collect();
    let mut metrics = BTreeMap::from([
        ("dev_log_loss".to_owned(), json!(losses)),
        ("label_scales".to_owned(), json!(scales)),
        ("temperature".to_owned(), json!(trained.temperature)),
    ]);
    let settings = trained.settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    metrics.extend(settings);
    metrics
}
