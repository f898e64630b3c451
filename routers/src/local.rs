//! Routers that fit skills anew at every prompt, to what is known of known prompts like it: `sw` all models together, to
//! all battles weighted by [`Similarity`]; `knn` each model alone, to what it won on the [`Neighbours`]. All the artefact's
//! models are fitted, whoever is asked for.
//!
//! Must not know how settings are chosen, nor how texts are embedded.

mod clustering;
mod clusters;
mod evidence;
mod fit;
mod kernel;
mod nearest;
mod neighbours;
mod similarity;
mod tally;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use evidence::{ABSENT, Evidence, LocalBattle, Pair, Panel, SHARE_PARTS};
pub use neighbours::Neighbours;
pub use similarity::Similarity;

use self::tally::Layout;
use crate::artifact::ArtifactProblem;
use crate::artifact::check::refuse;
use crate::learned::{Learned, Query, Shifts};
use crate::rating_line::RatingLine;
use crate::router::{CostClass, KnownBattle};

/// The similarity-weighted router of an artefact.
pub type Sw = Learned<LocalFit<Similarity>>;
/// The nearest-neighbours router of an artefact.
pub type Knn = Learned<LocalFit<Neighbours>>;

/// A known prompt with this cosine is the query itself.
const TWIN: f32 = 0.9995;

/// What a router of this family is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalWeights {
    /// The known prompts.
    pub evidence: Evidence,
    /// The kernel's own setting: ln γ, or k.
    pub setting: f64,
    /// ρ.
    pub ridge: f64,
    /// What the shifts are multiplied by.
    pub temperature: f64,
}

impl LocalWeights {
    /// Whether everything is in its place and within bounds, for so many models.
    pub(crate) fn check(&self, models: usize) -> Result<(), ArtifactProblem> {
        let bounds = [(self.setting, 0.0, 1e6), (self.ridge, 1e-3, 1e6), (self.temperature, 0.0, 1e2)];
        if let Some((value, low, high)) =
            bounds.into_iter().find(|(value, low, high)| !(low..=high).contains(&value))
        {
            return Err(refuse("settings", format!("holds {value}, expected {low} to {high}")));
        }
        if self.evidence.index.dim() == 0 {
            return Err(refuse("index", "has no dimensions".to_owned()));
        }
        self.evidence.check(models)
    }
}

/// A rule that fits skills at a prompt.
pub trait Kernel: Send + Sync + std::fmt::Debug + Sized + 'static {
    /// The kind of router that fits so.
    const KIND: &'static str;

    /// `prior` is θ⁰ of each model. The weights must have been checked.
    fn new(weights: &LocalWeights, prior: &[f64]) -> Self;

    /// All that a fit at an embedding needs, whatever its ρ, of the same weights; as though the prompt were not known
    /// when `is_blind`.
    fn sums(&self, weights: &LocalWeights, embedding: &[f32], is_blind: bool) -> Vec<f32>;

    /// θ − θ⁰ of every model by such sums.
    fn solve(&self, sums: &[f32], prior: &[f64], ridge: f64) -> Vec<f64>;
}

/// The fits of an artefact; a prompt's state is every model's shift, and the line through them over the ratings.
#[derive(Debug)]
pub struct LocalFit<K> {
    weights: Arc<LocalWeights>,
    prior: Vec<f64>,
    by_rating: RatingLine,
    kernel: K,
}

impl<K: Kernel> LocalFit<K> {
    /// `prior` is θ⁰ of each model. The weights must have been checked.
    pub(crate) fn new(weights: &Arc<LocalWeights>, prior: &[f64]) -> Self {
        Self {
            kernel: K::new(weights, prior),
            prior: prior.to_vec(),
            by_rating: RatingLine::of(prior),
            weights: Arc::clone(weights),
        }
    }

    /// θ − θ⁰ of every model at an embedding; as though the prompt were not known when `is_blind`.
    pub(crate) fn shifts(&self, embedding: &[f32], is_blind: bool) -> Vec<f64> {
        let LocalWeights { ridge, temperature, .. } = *self.weights;
        let mut shifts = self.solve(&self.sums(embedding, is_blind), ridge);
        shifts.iter_mut().for_each(|shift| *shift *= temperature);
        shifts
    }

    /// All that a fit at an embedding needs, whatever its ρ.
    pub(crate) fn sums(&self, embedding: &[f32], is_blind: bool) -> Vec<f32> {
        self.kernel.sums(&self.weights, embedding, is_blind)
    }

    /// θ − θ⁰ of every model by such sums, before the temperature.
    pub(crate) fn solve(&self, sums: &[f32], ridge: f64) -> Vec<f64> {
        self.kernel.solve(sums, &self.prior, ridge)
    }
}

/// Takes the query itself out of the known prompts.
fn hide_twins(cosines: &mut [f32]) {
    cosines.iter_mut().filter(|cosine| **cosine >= TWIN).for_each(|cosine| *cosine = f32::NEG_INFINITY);
}

/// θ − θ⁰ of every model, each known prompt at the weight given for it.
pub(crate) fn shifts_of_weighted(
    evidence: &Evidence,
    weights: &[f32],
    prior: &[f64],
    ridge: f64,
) -> Vec<f64> {
    let layout = Layout::new(evidence);
    let mut sums = vec![0.0; layout.length()];
    layout.add(evidence, 0..evidence.index.len(), weights, &mut sums);
    fit::shifts(layout.meetings(&sums), prior, ridge)
}

impl<K: Kernel> Shifts for LocalFit<K> {
    fn kind(&self) -> &'static str {
        K::KIND
    }

    fn cost(&self) -> CostClass {
        CostClass::Milliseconds
    }

    fn dim(&self) -> usize {
        self.weights.evidence.index.dim()
    }

    fn width(&self) -> usize {
        self.by_rating.width()
    }

    fn see(&self, query: Query<'_>, state: &mut [f32]) {
        self.by_rating.set(&self.shifts(query.embedding, false), state);
    }

    #[inline(always)]
    fn of_row(&self, row: usize, state: &[f32]) -> Option<f64> {
        self.by_rating.of_row(row, state)
    }

    #[inline(always)]
    fn of_rating(&self, prior: f64, state: &[f32]) -> f64 {
        RatingLine::of_rating(prior, state)
    }

    fn keeps_battles(&self) -> bool {
        true
    }

    fn nearest(&self, embedding: &[f32], rows: &[Option<usize>], count: usize) -> Vec<KnownBattle> {
        nearest::battles(&self.weights.evidence, embedding, rows, count)
    }
}
