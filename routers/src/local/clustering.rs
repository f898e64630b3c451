//! Brings an index too large to be scanned into clusters, each in one stretch.

use faer::{ColRef, Mat};

use super::evidence::Evidence;
use crate::select::hash::mix;
use crate::topics::centres;

/// Indices of fewer prompts are scanned whole.
const CLUSTERED_MIN: usize = 131_072;
/// Clusters of such an index.
const CLUSTERS: usize = 1024;
/// Prompts that the centres are found on, at most; and that are brought to their clusters at a time.
const SAMPLED: usize = 8_192;

impl Evidence {
    /// The same with clusters, if it holds so many prompts that these are worth their inexactness.
    #[must_use]
    pub fn clustered(self) -> Self {
        if self.index.len() < CLUSTERED_MIN { self } else { self.clustered_in(CLUSTERS) }
    }

    /// The same in up to `count` clusters; within each the prompts lie as if drawn by lot.
    #[must_use]
    pub fn clustered_in(self, count: usize) -> Self {
        let mut order: Vec<usize> = (0..self.index.len()).collect();
        let homes = self.homes(&order, count);
        order.sort_by_key(|&place| (homes[place], mix(place as u64)));
        let sizes = order.chunk_by(|&one, &other| homes[one] == homes[other]).map(|of| of.len() as u32);
        let clusters = sizes.collect();
        self.reordered(&order, clusters)
    }

    /// The nearest of `count` centres, for each of `places`.
    fn homes(&self, places: &[usize], count: usize) -> Vec<usize> {
        let step = places.len().div_ceil(SAMPLED).max(1);
        let sample = self.vectors(&places.iter().copied().step_by(step).collect::<Vec<usize>>());
        let centres = centres(&sample, &(0..sample.ncols()).collect::<Vec<usize>>(), count);
        let mut homes = Vec::with_capacity(places.len());
        for chunk in places.chunks(SAMPLED) {
            let cosines = centres.transpose() * self.vectors(chunk);
            let nearest = |of: ColRef<'_, f32>| {
                (0..of.nrows()).max_by(|&a, &b| of[a].total_cmp(&of[b])).unwrap_or_default()
            };
            homes.extend(cosines.col_iter().map(nearest));
        }
        homes
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
