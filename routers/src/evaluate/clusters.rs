//! k-means: the mean scores of the models in the nearest cluster of training prompts (Lloyd 1982, on the sphere).

use std::collections::BTreeMap;

use faer::Mat;

use super::choices::mean_scores;
use super::neighbours::dot;
use crate::data::Outcomes;

/// Clusters, if there are prompts enough.
const CLUSTERS: usize = 32;
/// Rounds of moving the centres.
const ROUNDS: usize = 20;

/// Cluster centres and each model's mean score among the prompts of each.
pub(super) struct Clusters {
    /// One column per cluster, of unit length.
    centres: Mat<f32>,
    scores: Vec<BTreeMap<u16, f64>>,
}

impl Clusters {
    /// Clusters the training prompts, starting from prompts at even distances in the data's order.
    pub(super) fn new(vectors: &Mat<f32>, train: &[&Outcomes]) -> Self {
        let (count, dimensions) = (CLUSTERS.min(train.len()), vectors.nrows());
        let prompt = |place: usize| train[place].prompt as usize;
        let start = |row: usize, cluster: usize| vectors[(row, prompt(cluster * train.len() / count.max(1)))];
        let mut centres = Mat::from_fn(dimensions, count, start);
        let mut homes = vec![0; train.len()];
        for _ in 0..ROUNDS {
            for (place, home) in homes.iter_mut().enumerate() {
                *home = nearest(&centres, vectors, prompt(place));
            }
            let mut sums = Mat::<f32>::zeros(dimensions, count);
            for (place, home) in homes.iter().enumerate() {
                for row in 0..dimensions {
                    sums[(row, *home)] += vectors[(row, prompt(place))];
                }
            }
            for cluster in 0..count {
                let norm = sums.col(cluster).norm_l2();
                if norm > 0.0 {
                    (0..dimensions).for_each(|row| centres[(row, cluster)] = sums[(row, cluster)] / norm);
                }
            }
        }
        let members = |cluster: usize| {
            let homes = homes.iter().enumerate().filter(move |(_, home)| **home == cluster);
            mean_scores(homes.map(|(place, _)| train[place]))
        };
        let scores = (0..count).map(members).collect();
        Self { centres, scores }
    }

    /// Each model's mean score in the cluster nearest to `prompt`.
    pub(super) fn mean_scores(&self, vectors: &Mat<f32>, prompt: usize) -> &BTreeMap<u16, f64> {
        &self.scores[nearest(&self.centres, vectors, prompt)]
    }
}

fn nearest(centres: &Mat<f32>, vectors: &Mat<f32>, prompt: usize) -> usize {
    let similarity = |cluster: usize| dot(centres.col(cluster), vectors.col(prompt));
    (0..centres.ncols()).max_by(|a, b| similarity(*a).total_cmp(&similarity(*b))).unwrap_or_default()
}
