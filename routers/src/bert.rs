//! The `bert` router: a sentence encoder as it is, and a last layer of its own for every domain of prompts,
//! θ_m(x) = θ⁰_m + Σ_d p_d(x) (c_dm + u_dm · z(x)), z the encoder's pooled state and the prompt's text features
//! (RouteLLM, arXiv 2406.18665, section 4.2, for any number of models; only the last layer is trained).
//!
//! A domain has a head for each source of labels in it, with a column for each model that the source scored; of a
//! model that several score, the head with the most prompts tells. A model that none scores moves as its rating says, by the
//! regression of the columns on θ⁰, and by what sets it apart in the domains nearest to this one (`maps`). Must not know how
//! columns are fitted.

mod maps;
#[cfg(test)]
mod tests;
mod weights;

pub use weights::{BertWeights, Head};

use crate::learned::{Learned, Query, Shifts};
use crate::mixture::Mixture;
use crate::rating_line::RatingLine;
use crate::router::CostClass;

/// The `bert` router of an artefact.
pub type Bert = Learned<LastLayer>;

/// A prompt's state is the shift of every model of the artefact.
#[derive(Debug)]
pub struct LastLayer {
    mixture: Mixture,
    by_rating: RatingLine,
}

impl LastLayer {
    /// The kind of its artefacts.
    pub(crate) const KIND: &'static str = "bert";

    /// `prior` is θ⁰ of each model.
    pub(crate) fn new(weights: &BertWeights, prior: &[f64]) -> Self {
        let mixture = Mixture::new(&weights.reading, &weights.by_domain(prior));
        Self { mixture, by_rating: RatingLine::of(prior) }
    }
}

impl Shifts for LastLayer {
    fn kind(&self) -> &'static str {
        Self::KIND
    }

    fn cost(&self) -> CostClass {
        CostClass::Microseconds
    }

    fn dim(&self) -> usize {
        self.mixture.dim()
    }

    fn width(&self) -> usize {
        self.mixture.width()
    }

    fn see(&self, query: Query<'_>, state: &mut [f32]) {
        self.mixture.add(query, state);
    }

    #[inline(always)]
    fn of_row(&self, row: usize, state: &[f32]) -> Option<f64> {
        state.get(row).map(|&shift| f64::from(shift))
    }

    fn of_rating(&self, prior: f64, state: &[f32]) -> f64 {
        let (level, slope) = self.by_rating.through(state.iter().map(|&shift| f64::from(shift)));
        level + prior * slope
    }
}
