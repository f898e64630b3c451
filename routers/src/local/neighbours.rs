//! `knn`: what each model won on the nearest prompts that tell of it, against what was to be expected.
//!
//! The shift δ of a model maximises Σ w_i [y_i log σ(o_i + s_i δ) + (1 − y_i) log σ(−o_i − s_i δ)] − (ρ/2) δ² over the k
//! nearest results of its own: y_i its share of the win over the others of a panel, or over the other of a pair; w_i the
//! prompt's squared cosine; s_i the source's scale; o_i the log-odds of the share to be expected by the ratings θ⁰. The
//! others are held at theirs: models are fitted one by one.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::evidence::{ABSENT, Evidence, Panel, SHARE_PARTS};
use super::{Kernel, LocalWeights, hide_twins};
use crate::bradley_terry::{maximum, sigmoid};
use crate::index::Probe;

/// Bounds of a shift.
const SHIFTS: (f64, f64) = (-8.0, 8.0);
/// How often these are halved: to 10⁻¹⁰.
const BISECTIONS: usize = 36;

/// No share is surer than this.
const CHANCE_MIN: f64 = 1e-6;

/// The nearest results of each model; its setting is their number.
#[derive(Debug)]
pub struct Neighbours {
    /// Ascending by prompt.
    results: Vec<Told>,
    /// Where each prompt's results start, and after the last where they end.
    starts: Vec<usize>,
    expected: Vec<Expected>,
    /// Places in `expected` of each model.
    of_model: Vec<Vec<usize>>,
    /// Results of each model.
    counts: Vec<usize>,
}

/// How a model fared on a prompt.
#[derive(Debug, Clone, Copy)]
struct Told {
    prompt: u32,
    /// Place of what was to be expected.
    expected: u32,
    /// Its share of the win.
    share: f32,
}

/// What was to be expected of a model in a panel, or against another one.
#[derive(Debug)]
struct Expected {
    model: usize,
    /// Logits of the share per unit of skill difference.
    scale: f64,
    log_odds: f64,
}

impl Kernel for Neighbours {
    const KIND: &'static str = "knn";

    fn new(weights: &LocalWeights, prior: &[f64]) -> Self {
        let (mut results, mut expected) = (Vec::new(), Vec::new());
        for panel in &weights.evidence.panels {
            add_panel(panel, prior, &mut results, &mut expected);
        }
        add_battles(&weights.evidence, prior, &mut results, &mut expected);
        // Those of one prompt stay in order.
        results.sort_by_key(|told| told.prompt);
        let start = |prompt| results.partition_point(|told: &Told| (told.prompt as usize) < prompt);
        let starts = (0..=weights.evidence.index.len()).map(start).collect();
        let mut of_model = vec![Vec::new(); prior.len()];
        expected.iter().enumerate().for_each(|(place, of)| of_model[of.model].push(place));
        let mut counts = vec![0; prior.len()];
        results.iter().for_each(|told| counts[expected[told.expected as usize].model] += 1);
        Self { results, starts, expected, of_model, counts }
    }

    /// For each expectation the weight of the results there, and the weight won.
    fn sums(&self, weights: &LocalWeights, embedding: &[f32], is_blind: bool) -> Vec<f32> {
        let index = &weights.evidence.index;
        let mut cosines = vec![0.0; index.len()];
        index.cosines(0..cosines.len(), &Probe::new(embedding), &mut cosines);
        if is_blind {
            hide_twins(&mut cosines);
        }
        let near = cosines.iter().zip(0_u32..).filter(|(cosine, _)| **cosine > 0.0);
        // The bits of numbers above zero ascend as they do. Of equally near prompts the first.
        let mut near: BinaryHeap<(u32, Reverse<u32>)> =
            near.map(|(cosine, prompt)| (cosine.to_bits(), Reverse(prompt))).collect();
        let enough = |&count: &usize| count.min(weights.setting as usize);
        let mut lacking: Vec<usize> = self.counts.iter().map(enough).collect();
        let mut incomplete = lacking.iter().filter(|&&lacking| lacking > 0).count();
        let mut sums = vec![0.0; 2 * self.expected.len()];
        while incomplete > 0
            && let Some((bits, Reverse(prompt))) = near.pop()
        {
            let weight = f32::from_bits(bits).powi(2);
            for told in self.on(prompt) {
                let place = told.expected as usize;
                let lacking = &mut lacking[self.expected[place].model];
                if *lacking > 0 {
                    *lacking -= 1;
                    incomplete -= usize::from(*lacking == 0);
                    sums[2 * place] += weight;
                    sums[2 * place + 1] += weight * told.share;
                }
            }
        }
        sums
    }

    fn solve(&self, sums: &[f32], _: &[f64], ridge: f64) -> Vec<f64> {
        let (sums, _) = sums.as_chunks::<2>();
        let shift = |places: &Vec<usize>| {
            let slope = |shift: f64| {
                let pull = |&place: &usize| {
                    let Expected { scale, log_odds, .. } = self.expected[place];
                    let [total, won] = sums[place].map(f64::from);
                    scale * (won - total * sigmoid(log_odds + scale * shift))
                };
                places.iter().map(pull).sum::<f64>() - ridge * shift
            };
            if places.iter().any(|&place| sums[place][0] > 0.0) {
                maximum(SHIFTS, BISECTIONS, slope)
            } else {
                0.0
            }
        };
        let mut shifts: Vec<f64> = self.of_model.iter().map(shift).collect();
        // The gauge. Models without results stay where they are.
        let known = self.of_model.iter().filter(|expected| !expected.is_empty()).count();
        let mean = shifts.iter().sum::<f64>() / known.max(1) as f64;
        let of_known = shifts.iter_mut().zip(&self.of_model).filter(|(_, expected)| !expected.is_empty());
        of_known.for_each(|(shift, _)| *shift -= mean);
        shifts
    }
}

impl Neighbours {
    /// The results on a prompt.
    fn on(&self, prompt: u32) -> &[Told] {
        let place = prompt as usize;
        &self.results[self.starts[place]..self.starts[place + 1]]
    }
}

fn add_panel(panel: &Panel, prior: &[f64], results: &mut Vec<Told>, expected: &mut Vec<Expected>) {
    let (first, scale) = (expected.len(), f64::from(panel.scale));
    for (&prompt, ranks) in panel.prompts.iter().zip(panel.ranks.chunks_exact(panel.models.len().max(1))) {
        let present = || ranks.iter().filter(|rank| **rank != ABSENT);
        for (column, rank) in ranks.iter().enumerate().filter(|(_, rank)| **rank != ABSENT) {
            let won = |other: &u8| match rank.cmp(other) {
                Ordering::Less => 0.0,
                Ordering::Equal => 0.5,
                Ordering::Greater => 1.0,
            };
            let share = share_of_others(present().map(won)) as f32;
            results.push(Told { prompt, expected: (first + column) as u32, share });
        }
    }
    for &model in &panel.models {
        let model = model as usize;
        let chance = |&other: &u32| sigmoid(scale * (prior[model] - prior[other as usize]));
        let share = share_of_others(panel.models.iter().map(chance)).clamp(CHANCE_MIN, 1.0 - CHANCE_MIN);
        expected.push(Expected { model, scale, log_odds: (share / (1.0 - share)).ln() });
    }
}

/// The mean of what is won over all of a panel, less the half won over itself; ½ of nothing.
fn share_of_others(won: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = won.fold((0.0, 0.0), |(count, sum), won| (count + 1.0, sum + won));
    if count > 1.0 { (sum - 0.5) / (count - 1.0) } else { 0.5 }
}

fn add_battles(evidence: &Evidence, prior: &[f64], results: &mut Vec<Told>, expected: &mut Vec<Expected>) {
    let first = expected.len();
    for pair in &evidence.pairs {
        let (a, b, scale) = (pair.model_a as usize, pair.model_b as usize, f64::from(pair.scale));
        let log_odds = scale * (prior[a] - prior[b]);
        expected.push(Expected { model: a, scale, log_odds });
        expected.push(Expected { model: b, scale, log_odds: -log_odds });
    }
    for battle in &evidence.battles {
        let share = f32::from(battle.share) / f32::from(SHARE_PARTS);
        for (side, share) in [share, 1.0 - share].into_iter().enumerate() {
            let place = first + 2 * battle.pair as usize + side;
            results.push(Told { prompt: battle.prompt, expected: place as u32, share });
        }
    }
}
