//! An index too large to be scanned: the clusters near a query prompt by prompt, the far ones by their sums.
//!
//! The battles of a far cluster all get the mean weight of a sample of its prompts.

use std::ops::Range;

use super::evidence::Evidence;
use super::hide_twins;
use super::kernel::weigh_against;
use super::tally::Layout;
use crate::index::Probe;

/// Prompts near a query.
const NEAR_PROMPTS: usize = 163_840;
/// Prompts of a far cluster that stand for all.
const SAMPLED: usize = 32;

/// Clusters and the sums of their battles.
#[derive(Debug)]
pub(super) struct Clusters {
    /// Prompts that are weighed one by one, at least.
    pub(super) near_prompts: usize,
    ranges: Vec<Range<usize>>,
    /// The mean of each cluster's vectors, one after the other.
    centres: Vec<f32>,
    /// The sums of each cluster's battles, at weight 1.
    sums: Vec<Vec<f32>>,
}

/// A query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) embedding: &'a [f32],
    pub(super) probe: &'a Probe,
    /// ln γ.
    pub(super) setting: f64,
    /// What weighs less may be left out.
    pub(super) least: f32,
    /// Whether the query itself is not to be known.
    pub(super) is_blind: bool,
}

impl Clusters {
    pub(super) fn new(evidence: &Evidence, layout: &Layout) -> Self {
        let mut start = 0;
        let range = |size: &u32| {
            let range = start..start + *size as usize;
            start = range.end;
            range
        };
        let ranges: Vec<Range<usize>> = evidence.clusters.iter().map(range).collect();
        let mut centres = Vec::with_capacity(ranges.len() * evidence.index.dim());
        let mut sums = Vec::with_capacity(ranges.len());
        for range in &ranges {
            centres.extend(centre(evidence, range));
            let mut of_cluster = vec![0.0; layout.length()];
            layout.add(evidence, range.clone(), &vec![1.0; range.len()], &mut of_cluster);
            sums.push(of_cluster);
        }
        Self { near_prompts: NEAR_PROMPTS, ranges, centres, sums }
    }

    /// Adds all wins at their weights for a query.
    pub(super) fn add(&self, evidence: &Evidence, layout: &Layout, asked: &Asked<'_>, sums: &mut [f32]) {
        let Asked { embedding, probe, setting, least, is_blind } = *asked;
        let (near, far) = self.by_nearness(embedding);
        let mut nearest = f32::NEG_INFINITY;
        let mut weights = Vec::with_capacity(near.len());
        for range in near.iter().map(|&cluster| &self.ranges[cluster]) {
            let mut cosines = vec![0.0; range.len()];
            evidence.index.cosines(range.clone(), probe, &mut cosines);
            if is_blind {
                hide_twins(&mut cosines);
            }
            nearest = cosines.iter().fold(nearest, |nearest, cosine| nearest.max(*cosine));
            weights.push(cosines);
        }
        for (&cluster, weights) in near.iter().zip(&mut weights) {
            weigh_against(setting, nearest, least, weights);
            layout.add(evidence, self.ranges[cluster].clone(), weights, sums);
        }
        let mut sample = [0.0; SAMPLED];
        for cluster in far {
            let range = &self.ranges[cluster];
            let sample = &mut sample[..range.len().min(SAMPLED)];
            evidence.index.cosines(range.start..range.start + sample.len(), probe, sample);
            weigh_against(setting, nearest, least, sample);
            let weight = sample.iter().sum::<f32>() / sample.len().max(1) as f32;
            if weight > 0.0 {
                add_scaled(weight, &self.sums[cluster], sums);
            }
        }
    }

    /// The clusters that are read prompt by prompt, and the others.
    fn by_nearness(&self, embedding: &[f32]) -> (Vec<usize>, Vec<usize>) {
        let similarity = |centre: &[f32]| -> f32 { centre.iter().zip(embedding).map(|(a, b)| a * b).sum() };
        let centres = self.centres.chunks_exact(embedding.len().max(1));
        let mut order: Vec<(f32, usize)> = centres.map(similarity).zip(0..).collect();
        order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut order: Vec<usize> = order.into_iter().map(|(_, cluster)| cluster).collect();
        let mut prompts = 0;
        let mut is_near = |&cluster: &usize| {
            let is_near = prompts < self.near_prompts;
            prompts += self.ranges[cluster].len();
            is_near
        };
        let near = order.iter().take_while(|cluster| is_near(cluster)).count();
        let far = order.split_off(near);
        (order, far)
    }
}

fn centre(evidence: &Evidence, range: &Range<usize>) -> Vec<f32> {
    let mut centre = vec![0.0f32; evidence.index.dim()];
    for place in range.clone() {
        centre.iter_mut().zip(evidence.index.vector(place)).for_each(|(sum, value)| *sum += value);
    }
    centre.iter_mut().for_each(|sum| *sum /= range.len().max(1) as f32);
    centre
}

fn add_scaled(weight: f32, from: &[f32], into: &mut [f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || into.iter_mut().zip(from).for_each(|(sum, value)| *sum += weight * value),
    );
}
