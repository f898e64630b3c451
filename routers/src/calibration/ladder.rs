//! The rule of [`crate::select`] on every prompt of a sample, ready to be asked for any threshold.

use std::cmp::Ordering;

use super::Sample;
use crate::select::win_probability;

/// A candidate that may be chosen for a prompt.
pub(super) struct Step {
    candidate: usize,
    /// The probability that it beats the best of the strictly cheaper ones: what a threshold asks for.
    pub(super) reach: f64,
}

/// For each prompt the candidates that may be chosen, cheapest first.
pub(super) fn ladders(sample: &Sample<'_>) -> Vec<Vec<Step>> {
    (0..sample.skills.nrows()).map(|prompt| ladder(sample, prompt)).collect()
}

fn ladder(sample: &Sample<'_>, prompt: usize) -> Vec<Step> {
    let skill = |candidate: usize| sample.skills[(prompt, candidate)];
    let cost = |candidate: usize| sample.costs_usd[(prompt, candidate)];
    let mut order: Vec<usize> = (0..sample.skills.ncols()).collect();
    order.sort_by(|&a, &b| cost(a).total_cmp(&cost(b)).then_with(|| skill(b).total_cmp(&skill(a))));
    let mut steps: Vec<Step> = Vec::with_capacity(order.len());
    let mut best_cheaper = f64::NEG_INFINITY;
    for candidate in order {
        // Of equally dear candidates only the first, the most skilled, competes.
        let last_cost = steps.last().map_or(f64::NEG_INFINITY, |step| cost(step.candidate));
        if last_cost.total_cmp(&cost(candidate)) == Ordering::Less {
            steps.push(Step { candidate, reach: win_probability(skill(candidate), best_cheaper) });
            best_cheaper = best_cheaper.max(skill(candidate));
        }
    }
    steps
}

/// Each prompt's choice under `threshold α`, atoms counted as reaching it.
pub(super) fn choices(ladders: &[Vec<Step>], alpha: f64) -> Vec<usize> {
    let choice = |steps: &Vec<Step>| {
        let reached = steps.iter().skip(1).rev().find(|step| step.reach >= alpha);
        reached.or_else(|| steps.first()).map_or(0, |step| step.candidate)
    };
    ladders.iter().map(choice).collect()
}
