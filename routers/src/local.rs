//! Routers that fit Bradley–Terry anew at every prompt, to battles on known prompts weighted by a [`Kernel`]: `sw` by
//! similarity (RouteLLM, arXiv 2406.18665, section 4.2, for any number of models), `knn` to the nearest prompts alike.
//!
//! θ(x) maximises Σ w_i [y_i log σ(s_i(θ_a − θ_b)) + (1 − y_i) log σ(s_i(θ_b − θ_a))] − (ρ/2) Σ (θ_m − θ⁰_m)² over the
//! battles i, each at its kernel's weight times its source's, s_i its source's scale, y_i ½ for a tie; so ρ counts battles
//! at the nearest prompt. All the artefact's models are fitted, whoever is asked for.
//!
//! Must not know how settings are chosen, nor how texts are embedded.

mod clustering;
mod clusters;
mod evidence;
mod fit;
mod kernel;
mod tally;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::sync::Arc;

pub use evidence::{ABSENT, Evidence, LocalBattle, Pair, Panel, SHARE_PARTS};
pub use kernel::{Kernel, Neighbours, Similarity};

use self::clusters::{Asked, Clusters};
use self::tally::Layout;
use crate::artifact::ArtifactProblem;
use crate::artifact::check::refuse;
use crate::index::Probe;
use crate::learned::{Learned, Query, Shifts};
use crate::rating_line::RatingLine;
use crate::router::CostClass;

/// The similarity-weighted router of an artefact.
pub type Sw = Learned<LocalFit<Similarity>>;
/// The nearest-neighbours router of an artefact.
pub type Knn = Learned<LocalFit<Neighbours>>;

/// Prompts may be left out whose weight moves no skill by more.
const NEGLIGIBLE: f64 = 1e-4;
/// A known prompt with this cosine is the query itself.
const TWIN: f32 = 0.9995;

/// What a router of this family is made of.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalWeights {
    /// The known prompts.
    pub evidence: Evidence,
    /// The kernel's own setting.
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

/// The fits of an artefact; a prompt's state is every model's shift, and the line through them over the ratings.
#[derive(Debug)]
pub struct LocalFit<K> {
    weights: Arc<LocalWeights>,
    prior: Vec<f64>,
    by_rating: RatingLine,
    layout: Layout,
    clusters: Option<Clusters>,
    /// What may be left out.
    least: f32,
    kernel: PhantomData<K>,
}

impl<K: Kernel> LocalFit<K> {
    /// `prior` is θ⁰ of each model. The weights must have been checked.
    pub(crate) fn new(weights: &Arc<LocalWeights>, prior: &[f64]) -> Self {
        let layout = Layout::new(&weights.evidence);
        let pull = layout.pull(&weights.evidence);
        // All that is left out together turns the gradient by no more than √2 · pull · least, and the curvature is at
        // least ρ.
        let least = NEGLIGIBLE * weights.ridge / (std::f64::consts::SQRT_2 * pull.max(1.0));
        let is_clustered = K::CLUSTERS && !weights.evidence.clusters.is_empty();
        Self {
            clusters: is_clustered.then(|| Clusters::new(&weights.evidence, &layout)),
            prior: prior.to_vec(),
            by_rating: RatingLine::of(prior),
            layout,
            least: (least as f32).clamp(1e-30, 1e-3),
            weights: Arc::clone(weights),
            kernel: PhantomData,
        }
    }

    /// θ − θ⁰ of every model at an embedding; as though the prompt were not known when `is_blind`.
    pub(crate) fn shifts(&self, embedding: &[f32], is_blind: bool) -> Vec<f64> {
        let LocalWeights { evidence, setting, ridge, temperature } = &*self.weights;
        let probe = Probe::new(embedding);
        let mut sums = vec![0.0; self.layout.length()];
        if let Some(clusters) = &self.clusters {
            let asked = Asked { embedding, probe: &probe, setting: *setting, least: self.least, is_blind };
            clusters.add(evidence, &self.layout, &asked, &mut sums);
        } else {
            let mut weights = vec![0.0; evidence.index.len()];
            evidence.index.cosines(0..weights.len(), &probe, &mut weights);
            if is_blind {
                hide_twins(&mut weights);
            }
            K::weigh(*setting, self.least, &mut weights);
            self.layout.add(evidence, 0..weights.len(), &weights, &mut sums);
        }
        let mut shifts = fit::shifts(self.layout.meetings(&sums), &self.prior, *ridge);
        shifts.iter_mut().for_each(|shift| *shift *= temperature);
        shifts
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
    const KIND: &'static str = K::KIND;

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
}
