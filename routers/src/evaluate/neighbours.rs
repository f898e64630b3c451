//! k nearest neighbours: the mean scores of the models on the most similar training prompts.

use std::collections::BTreeMap;

use faer::Mat;

use super::choices::mean_scores;
use crate::data::Outcomes;
use crate::topics::dot;

/// Neighbours asked: about the best of 20, 50 and 100 on this data.
const NEIGHBOURS: usize = 100;

/// Training prompts with their outcomes.
pub(super) struct Neighbours {
    train: Vec<Outcomes>,
}

impl Neighbours {
    pub(super) fn new(train: &[&Outcomes]) -> Self {
        Self { train: train.iter().map(|outcomes| (*outcomes).clone()).collect() }
    }

    /// Each model's mean score on the training prompts nearest to `prompt`.
    pub(super) fn mean_scores(&self, vectors: &Mat<f32>, prompt: usize) -> BTreeMap<u16, f64> {
        let mut nearest: Vec<(f32, usize)> = self
            .train
            .iter()
            .enumerate()
            .map(|(place, outcomes)| (similarity(vectors, prompt, outcomes.prompt as usize), place))
            .collect();
        let count = NEIGHBOURS.min(nearest.len());
        if count < nearest.len() {
            nearest.select_nth_unstable_by(count, |a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        }
        mean_scores(nearest[..count].iter().map(|(_, place)| &self.train[*place]))
    }
}

/// The cosine of two prompts: vectors of unit length, a column each.
fn similarity(vectors: &Mat<f32>, one: usize, other: usize) -> f32 {
    dot(vectors.col(one), vectors.col(other))
}
