//! Sums of weighted wins, pair by pair: what a fit needs of any number of battles.
//!
//! Where all models of a panel answered and each answer is right or wrong, wins need not be summed pair by pair: with r
//! of 0 or 1, Σ w ([r_a > r_b] + ½ [r_a = r_b]) = ½ Σ w + ½ (Σ w r_a − Σ w r_b).
//!
//! Sums have a fixed order and independent lanes, so the bits depend neither on the batch nor on the machine.

use std::ops::Range;

use super::evidence::{ABSENT, Evidence, Panel, SHARE_PARTS};
use super::fit::Meeting;

/// Rows of a panel's sums are a multiple of so many.
pub(super) const LANES: usize = 8;

/// Where the sums of each panel and pair lie.
#[derive(Debug)]
pub(super) struct Layout {
    panels: Vec<PanelLayout>,
    /// Where the pairs' sums start: two for each pair.
    pairs: usize,
    length: usize,
    slots: Vec<Slot>,
}

#[derive(Debug)]
struct PanelLayout {
    start: usize,
    /// Sums in a row, which are as many rows as models: wins of the row's model against the column's. Two rows follow, of
    /// the plain prompts: the weight of each model's right answers, and of all prompts.
    stride: usize,
    /// Whether all models answered, right or wrong.
    plain: Vec<bool>,
    /// 2/k of each prompt.
    weights: Vec<f32>,
}

/// A pair of models and where its sums are.
#[derive(Debug)]
struct Slot {
    models: [usize; 2],
    scale: f64,
    weight: f64,
    won: [usize; 2],
    /// Of a panel: where its plain prompts' weight is, and that of the two models' right answers.
    plain: Option<(usize, [usize; 2])>,
}

impl Layout {
    pub(super) fn new(evidence: &Evidence) -> Self {
        let mut length = 0;
        let mut slots = Vec::new();
        let mut panels = Vec::new();
        for panel in &evidence.panels {
            let (start, count) = (length, panel.models.len());
            let stride = count.next_multiple_of(LANES);
            let rights = start + count * stride;
            for (i, &model_a) in panel.models.iter().enumerate() {
                for (j, &model_b) in panel.models.iter().enumerate().skip(i + 1) {
                    slots.push(Slot {
                        models: [model_a as usize, model_b as usize],
                        scale: f64::from(panel.scale),
                        weight: f64::from(panel.weight),
                        won: [start + i * stride + j, start + j * stride + i],
                        plain: Some((rights + stride, [rights + i, rights + j])),
                    });
                }
            }
            length += (count + 2) * stride;
            panels.push(PanelLayout { start, stride, plain: plain(panel), weights: weights(panel) });
        }
        for (place, pair) in evidence.pairs.iter().enumerate() {
            slots.push(Slot {
                models: [pair.model_a as usize, pair.model_b as usize],
                scale: f64::from(pair.scale),
                weight: f64::from(pair.weight),
                won: [length + 2 * place, length + 2 * place + 1],
                plain: None,
            });
        }
        Self { panels, pairs: length, length: length + 2 * evidence.pairs.len(), slots }
    }

    /// Sums to keep.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// The most that the weight of all battles pulls at skills: Σ weight · scale.
    pub(super) fn pull(&self, evidence: &Evidence) -> f64 {
        let mut pull = 0.0;
        for (panel, layout) in evidence.panels.iter().zip(&self.panels) {
            // k(k − 1)/2 battles of weight 2/k are k − 1 in all; what a panel's width is at most.
            let battles = layout.weights.len() as f64 * panel.models.len() as f64;
            pull += battles * f64::from(panel.weight) * f64::from(panel.scale);
        }
        for battle in &evidence.battles {
            let pair = &evidence.pairs[battle.pair as usize];
            pull += f64::from(pair.weight) * f64::from(pair.scale);
        }
        pull
    }

    /// Adds the wins on the prompts `range`, each prompt's at its weight; `weights` starts at the range's first prompt.
    pub(super) fn add(&self, evidence: &Evidence, range: Range<usize>, weights: &[f32], sums: &mut [f32]) {
        for (panel, layout) in evidence.panels.iter().zip(&self.panels) {
            layout.add(panel, &range, weights, sums);
        }
        let (_, of_pairs) = sums.split_at_mut(self.pairs);
        let before =
            |place: usize| evidence.battles.partition_point(|battle| (battle.prompt as usize) < place);
        let unit = 1.0 / f32::from(SHARE_PARTS);
        for battle in &evidence.battles[before(range.start)..before(range.end)] {
            let weight = weights[battle.prompt as usize - range.start];
            let first = weight * (unit * f32::from(battle.share));
            if let Some([won_a, won_b]) = of_pairs.as_chunks_mut::<2>().0.get_mut(battle.pair as usize) {
                *won_a += first;
                *won_b += weight - first;
            }
        }
    }

    /// The comparisons that the sums hold.
    pub(super) fn meetings(&self, sums: &[f32]) -> Vec<Meeting> {
        let meeting = |slot: &Slot| {
            let [mut won, mut lost] = slot.won.map(|place| f64::from(sums[place]));
            if let Some((total, rights)) = slot.plain {
                let [right, other] = rights.map(|place| f64::from(sums[place]));
                won += 0.5 * (f64::from(sums[total]) + right - other);
                lost += 0.5 * (f64::from(sums[total]) + other - right);
            }
            let (won, total) = (slot.weight * won, slot.weight * (won + lost));
            (total > 0.0).then_some(Meeting { models: slot.models, scale: slot.scale, won, total })
        };
        self.slots.iter().filter_map(meeting).collect()
    }
}

impl PanelLayout {
    fn add(&self, panel: &Panel, range: &Range<usize>, weights: &[f32], sums: &mut [f32]) {
        let width = panel.models.len();
        let before = |place: usize| panel.prompts.partition_point(|&prompt| (prompt as usize) < place);
        let rows = before(range.start)..before(range.end);
        let mut ranks = vec![f32::NAN; self.stride];
        let (sums, of_plain) =
            sums[self.start..self.start + (width + 2) * self.stride].split_at_mut(width * self.stride);
        let (rights, total) = of_plain.split_at_mut(self.stride);
        for row in rows {
            let weight = weights[panel.prompts[row] as usize - range.start];
            let of_prompt = &panel.ranks[row * width..(row + 1) * width];
            if weight > 0.0 && self.plain[row] {
                let weight = weight * self.weights[row];
                total.iter_mut().take(1).for_each(|total| *total += weight);
                for (right, &rank) in rights.iter_mut().zip(of_prompt) {
                    *right += weight * f32::from(rank);
                }
            } else if weight > 0.0 {
                for (rank, &stored) in ranks.iter_mut().zip(of_prompt) {
                    *rank = if stored == ABSENT { f32::NAN } else { f32::from(stored) };
                }
                add_wins(weight * self.weights[row], &ranks, width, sums);
            }
        }
    }
}

/// Adds the wins of each of the first `width` models against all. A rank that is not a number neither wins nor loses.
fn add_wins(weight: f32, ranks: &[f32], width: usize, sums: &mut [f32]) {
    let half = 0.5 * weight;
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (&own, sums) in ranks.iter().take(width).zip(sums.chunks_exact_mut(ranks.len())) {
                for (sum, &other) in sums.iter_mut().zip(ranks) {
                    let wins = if own > other { half } else { 0.0 };
                    let holds = if own >= other { half } else { 0.0 };
                    *sum += wins + holds;
                }
            }
        },
    );
}

fn plain(panel: &Panel) -> Vec<bool> {
    panel
        .ranks
        .chunks_exact(panel.models.len().max(1))
        .map(|ranks| ranks.iter().all(|&rank| rank <= 1))
        .collect()
}

fn weights(panel: &Panel) -> Vec<f32> {
    let weight = |ranks: &[u8]| {
        let present = ranks.iter().filter(|&&rank| rank != ABSENT).count();
        2.0 / present.max(1) as f32
    };
    panel.ranks.chunks_exact(panel.models.len().max(1)).map(weight).collect()
}
