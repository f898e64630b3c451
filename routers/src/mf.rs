//! The `mf` router: matrix factorisation, θ_m(x) = θ⁰_m + (w₂ ∘ v_m) · (W₁ᵀ e(x) + b), for any number of models and on
//! top of a global fit (RouteLLM, arXiv 2406.18665, section 4.2). e(x) is all that is read of a prompt, embedding and
//! text features, once for each domain and multiplied by how much the prompt belongs there; so W₁ᵀ e(x) + b is a mixture
//! of one map for each domain.
//!
//! Gauge: the columns of the factors have mean zero, so the mean over the artefact's models of θ_m(x) − θ⁰_m is zero
//! for every prompt. A zero embedding says nothing of its prompt: there θ(x) = θ⁰, b included.
//!
//! Must not know how weights are trained, nor how texts are embedded.

#[cfg(test)]
mod tests;
mod weights;

use faer::Mat;

pub use weights::MfWeights;

use crate::learned::{Learned, Query, Shifts};
use crate::mixture::Mixture;
use crate::product::{dot, row_major};
use crate::rating_line::RatingLine;
use crate::router::CostClass;

/// The `mf` router of an artefact.
pub type Mf = Learned<Factorised>;

/// A prompt's state is its hidden state, W₁ᵀ e + b, and a model's shift the product with its factors.
#[derive(Debug)]
pub struct Factorised {
    hidden: Mixture,
    /// One row of the rank's length per model.
    factors: Vec<f32>,
    by_rating: ByRating,
}

/// Factors of a model of which nothing is known but its rating: the regression of skills on ratings over all
/// models of the artefact, which for factors is `level + θ⁰ · slope`.
///
/// Least squares is linear in the skills and skills are linear in the hidden state, so fitting the factors once is
/// fitting every prompt.
#[derive(Debug)]
struct ByRating {
    level: Vec<f32>,
    slope: Vec<f32>,
}

impl Factorised {
    /// The kind of its artefacts.
    pub(crate) const KIND: &'static str = "mf";

    /// `prior` is θ⁰ of each model.
    pub(crate) fn new(weights: &MfWeights, prior: &[f64]) -> Self {
        Self {
            hidden: Mixture::new(&weights.reading, &weights.projections),
            factors: row_major(&weights.factors),
            by_rating: ByRating::fit(prior, &weights.factors),
        }
    }
}

impl Shifts for Factorised {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn cost(&self) -> CostClass {
        CostClass::Microseconds
    }

    fn dim(&self) -> usize {
        self.hidden.dim()
    }

    fn width(&self) -> usize {
        self.hidden.width()
    }

    fn see(&self, query: Query<'_>, state: &mut [f32]) {
        self.hidden.add(query, state);
    }

    #[inline(always)]
    fn of_row(&self, row: usize, state: &[f32]) -> Option<f64> {
        let start = row.checked_mul(state.len())?;
        let factors = self.factors.get(start..start.checked_add(state.len())?)?;
        Some(f64::from(dot(factors, state)))
    }

    #[inline(always)]
    fn of_rating(&self, prior: f64, state: &[f32]) -> f64 {
        let ByRating { level, slope } = &self.by_rating;
        f64::from(dot(level, state)) + prior * f64::from(dot(slope, state))
    }
}

impl ByRating {
    /// The line of the factors over θ⁰, column by column.
    fn fit(prior: &[f64], factors: &Mat<f32>) -> Self {
        let line = RatingLine::of(prior);
        let through = |column: faer::ColRef<'_, f32>| {
            let (level, slope) = line.through(column.iter().map(|&factor| f64::from(factor)));
            (level as f32, slope as f32)
        };
        let (level, slope) = factors.col_iter().map(through).unzip();
        Self { level, slope }
    }
}
