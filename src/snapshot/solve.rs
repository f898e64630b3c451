//! Thresholds from shares and budgets, solved for a pool at its prices on the artefact's calibration sample.

use faer::Mat;
use pointsman_routers::{
    Candidate,
    calibration::{CalibrationError, Sample, Solved, budget_usd_per_1k, strong_share},
};

use crate::routing::plan::{Costs, LearnedPlan, RulePlan};

/// The threshold that sends `share` of the sample to the pool's dearest model.
///
/// # Errors
/// When the router has no sample, or knows none of the pool's models.
pub(super) fn share(plan: &LearnedPlan, share: f64) -> Result<RulePlan, String> {
    solved(plan, |sample| strong_share(sample, share))
}

/// The threshold at which a thousand requests of the sample cost `usd`.
///
/// # Errors
/// As for [`share`]; when no model has a price; when even the cheapest choice costs more.
pub(super) fn budget(plan: &LearnedPlan, usd: f64) -> Result<RulePlan, String> {
    if matches!(plan.costs, Costs::ByRating(_)) {
        return Err("budget_usd_per_1k needs prices, and no model of the pool has one".to_owned());
    }
    solved(plan, |sample| budget_usd_per_1k(sample, usd))
}

fn solved(
    plan: &LearnedPlan,
    solve: impl Fn(&Sample<'_>) -> Result<Solved, CalibrationError>,
) -> Result<RulePlan, String> {
    let router = plan.engine.router();
    let (places, candidates): (Vec<usize>, Vec<Candidate>) = plan
        .candidates
        .iter()
        .enumerate()
        .filter_map(|(place, candidate)| Some((place, candidate.clone()?)))
        .unzip();
    if candidates.is_empty() {
        return Err(format!("router {} knows no model of the pool", router.name()));
    }
    let sample = router.calibration(&candidates).map_err(|error| error.to_string())?;
    let tokens = |prompt: usize| sample.prompt_tokens.get(prompt).copied().map_or(0.0, f64::from);
    let costs_usd = Mat::from_fn(sample.skills.nrows(), places.len(), |prompt, column| {
        places.get(column).map_or(0.0, |&place| plan.costs.expected(place, tokens(prompt)))
    });
    let Solved { alpha, split } = solve(&Sample { skills: &sample.skills, costs_usd: &costs_usd })
        .map_err(|error| error.to_string())?;
    Ok(RulePlan::Threshold { alpha, split })
}
