//! How well win probabilities fit battles: log-loss, accuracy and calibration, beside the global ratings.
//!
//! Every battle is seen from both sides, so that nothing depends on which model is called the first. Must not know
//! where skills come from.

mod calibration;
#[cfg(test)]
mod tests;

use self::calibration::calibration;
use super::intervals::{Interval, bootstrap};
use crate::bradley_terry::log_loss;

/// A battle with what is predicted of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictedBattle {
    /// Battles of one prompt are drawn together when intervals are made.
    pub prompt: u32,
    /// The first model's share of the win, 0..=1.
    pub share: f64,
    /// What it counts for.
    pub weight: f64,
    /// The log-odds that the first model wins, by the router.
    pub router: f64,
    /// The same by the global ratings.
    pub global: f64,
}

/// How well a router, and the global ratings, fit battles.
#[derive(Debug, Clone, PartialEq)]
pub struct BattleMeasures {
    /// Prompts.
    pub prompts: usize,
    /// Battles.
    pub battles: usize,
    /// Battles that one model won by more than a tie.
    pub decisive: usize,
    /// Of the router.
    pub router: Fit,
    /// Of the global ratings.
    pub global: Fit,
    /// Log-loss of the router less that of the global ratings, paired by prompt; below zero is better.
    pub log_loss_difference: Interval,
    /// The same of the accuracy, above zero is better; `None` without decisive battles.
    pub accuracy_difference: Option<Interval>,
}

/// How well probabilities fit battles, each weighted.
#[derive(Debug, Clone, PartialEq)]
pub struct Fit {
    /// Mean natural-log loss.
    pub log_loss: f64,
    /// The share of decisive battles whose winner was the favourite, even odds counting half; `None` without any.
    pub accuracy: Option<f64>,
    /// The mean distance of predicted from observed shares over the bins.
    pub calibration_error: f64,
    /// Ascending by prediction, of about the same number of battles each.
    pub calibration: Vec<Bin>,
}

/// A part of a calibration curve.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bin {
    /// The mean predicted win probability.
    pub predicted: f64,
    /// The mean share of the win, with its 95 % interval (normal, prompts being the independent units).
    pub observed: Interval,
    /// The weight of the battles in it; all bins together weigh what the battles do.
    pub weight: f64,
}

/// Measures battles that are sorted by prompt; `None` of none.
#[must_use]
pub fn measure_battles(battles: &[PredictedBattle]) -> Option<BattleMeasures> {
    let sums: Vec<Sums> =
        battles.chunk_by(|one, other| one.prompt == other.prompt).map(Sums::of_prompt).collect();
    let total = sums.iter().fold(Sums::default(), |total, sums| total.plus(sums));
    if total.weight <= 0.0 {
        return None;
    }
    let fit = |losses: f64, hits: f64, logit: fn(&PredictedBattle) -> f64| {
        let calibration = calibration(battles, logit);
        let distances = calibration.iter().map(|bin| bin.weight * (bin.predicted - bin.observed.mean).abs());
        Fit {
            log_loss: losses / total.weight,
            accuracy: (total.decisive_weight > 0.0).then(|| hits / total.decisive_weight),
            calibration_error: distances.sum::<f64>() / total.weight,
            calibration,
        }
    };
    let losses: Vec<(f64, f64)> =
        sums.iter().map(|of| (of.weight, of.router_loss - of.global_loss)).collect();
    let is_decisive = |of: &&Sums| of.decisive_weight > 0.0;
    let hits =
        sums.iter().filter(is_decisive).map(|of| (of.decisive_weight, of.router_hits - of.global_hits));
    let hits: Vec<(f64, f64)> = hits.collect();
    Some(BattleMeasures {
        prompts: sums.len(),
        battles: battles.len(),
        decisive: total.decisive,
        router: fit(total.router_loss, total.router_hits, |battle| battle.router),
        global: fit(total.global_loss, total.global_hits, |battle| battle.global),
        log_loss_difference: bootstrap(&losses),
        accuracy_difference: (!hits.is_empty()).then(|| bootstrap(&hits)),
    })
}

/// Sums over the battles of a prompt, or of all.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weight: f64,
    router_loss: f64,
    global_loss: f64,
    decisive: usize,
    decisive_weight: f64,
    router_hits: f64,
    global_hits: f64,
}

impl Sums {
    fn of_prompt(battles: &[PredictedBattle]) -> Self {
        battles.iter().map(Self::of).fold(Self::default(), |total, sums| total.plus(&sums))
    }

    fn of(battle: &PredictedBattle) -> Self {
        let PredictedBattle { share, weight, router, global, .. } = *battle;
        let loss = |logit: f64| weight * (share * log_loss(logit) + (1.0 - share) * log_loss(-logit));
        let lead = share - 0.5;
        let is_decisive = lead != 0.0;
        let hits = |logit: f64| match (lead * logit).partial_cmp(&0.0) {
            _ if !is_decisive => 0.0,
            Some(std::cmp::Ordering::Greater) => weight,
            Some(std::cmp::Ordering::Equal) => 0.5 * weight,
            _ => 0.0,
        };
        Self {
            weight,
            router_loss: loss(router),
            global_loss: loss(global),
            decisive: usize::from(is_decisive),
            decisive_weight: if is_decisive { weight } else { 0.0 },
            router_hits: hits(router),
            global_hits: hits(global),
        }
    }

    fn plus(self, other: &Self) -> Self {
        Self {
            weight: self.weight + other.weight,
            router_loss: self.router_loss + other.router_loss,
            global_loss: self.global_loss + other.global_loss,
            decisive: self.decisive + other.decisive,
            decisive_weight: self.decisive_weight + other.decisive_weight,
            router_hits: self.router_hits + other.router_hits,
            global_hits: self.global_hits + other.global_hits,
        }
    }
}
