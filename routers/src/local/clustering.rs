//! Brings an index too large to be scanned into clusters, each in one stretch.

use faer::Mat;

use super::evidence::Evidence;
use crate::select::hash::mix;
use crate::topics::{centres, nearest};

/// Indices of fewer prompts are scanned whole.
const CLUSTERED_MIN: usize = 131_072;
/// Clusters are found in two rounds: so many, and each again in so many.
const BRANCHES: usize = 16;
/// Prompts that the centres are found on, at most.
const SAMPLED: usize = 16_384;

impl Evidence {
    /// The same with clusters, if it holds so many prompts that these are worth their inexactness.
    #[must_use]
    pub fn clustered(self) -> Self {
        if self.index.len() < CLUSTERED_MIN { self } else { self.clustered_in(BRANCHES) }
    }

    /// The same in up to the square of `branches` clusters; within each the prompts lie as if drawn by lot.
    #[must_use]
    pub fn clustered_in(self, branches: usize) -> Self {
        let all: Vec<usize> = (0..self.index.len()).collect();
        let mut homes = vec![0; all.len()];
        for (coarse, members) in self.split(&all, branches).into_iter().enumerate() {
            for (fine, members) in self.split(&members, branches).into_iter().enumerate() {
                members.into_iter().for_each(|place| homes[place] = coarse * branches + fine);
            }
        }
        let mut order = all;
        order.sort_by_key(|&place| (homes[place], mix(place as u64)));
        let sizes = order.chunk_by(|&one, &other| homes[one] == homes[other]).map(|of| of.len() as u32);
        let clusters = sizes.collect();
        self.reordered(&order, clusters)
    }

    /// `places` by the nearest of some centres.
    fn split(&self, places: &[usize], branches: usize) -> Vec<Vec<usize>> {
        let step = places.len().div_ceil(SAMPLED).max(1);
        let sample = self.vectors(&places.iter().copied().step_by(step).collect::<Vec<usize>>());
        let centres = centres(&sample, &(0..sample.ncols()).collect::<Vec<usize>>(), branches);
        let mut parts = vec![Vec::new(); centres.ncols().max(1)];
        for chunk in places.chunks(SAMPLED) {
            let vectors = self.vectors(chunk);
            let homes = vectors.col_iter().map(|vector| nearest(&centres, vector));
            chunk.iter().zip(homes).for_each(|(&place, home)| parts[home].push(place));
        }
        parts
    }

    /// A column per place.
    fn vectors(&self, places: &[usize]) -> Mat<f32> {
        let mut vectors = Mat::zeros(self.index.dim(), places.len());
        for (column, &place) in vectors.col_iter_mut().zip(places) {
            column.iter_mut().zip(self.index.vector(place)).for_each(|(into, value)| *into = value);
        }
        vectors
    }

    /// Prompts in another order.
    fn reordered(self, order: &[usize], clusters: Vec<u32>) -> Self {
        let Self { index, mut panels, pairs, mut battles, .. } = self;
        let mut moved = vec![0_u32; order.len()];
        order.iter().zip(0..).for_each(|(&place, to)| moved[place] = to);
        for panel in &mut panels {
            let width = panel.models.len();
            let mut rows: Vec<usize> = (0..panel.prompts.len()).collect();
            rows.sort_by_key(|&row| (moved[panel.prompts[row] as usize], row));
            panel.ranks =
                rows.iter().flat_map(|&row| panel.ranks[row * width..(row + 1) * width].to_vec()).collect();
            panel.prompts = rows.iter().map(|&row| moved[panel.prompts[row] as usize]).collect();
        }
        battles.iter_mut().for_each(|battle| battle.prompt = moved[battle.prompt as usize]);
        battles.sort_unstable();
        Self { index: index.reordered(order), panels, pairs, battles, clusters }
    }
}
