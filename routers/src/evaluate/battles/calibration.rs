//! The calibration curve: how often models win beside how often they were predicted to.

use super::{Bin, PredictedBattle};
use crate::bradley_terry::sigmoid;
use crate::evaluate::intervals::Interval;

/// Bins of a curve, if there are as many different probabilities.
pub(super) const BINS: usize = 20;
/// Standard errors to either side of a 95 % interval.
const HALF_WIDTH: f64 = 1.96;

/// One side of a battle.
struct View {
    predicted: f64,
    observed: f64,
    weight: f64,
    prompt: u32,
}

/// Bins of about equal numbers of battles, ascending by prediction.
pub(super) fn calibration(battles: &[PredictedBattle], logit: fn(&PredictedBattle) -> f64) -> Vec<Bin> {
    let mut views: Vec<View> = battles
        .iter()
        .flat_map(|battle| {
            let predicted = sigmoid(logit(battle));
            // Half each, so that both together weigh what the battle does.
            let (prompt, weight) = (battle.prompt, 0.5 * battle.weight);
            [(predicted, battle.share), (1.0 - predicted, 1.0 - battle.share)]
                .map(|(predicted, observed)| View { predicted, observed, weight, prompt })
        })
        .collect();
    // Stable: views of equal predictions stay in the order of their battles.
    views.sort_by(|one, other| one.predicted.total_cmp(&other.predicted));
    let target = views.len().div_ceil(BINS);
    let (mut bins, mut start, mut end) = (Vec::with_capacity(BINS + 1), 0, 0);
    // Equal predictions are never torn apart: which of them came first would decide.
    for group in views.chunk_by(|one, other| one.predicted.total_cmp(&other.predicted).is_eq()) {
        end += group.len();
        if end - start >= target {
            bins.extend(bin(&views[start..end]));
            start = end;
        }
    }
    bins.extend(bin(&views[start..]));
    bins
}

fn bin(views: &[View]) -> Option<Bin> {
    let sum = |value: &dyn Fn(&View) -> f64| views.iter().map(|view| view.weight * value(view)).sum::<f64>();
    let weight = sum(&|_| 1.0);
    if weight <= 0.0 {
        return None;
    }
    let (predicted, mean) = (sum(&|view| view.predicted) / weight, sum(&|view| view.observed) / weight);
    // Prompts are independent of each other, the battles of one are not.
    let mut residuals: Vec<(u32, f64)> =
        views.iter().map(|view| (view.prompt, view.weight * (view.observed - mean))).collect();
    residuals.sort_by_key(|(prompt, _)| *prompt);
    let of_prompts = residuals.chunk_by(|one, other| one.0 == other.0);
    let variance: f64 =
        of_prompts.map(|of| of.iter().map(|(_, residual)| residual).sum::<f64>().powi(2)).sum();
    let half = HALF_WIDTH * variance.sqrt() / weight;
    let observed = Interval { mean, low: (mean - half).max(0.0), high: (mean + half).min(1.0) };
    Some(Bin { predicted, observed, weight })
}
