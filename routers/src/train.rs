//! Training of the `mf` router: battles in, weights out.
//!
//! Reproducible to the bit for one seed, one instruction set and one set of rows in any order: everything is
//! summed on one thread, in the order of the data's content. Must not read files nor know of artefacts.

mod adam;
mod assemble;
mod batch;
mod evidence;
mod examples;
mod finish;
mod inputs;
mod licences;
mod local;
mod loss;
mod options;
mod parameters;
mod place;
mod sample;
#[cfg(test)]
mod tests;

use faer::Mat;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha12Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::artifact::ArtifactProblem;
use crate::bradley_terry::FitError;
use crate::data::{Dataset, Prompt};
use crate::mf::MfWeights;
use crate::ratings::{GlobalFit, fit_global};
use crate::router::RouterError;

use adam::Adam;
use batch::Batch;
use examples::Examples;
use inputs::Inputs;
use parameters::Parameters;

pub use assemble::{DEV_SHARE, Origin, embed_prompts, routing_text, train_mf_artifact};
pub use licences::licence_of_file;
pub use local::{
    KmeansOptions, KnnOptions, SwOptions, train_kmeans_artifact, train_knn_artifact, train_sw_artifact,
};
pub use loss::SourceLoss;
pub(crate) use loss::battle_loss;
pub use options::{MfOptions, balanced_weights};
pub use place::{PLACE_PROMPTS_MIN, PlaceError, Placed, place_model};
pub use sample::SAMPLE_PROMPTS;

/// What a prompt is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Weights are fitted to it.
    Train,
    /// Training stops early, and the temperature is fitted, on it.
    Dev,
    /// Left out.
    Unused,
}

/// How far a training is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Epochs done.
    pub epoch: usize,
    /// Epochs at most.
    pub epochs_max: usize,
    /// Weighted mean log-loss of the dev prompts' battles.
    pub dev_loss: f64,
}

/// A trained router and what was learned on the way.
#[derive(Debug, Clone)]
pub struct TrainedMf {
    /// The weights, gauge and temperature folded in.
    pub weights: MfWeights,
    /// The global fit over the training prompts' battles and the votes.
    pub global: GlobalFit,
    /// How many logits of each source's labels one unit of this router's skill difference is worth.
    pub scales: Vec<f64>,
    /// What each source's battles were weighted by.
    pub source_weights: Vec<f64>,
    /// What the skills were multiplied by, so that they fit the dev battles.
    pub temperature: f64,
    /// The epoch whose weights were kept, counted from 1.
    pub epoch: usize,
    /// Log-loss on the dev prompts, of the router and of the global fit, by source.
    pub dev: Vec<SourceLoss>,
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
    /// A weight came out infinite or not a number.
    #[error("training diverged: try a lower learning rate")]
    Diverged,
    /// What was learned makes no artefact, such as one without the model that ratings are anchored to.
    #[error("what was learned makes no artefact: {0}")]
    Artifact(#[from] ArtifactProblem),
    /// The trained router could not score the calibration sample.
    #[error("the calibration sample could not be scored: {0}")]
    Router(#[from] RouterError),
}

/// Trains the `mf` router on the prompts that `part` names, `embeddings` holding one row per prompt. Its inputs are a
/// prompt's embedding and its memberships in the topics of the training prompts.
///
/// Minimises Σ ω_source · ω_battle · cross-entropy(share, σ(s_source(θ_a − θ_b))) + ½ · ridge · ‖per-model
/// coefficients of the inputs‖² by Adam (Kingma and Ba 2015) with a cosine schedule.
///
/// # Errors
/// See [`TrainError`].
pub fn train_mf(
    data: &Dataset,
    embeddings: &Mat<f32>,
    part: &dyn Fn(&Prompt) -> Part,
    options: &MfOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<TrainedMf, TrainError> {
    if embeddings.nrows() != data.prompts.len() {
        return Err(TrainError::Embeddings { prompts: data.prompts.len(), rows: embeddings.nrows() });
    }
    let battles = |wanted: Part| data.battles(|prompt| part(prompt) == wanted);
    let (train, dev) = (Examples::new(battles(Part::Train)), Examples::new(battles(Part::Dev)));
    if train.is_empty() {
        return Err(TrainError::NoBattles);
    }
    let global = fit_global(data, &train.battles)?;
    let weights = balanced_weights(data, &train.battles, options);
    let inputs = Inputs::new(embeddings, &train, options.topics);
    let mut fit = Fit { data, inputs: &inputs.values, options, global: &global, weights: &weights };
    let (parameters, epoch) = fit.run(&train, &dev, progress)?;
    finish::finish(data, &inputs, &dev, &finish::Fitted { parameters, epoch, global, weights })
}

/// What every epoch reads.
struct Fit<'a> {
    data: &'a Dataset,
    inputs: &'a Mat<f32>,
    options: &'a MfOptions,
    global: &'a GlobalFit,
    weights: &'a [f64],
}

impl Fit<'_> {
    /// The parameters of the epoch with the lowest dev loss, and which epoch that was.
    fn run(
        &mut self,
        train: &Examples,
        dev: &Examples,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Parameters, usize), TrainError> {
        let mut random = ChaCha12Rng::seed_from_u64(self.options.seed);
        let mut parameters = Parameters::random(
            self.inputs.ncols(),
            self.data.models.len(),
            self.options.hidden,
            &self.global.scales,
            &mut random,
        );
        let total = train.total_weight(self.weights);
        let per_example = total / train.len() as f64;
        let mut adam = Adam::new(&parameters);
        let mut order: Vec<usize> = (0..train.len()).collect();
        let steps = order.len().div_ceil(self.options.batch.max(1)) * self.options.epochs_max;
        let mut best: Option<(f64, Parameters, usize)> = None;
        for epoch in 1..=self.options.epochs_max {
            order.shuffle(&mut random);
            for chosen in order.chunks(self.options.batch.max(1)) {
                let batch = Batch::new(self.inputs, train, chosen);
                let mut gradient =
                    batch.gradient(&parameters, &self.global.skills, self.weights, per_example);
                gradient.add_penalty(&parameters, self.options, total);
                let done = adam.steps() as f64 / steps as f64;
                let rate = self.options.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
                adam.step(&mut parameters, &gradient, rate);
            }
            if !parameters.is_finite() {
                return Err(TrainError::Diverged);
            }
            let measured = if dev.is_empty() { train } else { dev };
            let dev_loss = loss::weighted_loss(self.inputs, measured, &parameters, self.global, self.weights);
            progress(Progress { epoch, epochs_max: self.options.epochs_max, dev_loss });
            if best.as_ref().is_none_or(|(lowest, ..)| dev_loss < *lowest) {
                best = Some((dev_loss, parameters.clone(), epoch));
            }
        }
        best.map(|(_, parameters, epoch)| (parameters, epoch)).ok_or(TrainError::NoBattles)
    }
}
