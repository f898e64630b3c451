//! Training of the routers: battles in, weights out.
//!
//! Reproducible to the bit for one seed, one instruction set and one set of rows in any order, on any number of threads:
//! every sum is taken on one thread, in the order of the data's content. Must not read files.

mod assemble;
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
mod sample;
mod source;
mod temperature;
#[cfg(test)]
mod tests;

use faer::Mat;

use crate::artifact::{ArtifactProblem, Body};
use crate::bert::LastLayer;
use crate::bradley_terry::FitError;
use crate::data::{Dataset, Prompt};
use crate::learned::shifts_of_all;
use crate::mf::Factorised;
use crate::ratings::GlobalFit;
use crate::router::RouterError;

pub use assemble::{DEV_SHARE, Origin, embed_prompts, routing_text, train_bert_artifact, train_mf_artifact};
pub use licences::licence_of_file;
pub use local::{
    KmeansOptions, KnnOptions, SwOptions, train_kmeans_artifact, train_knn_artifact, train_sw_artifact,
};
pub use loss::SourceLoss;
pub(crate) use loss::battle_loss;
pub use options::{BertOptions, MfOptions, balanced_weights};
pub use place::{PLACE_PROMPTS_MIN, PlaceError, Placed, place_model};
pub use sample::SAMPLE_PROMPTS;

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
    /// The penalties on the coefficients of text features and of embeddings chosen for each source that has battles.
    pub ridges: Vec<Option<(f64, f64)>>,
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
    /// What was learned makes no artefact, such as one without the model that ratings are anchored to.
    #[error("what was learned makes no artefact: {0}")]
    Artifact(#[from] ArtifactProblem),
    /// What was learned cannot score prompts.
    #[error("what was learned cannot score prompts: {0}")]
    Router(#[from] RouterError),
}

/// Trains the `bert` router on the prompts that `part` names, `embeddings` holding one row per prompt: a head for each
/// domain and source, each a convex fit, and a gate.
///
/// # Errors
/// See [`TrainError`].
pub fn train_bert(
    data: &Dataset,
    embeddings: &Mat<f32>,
    part: &dyn Fn(&Prompt) -> Part,
    options: &BertOptions,
    report: Report<'_>,
) -> Result<Trained, TrainError> {
    let heads = train_heads(data, embeddings, part, options.seed, report)?;
    let weights = heads.weights;
    let shifts = LastLayer::new(&weights, &heads.learned.global.skills);
    let shifts = shifts_of_all(&shifts, &texts(data), embeddings, data.models.len());
    Ok(temperature::finish(data, part, &shifts, heads.learned, |temperature| {
        Body::Bert(weights.scaled(temperature))
    }))
}

/// Trains the `mf` router: the heads of [`train_bert`], brought to a common form of few hidden dimensions.
///
/// # Errors
/// See [`TrainError`].
pub fn train_mf(
    data: &Dataset,
    embeddings: &Mat<f32>,
    part: &dyn Fn(&Prompt) -> Part,
    options: &MfOptions,
    report: Report<'_>,
) -> Result<Trained, TrainError> {
    let heads = train_heads(data, embeddings, part, options.seed, report)?;
    let prior = &heads.learned.global.skills;
    let texts = texts(data);
    let whole = shifts_of_all(&LastLayer::new(&heads.weights, prior), &texts, embeddings, data.models.len());
    let weights = factorise::factorise(data, &heads.weights, &whole, prior, options.rank)?;
    let shifts = shifts_of_all(&Factorised::new(&weights, prior), &texts, embeddings, data.models.len());
    Ok(temperature::finish(data, part, &shifts, heads.learned, |temperature| {
        Body::Mf(weights.scaled(temperature))
    }))
}

fn train_heads(
    data: &Dataset,
    embeddings: &Mat<f32>,
    part: &dyn Fn(&Prompt) -> Part,
    seed: u64,
    report: Report<'_>,
) -> Result<heads::Heads, TrainError> {
    if embeddings.nrows() != data.prompts.len() {
        return Err(TrainError::Embeddings { prompts: data.prompts.len(), rows: embeddings.nrows() });
    }
    let heads = heads::train(data, embeddings, part, seed, report)?;
    let is_finite = |head: &crate::bert::Head| head.columns.is_all_finite();
    let finite = heads.weights.heads.iter().all(is_finite) && heads.weights.reading.gate.is_all_finite();
    if finite { Ok(heads) } else { Err(TrainError::Diverged) }
}

fn texts(data: &Dataset) -> Vec<String> {
    data.prompts.iter().map(routing_text).collect()
}
