//! From a wish (a share, a budget) to a threshold: solved on a sample of prompts, for one pool at its prices.
//!
//! Pure functions of their arguments. The rule is the one of [`crate::select`], run on every prompt of the
//! sample, so that what is solved here is what happens there.

mod ladder;
#[cfg(test)]
mod tests;

use ladder::{choices, ladders};

/// A pool's candidates on a sample of prompts.
#[derive(Debug, Clone)]
pub struct Sample<'a> {
    /// One row per prompt, one skill per candidate.
    pub skills: &'a faer::Mat<f64>,
    /// One row per prompt, one expected cost in USD per candidate.
    pub costs_usd: &'a faer::Mat<f64>,
}

/// A threshold and the share of the texts at exactly it that reach it, as
/// [`crate::select::Rule::Threshold`] takes them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Solved {
    /// The probability to be reached, 0..=1.
    pub alpha: f64,
    /// The share of texts at exactly `alpha` that reach it.
    pub split: f64,
}

/// What a threshold makes of a sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Outlook {
    /// The share of the prompts that goes to each candidate.
    pub share_by_candidate: Vec<f64>,
    /// The share that goes to the candidate that is dearest on average, or to any of those that are equally dear.
    pub strong_share: f64,
    /// What a thousand requests cost, in USD.
    pub cost_usd_per_1k: f64,
    /// The share of the prompts that lie at exactly the threshold, so that a split decides about them.
    pub share_at_threshold: f64,
}

/// Why a threshold cannot be solved.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// No prompts, or no candidates.
    #[error("the calibration sample is empty")]
    Empty,
    /// Skills and costs differ in shape.
    #[error("the calibration sample has {0} skills and {1} costs")]
    Shape(usize, usize),
    /// The cheapest choice is dearer than the budget.
    #[error("even the cheapest models cost {cheapest_usd_per_1k:.4} USD per thousand requests")]
    Budget {
        /// What a thousand requests cost when each goes to the cheapest candidate.
        cheapest_usd_per_1k: f64,
    },
}

/// The threshold at which `share` of the sample goes to the candidate that is dearest on average, or to any of those
/// that are equally dear.
///
/// # Errors
/// When the sample is empty or misshapen.
pub fn strong_share(sample: &Sample<'_>, share: f64) -> Result<Solved, CalibrationError> {
    let dearest = dearest(sample)?;
    Ok(solve(sample, share, |choices| share_of(choices, &dearest)))
}

/// The threshold at which a thousand requests of the sample cost `budget_usd` on average.
///
/// # Errors
/// When the sample is empty or misshapen, or the cheapest choice exceeds the budget.
pub fn budget_usd_per_1k(sample: &Sample<'_>, budget_usd: f64) -> Result<Solved, CalibrationError> {
    dearest(sample)?;
    let cheapest_usd_per_1k = cost_per_1k(sample, &choices(&ladders(sample), f64::INFINITY));
    if cheapest_usd_per_1k > budget_usd {
        return Err(CalibrationError::Budget { cheapest_usd_per_1k });
    }
    Ok(solve(sample, budget_usd, |choices| cost_per_1k(sample, choices)))
}

/// The share of the sample that a threshold sends to the dearest candidate.
///
/// # Errors
/// When the sample is empty or misshapen.
pub fn share_at(sample: &Sample<'_>, solved: Solved) -> Result<f64, CalibrationError> {
    Ok(outlook(sample, solved)?.strong_share)
}

/// What a threshold makes of the sample.
///
/// # Errors
/// When the sample is empty or misshapen.
pub fn outlook(sample: &Sample<'_>, solved: Solved) -> Result<Outlook, CalibrationError> {
    let dearest = dearest(sample)?;
    let ladders = ladders(sample);
    let (above, at) = (choices(&ladders, solved.alpha.next_up()), choices(&ladders, solved.alpha));
    let split = |measure: &dyn Fn(&[usize]) -> f64| {
        let above = measure(&above);
        above + solved.split * (measure(&at) - above)
    };
    let share = |candidate: usize| {
        let these: Vec<bool> = (0..dearest.len()).map(|other| other == candidate).collect();
        split(&|choices| share_of(choices, &these))
    };
    Ok(Outlook {
        share_by_candidate: (0..dearest.len()).map(share).collect(),
        strong_share: split(&|choices| share_of(choices, &dearest)),
        cost_usd_per_1k: split(&|choices| cost_per_1k(sample, choices)),
        share_at_threshold: mean(above.iter().zip(&at).map(|(above, at)| f64::from(u8::from(above != at)))),
    })
}

/// What a thousand requests cost, in USD, where each prompt goes to its choice.
fn cost_per_1k(sample: &Sample<'_>, choices: &[usize]) -> f64 {
    1000.0 * mean(choices.iter().enumerate().map(|(prompt, &choice)| sample.costs_usd[(prompt, choice)]))
}

/// The share of the choices that are among `these` candidates.
fn share_of(choices: &[usize], these: &[bool]) -> f64 {
    mean(choices.iter().map(|&choice| f64::from(u8::from(these.get(choice).copied().unwrap_or_default()))))
}

/// Which candidates have the highest mean cost.
fn dearest(sample: &Sample<'_>) -> Result<Vec<bool>, CalibrationError> {
    let (skills, costs) = (sample.skills, sample.costs_usd);
    if (skills.nrows(), skills.ncols()) != (costs.nrows(), costs.ncols()) {
        return Err(CalibrationError::Shape(skills.nrows() * skills.ncols(), costs.nrows() * costs.ncols()));
    }
    if skills.nrows() == 0 {
        return Err(CalibrationError::Empty);
    }
    let mean_cost = |candidate: usize| mean((0..costs.nrows()).map(|prompt| costs[(prompt, candidate)]));
    let costs: Vec<f64> = (0..skills.ncols()).map(mean_cost).collect();
    let highest = costs.iter().copied().max_by(f64::total_cmp).ok_or(CalibrationError::Empty)?;
    Ok(costs.iter().map(|cost| cost.total_cmp(&highest).is_eq()).collect())
}

/// The measured quantity falls, up to the sample's jumps, as the threshold rises: the jump that spans `target`
/// is found among the thresholds at which any choice changes, and split.
fn solve(sample: &Sample<'_>, target: f64, measure: impl Fn(&[usize]) -> f64) -> Solved {
    let ladders = ladders(sample);
    let mut alphas: Vec<f64> = ladders.iter().flatten().map(|step| step.reach).chain([0.0]).collect();
    alphas.sort_by(f64::total_cmp);
    alphas.dedup_by(|a, b| a.total_cmp(b).is_eq());
    let at = |alpha: f64| measure(&choices(&ladders, alpha));
    // The highest threshold that still reaches the target: the list rises, what is measured falls.
    let reaching = alphas.partition_point(|&alpha| at(alpha) >= target);
    let Some(&alpha) = reaching.checked_sub(1).and_then(|last| alphas.get(last)) else {
        // Not even the lowest threshold reaches it: the dearest wherever the rule allows.
        return Solved { alpha: 0.0, split: 1.0 };
    };
    let (low, high) = (at(alpha.next_up()), at(alpha));
    let split = if high > low { ((target - low) / (high - low)).clamp(0.0, 1.0) } else { 1.0 };
    Solved { alpha, split }
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a sample is far below 2^52")]
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}
