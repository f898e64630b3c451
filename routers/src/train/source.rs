//! A source of labels by itself: its models, their ratings in its own units, and what those units are worth.

use std::collections::BTreeMap;

use super::TrainError;
use super::head::Meeting;
use crate::bradley_terry::{PairSum, Prior, fit, fit_scale};
use crate::data::{Battle, Dataset, Outcomes};
use crate::ratings::GlobalFit;

/// Precision with which a source's ratings are held to the global ones, in its own units.
const BASE_PRECISION: f64 = 0.5;
/// A unit of skill is worth this many logits of a source's labels at least: what a source without any order of its own
/// says of the ratings must not be blown up.
const SCALE_MIN: f64 = 0.05;

/// What the battles of one source say before any prompt is read.
#[derive(Debug)]
pub(super) struct SourceFit {
    /// The data's numbers of its models, ascending.
    pub(super) models: Vec<usize>,
    /// The ratings by its labels as heads learn them, graded.
    pub(super) graded: Level,
    /// The same by its labels as they are told.
    pub(super) told: Level,
    number: u16,
}

/// Ratings of a source's models in the source's own units.
#[derive(Debug)]
pub(super) struct Level {
    /// φ⁰ of each model.
    pub(super) base: Vec<f64>,
    /// How many logits of the labels a unit of skill difference is worth: the spread of φ⁰ over that of θ⁰.
    pub(super) scale: f64,
}

impl SourceFit {
    /// All sources, also those without battles.
    pub(super) fn all(
        data: &Dataset,
        battles: &[Battle],
        global: &GlobalFit,
    ) -> Result<Vec<Self>, TrainError> {
        let one = |number: usize| Self::new(number as u16, battles, global);
        (0..data.sources.len()).map(one).collect()
    }

    fn new(number: u16, battles: &[Battle], global: &GlobalFit) -> Result<Self, TrainError> {
        let own: Vec<&Battle> = battles.iter().filter(|battle| battle.source == number).collect();
        let of_battle = |battle: &&Battle| [usize::from(battle.model_a), usize::from(battle.model_b)];
        let mut models: Vec<usize> = own.iter().flat_map(of_battle).collect();
        models.sort_unstable();
        models.dedup();
        let ratings: Vec<f64> = models.iter().map(|&model| global.skills[model]).collect();
        let graded = Level::new(&own, &models, &ratings, graded)?;
        let told = Level::new(&own, &models, &ratings, |battle| f64::from(battle.share))?;
        Ok(Self { models, graded, told, number })
    }

    /// A battle with its models numbered within the source.
    pub(super) fn meeting(&self, battle: &Battle) -> Meeting {
        let place = |model: u16| self.models.partition_point(|&other| other < usize::from(model)) as u16;
        Meeting {
            model_a: place(battle.model_a),
            model_b: place(battle.model_b),
            share: graded(battle),
            weight: f64::from(battle.weight),
        }
    }

    /// The mean score over the models on each of these prompts; `None` where the source has no scores, or those of two
    /// models alone, which say more of the two than of the prompt.
    pub(super) fn mean_scores(&self, data: &Dataset, prompts: &[usize]) -> Option<Vec<f64>> {
        if self.models.len() < 3 || prompts.iter().any(|&row| data.prompts[row].source != self.number) {
            return None;
        }
        let scores = |row: &usize| -> Option<f64> {
            let place = data.outcomes.binary_search_by_key(row, |of| of.prompt as usize).ok()?;
            let Outcomes { scores, .. } = data.outcomes.get(place)?;
            Some(scores.iter().map(|score| score.score).sum::<f64>() / scores.len().max(1) as f64)
        };
        prompts.iter().map(scores).collect()
    }
}

impl Level {
    /// By the battles' shares as `share` tells them; `ratings` holds θ⁰ of each of the models.
    fn new(
        battles: &[&Battle],
        models: &[usize],
        ratings: &[f64],
        share: impl Fn(&Battle) -> f64,
    ) -> Result<Self, TrainError> {
        let mut sums: BTreeMap<(u16, u16), (f64, f64)> = BTreeMap::new();
        for battle in battles {
            let (weight, share) = (f64::from(battle.weight), share(battle));
            let (won_a, won_b) = sums.entry((battle.model_a, battle.model_b)).or_default();
            *won_a += weight * share;
            *won_b += weight * (1.0 - share);
        }
        let place = |model: u16| models.partition_point(|&other| other < usize::from(model));
        let pair = |(&(a, b), &(won_a, won_b)): (&(u16, u16), &(f64, f64))| PairSum {
            model_a: place(a),
            model_b: place(b),
            won_a,
            won_b,
            scale: 1.0,
        };
        let pairs: Vec<PairSum> = sums.iter().map(pair).collect();
        let slope = if pairs.is_empty() { 1.0 } else { fit_scale(&pairs, ratings) };
        let centre: Vec<f64> = ratings.iter().map(|rating| slope * rating).collect();
        let base = fit(&pairs, &Prior { precision: vec![BASE_PRECISION; centre.len()], centre })?;
        let (own, of_all) = (spread(&base), spread(ratings));
        let scale = if own > 0.0 && of_all > 0.0 { (own / of_all).max(SCALE_MIN) } else { 1.0 };
        Ok(Self { base, scale })
    }
}

/// A battle's share as the heads learn it: where both answers have scores, the nearer these are the nearer to a tie.
fn graded(battle: &Battle) -> f64 {
    battle.margin.map_or_else(|| f64::from(battle.share), |margin| 0.5 + 0.5 * f64::from(margin))
}

/// The standard deviation.
fn spread(of: &[f64]) -> f64 {
    let mean = of.iter().sum::<f64>() / of.len().max(1) as f64;
    (of.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / of.len().max(1) as f64).sqrt()
}
