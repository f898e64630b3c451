//! k-means: the mean scores of the models in the nearest cluster of training prompts.

use std::collections::BTreeMap;

use faer::Mat;

use super::choices::mean_scores;
use crate::data::Outcomes;
use crate::topics::{centres, nearest};

/// Clusters, if there are prompts enough.
const CLUSTERS: usize = 25;

/// Cluster centres and each model's mean score among the prompts of each.
pub(super) struct Clusters {
    /// One column per cluster, of unit length.
    centres: Mat<f32>,
    scores: Vec<BTreeMap<u16, f64>>,
}

impl Clusters {
    /// Clusters the training prompts.
    pub(super) fn new(vectors: &Mat<f32>, train: &[&Outcomes]) -> Self {
        let prompts: Vec<usize> = train.iter().map(|outcomes| outcomes.prompt as usize).collect();
        let centres = centres(vectors, &prompts, CLUSTERS);
        let homes: Vec<usize> =
            prompts.iter().map(|&prompt| nearest(&centres, vectors.col(prompt))).collect();
        let members = |cluster: usize| {
            let homes = homes.iter().enumerate().filter(move |(_, home)| **home == cluster);
            mean_scores(homes.map(|(place, _)| train[place]))
        };
        let scores = (0..centres.ncols()).map(members).collect();
        Self { centres, scores }
    }

    /// Each model's mean score in the cluster nearest to `prompt`.
    pub(super) fn mean_scores(&self, vectors: &Mat<f32>, prompt: usize) -> &BTreeMap<u16, f64> {
        &self.scores[nearest(&self.centres, vectors.col(prompt))]
    }
}
