//! Training of the routers: battles in, weights out.
//!
//! Reproducible to the bit for one seed, one instruction set and one set of rows in any order, on any number of threads:
//! every sum is taken on one thread, in the order of the data's content. Must not read files.

mod anchor;
mod assemble;
mod blend;
mod causal;
mod difficulty;
mod evidence;
mod factorise;
mod gate;
mod head;
mod heads;
mod inputs;
mod lbfgs;
mod licences;
mod local;
mod loss;
mod options;
mod place;
mod recipe;
mod sample;
mod source;
mod temperature;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use faer::Mat;

use self::heads::Heads;
use crate::artifact::{ArtifactProblem, Body, Source};
use crate::bert::LastLayer;
use crate::bradley_terry::FitError;
use crate::causal::{ReaderError, head::HeadError};
use crate::data::{Dataset, Prompt};
use crate::learned::{Shifts, shifts_of_all};
use crate::mf::Factorised;
use crate::ratings::GlobalFit;
use crate::router::RouterError;

pub use assemble::{DEV_SHARE, embed_prompts, routing_text, train_artifact};
pub use causal::{CausalOptions, train_causal, train_causal_on};
pub use licences::licence_of_file;
pub use loss::SourceLoss;
pub(crate) use loss::battle_loss;
pub use options::balanced_weights;
pub use place::{PLACE_PROMPTS_MIN, PlaceError, Placed, place_model};
pub use recipe::Recipe;
pub use sample::SAMPLE_PROMPTS;

/// What any router is trained on.
#[derive(Clone, Copy)]
pub struct Material<'a> {
    /// Prompts with their battles and outcomes, and votes.
    pub data: &'a Dataset,
    /// One row per prompt.
    pub embeddings: &'a Mat<f32>,
    /// Where they come from, for the artefact.
    pub origin: &'a Origin,
    /// What each prompt is used for.
    pub part: &'a (dyn Fn(&Prompt) -> Part + Sync),
    /// Decides all that is drawn within the training.
    pub seed: u64,
}

/// Where the data comes from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Origin {
    /// The embedder's fingerprint.
    pub embedder: String,
    /// The files.
    pub sources: Vec<Source>,
}

/// What a prompt is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Weights are fitted to it.
    Train,
    /// The temperature is fitted on it.
    Dev,
    /// Left out.
    Unused,
}

/// What a training chose, by name.
pub type Settings = BTreeMap<&'static str, serde_json::Value>;

/// Hears, from any thread, how many steps of a training are done, and of how many.
pub type Report<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// A trained router and what was learned on the way.
#[derive(Debug, Clone)]
pub struct Trained {
    /// The weights, gauge and temperature folded in.
    pub body: Body,
    /// The global fit over the training prompts' battles and the votes.
    pub global: GlobalFit,
    /// How many logits of each source's labels one unit of this router's skill difference is worth.
    pub scales: Vec<f64>,
    /// What the shifts were multiplied by, so that they fit the dev battles.
    pub temperature: f64,
    /// What else was chosen, by name, as the artefact's manifest tells it.
    pub settings: Settings,
    /// Log-loss on the dev prompts, of the router and of the global fit, by source.
    pub dev: Vec<SourceLoss>,
    /// θ of every prompt of the data (rows) and every model.
    pub skills: Mat<f64>,
}

/// Why there are no weights.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// Nothing to learn from.
    #[error("no battles on training prompts: give outcome or battle rows with prompts")]
    NoBattles,
    /// The embeddings are not the prompts'.
    #[error("{prompts} prompts, but {rows} embeddings")]
    Embeddings {
        /// Prompts of the data.
        prompts: usize,
        /// Rows of the embeddings.
        rows: usize,
    },
    /// The global ratings could not be fitted.
    #[error("the global ratings could not be fitted: {0}")]
    Ratings(#[from] FitError),
    /// The factorisation has no solution, or a weight came out infinite or not a number.
    #[error("training diverged: a weight is not finite")]
    Diverged,
    /// The decoder cannot read prompts.
    #[error("the decoder cannot read prompts: {0}")]
    Reader(#[from] ReaderError),
    /// The labels' head could not be trained.
    #[error("the labels' head could not be trained: {0}")]
    Head(#[from] HeadError),
    /// What was learned makes no artefact.
    #[error("what was learned makes no artefact: {0}")]
    Artifact(#[from] ArtifactProblem),
    /// What was learned cannot score prompts.
    #[error("what was learned cannot score prompts: {0}")]
    Router(#[from] RouterError),
}

/// Trains a router on the prompts that the material is parted into.
///
/// # Errors
/// See [`TrainError`].
pub fn train(recipe: &Recipe, material: &Material<'_>, report: Report<'_>) -> Result<Trained, TrainError> {
    let Material { data, embeddings, .. } = material;
    if embeddings.nrows() != data.prompts.len() {
        return Err(TrainError::Embeddings { prompts: data.prompts.len(), rows: embeddings.nrows() });
    }
    match recipe {
        Recipe::Bert => train_bert(material, report),
        Recipe::Blend => blend::train_blend(material, report),
        Recipe::Kmeans { clusters } => local::train_kmeans(material, *clusters, report),
        Recipe::Knn { neighbours } => local::train_knn(material, *neighbours, report),
        Recipe::Mf { rank } => train_mf(material, *rank, report),
        Recipe::Sw => local::train_sw(material, report),
    }
}

/// A head for each domain and source, each a convex fit, and a gate.
fn train_bert(material: &Material<'_>, report: Report<'_>) -> Result<Trained, TrainError> {
    let Heads { weights, learned } = heads::train(material, report)?;
    let shifts = shifts_of(material, &LastLayer::new(&weights, &learned.global.skills));
    Ok(temperature::finish(material, &shifts, learned, |temperature| Body::Bert(weights.scaled(temperature))))
}

/// The heads of `bert`, brought to a common form of few hidden dimensions.
fn train_mf(material: &Material<'_>, rank: usize, report: Report<'_>) -> Result<Trained, TrainError> {
    let Heads { weights, learned } = heads::train(material, report)?;
    let prior = &learned.global.skills;
    let whole = shifts_of(material, &LastLayer::new(&weights, prior));
    let weights = factorise::factorise(material.data, &weights, &whole, prior, rank)?;
    let shifts = shifts_of(material, &Factorised::new(&weights, prior));
    Ok(temperature::finish(material, &shifts, learned, |temperature| Body::Mf(weights.scaled(temperature))))
}

/// θ − θ⁰ of every prompt and model.
fn shifts_of<S: Shifts>(material: &Material<'_>, shifts: &S) -> Mat<f64> {
    let Material { data, embeddings, .. } = material;
    let texts: Vec<String> = data.prompts.iter().map(routing_text).collect();
    shifts_of_all(shifts, &texts, embeddings, data.models.len())
}
