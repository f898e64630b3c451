//! From a wish (a share, a budget) to a threshold: solved on a sample of prompts, for one pool at its prices.
//!
//! Pure functions of their arguments. The rule is the one of [`crate::select`], run on every prompt of the
//! sample, so that what is solved here is what happens there.

use std::cmp::Ordering;

use crate::select::win_probability;

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
    let cost_per_1k = |choices: &[usize]| {
        1000.0 * mean(choices.iter().enumerate().map(|(prompt, &choice)| sample.costs_usd[(prompt, choice)]))
    };
    let cheapest_usd_per_1k = cost_per_1k(&choices(&ladders(sample), f64::INFINITY));
    if cheapest_usd_per_1k > budget_usd {
        return Err(CalibrationError::Budget { cheapest_usd_per_1k });
    }
    Ok(solve(sample, budget_usd, cost_per_1k))
}

/// The share of the sample that a threshold sends to the dearest candidate.
///
/// # Errors
/// When the sample is empty or misshapen.
pub fn share_at(sample: &Sample<'_>, solved: Solved) -> Result<f64, CalibrationError> {
    let dearest = dearest(sample)?;
    let ladders = ladders(sample);
    let at = |alpha: f64| share_of(&choices(&ladders, alpha), &dearest);
    let above = at(solved.alpha.next_up());
    Ok(above + solved.split * (at(solved.alpha) - above))
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

/// A candidate that may be chosen for a prompt.
struct Step {
    candidate: usize,
    /// The probability that it beats the best of the strictly cheaper ones: what a threshold asks for.
    reach: f64,
}

/// For each prompt the candidates that may be chosen, cheapest first.
fn ladders(sample: &Sample<'_>) -> Vec<Vec<Step>> {
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
fn choices(ladders: &[Vec<Step>], alpha: f64) -> Vec<usize> {
    let choice = |steps: &Vec<Step>| {
        let reached = steps.iter().skip(1).rev().find(|step| step.reach >= alpha);
        reached.or_else(|| steps.first()).map_or(0, |step| step.candidate)
    };
    ladders.iter().map(choice).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a sample is far below 2^52")]
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

#[cfg(test)]
mod tests {
    use faer::Mat;
    use proptest::prelude::*;

    use super::*;
    use crate::select::{Offer, Rule, hash::text_hash, rank};

    /// The share that the rule itself sends to candidate `dearest` over texts that fall on every row alike.
    fn measured(skills: &Mat<f64>, costs: &Mat<f64>, solved: Solved, dearest: usize) -> f64 {
        let names = ["a", "b", "c", "d"];
        let mut hits = 0_u32;
        let texts = 40;
        for row in 0..skills.nrows() {
            for text in 0..texts {
                let offers: Vec<Offer<'_>> = (0..skills.ncols())
                    .map(|column| Offer {
                        name: names[column],
                        pool_name: names[column],
                        skill: skills[(row, column)],
                        cost_usd: costs[(row, column)],
                    })
                    .collect();
                let rule = Rule::Threshold { alpha: solved.alpha, split: solved.split };
                let hash = text_hash(&format!("{row}/{text}"));
                hits += u32::from(rank(&rule, &offers, hash)[0] == dearest);
            }
        }
        f64::from(hits) / (skills.nrows() * texts) as f64
    }

    #[test]
    fn an_atom_is_split() {
        // Every prompt is alike: only a split can give a share between none and all.
        let skills = Mat::from_fn(100, 2, |_, column| if column == 0 { 0.0 } else { 0.7 });
        let costs = Mat::from_fn(100, 2, |_, column| if column == 0 { 1.0 } else { 2.0 });
        let solved = strong_share(&Sample { skills: &skills, costs_usd: &costs }, 0.3).unwrap();
        assert!((solved.split - 0.3).abs() < 1e-12, "{solved:?}");
        assert!((measured(&skills, &costs, solved, 1) - 0.3).abs() < 0.03);
    }

    #[test]
    fn equally_dear_candidates_share_the_share() {
        // Twins of one row, and two models that differ, at one price: whichever competes on a prompt counts.
        for gap in [0.0, 0.3] {
            let strength = |row: usize| row as f64 / 200.0;
            let of = |row: usize, column: usize| match column {
                0 => 0.0,
                1 => strength(row),
                _ => strength(row) + if row.is_multiple_of(2) { gap } else { -gap },
            };
            let skills = Mat::from_fn(400, 3, of);
            let costs = Mat::from_fn(400, 3, |_, column| if column == 0 { 1.0 } else { 2.0 });
            let sample = Sample { skills: &skills, costs_usd: &costs };
            for share in [0.1, 0.3, 0.9] {
                let solved = strong_share(&sample, share).unwrap();
                assert!(
                    (share_at(&sample, solved).unwrap() - share).abs() < 1e-9,
                    "{gap} {share}: {solved:?}"
                );
                let met = measured(&skills, &costs, solved, 1) + measured(&skills, &costs, solved, 2);
                assert!((met - share).abs() < 0.02, "{gap} {share}: {met}");
            }
        }
    }

    #[test]
    fn a_budget_below_the_cheapest_is_refused() {
        let skills = Mat::from_fn(4, 2, |_, _| 0.0);
        let costs = Mat::from_fn(4, 2, |_, column| if column == 0 { 0.001 } else { 0.01 });
        let sample = Sample { skills: &skills, costs_usd: &costs };
        assert_eq!(
            budget_usd_per_1k(&sample, 0.5),
            Err(CalibrationError::Budget { cheapest_usd_per_1k: 1.0 })
        );
        let solved = budget_usd_per_1k(&sample, 5.5).unwrap();
        assert!((solved.split - 0.5).abs() < 1e-9, "{solved:?}");
        let empty = Mat::zeros(0, 2);
        assert_eq!(
            strong_share(&Sample { skills: &empty, costs_usd: &empty }, 0.5),
            Err(CalibrationError::Empty)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// What is solved here happens in the rule, for any pool.
        #[test]
        fn the_share_is_met(
            cells in prop::collection::vec(-3.0_f64..3.0, 4 * 60), candidates in 2_usize..5, share in 0.05_f64..0.95,
        ) {
            let rows = 60;
            let skills = Mat::from_fn(rows, candidates, |row, column| cells[row * 4 + column]);
            let costs = Mat::from_fn(rows, candidates, |_, column| 1.0 + column as f64);
            let sample = Sample { skills: &skills, costs_usd: &costs };
            let solved = strong_share(&sample, share).unwrap();
            let got = share_at(&sample, solved).unwrap();
            prop_assert!((got - share).abs() < 1e-9, "share_at says {} for {}", got, share);
            let happened = measured(&skills, &costs, solved, candidates - 1);
            prop_assert!((happened - share).abs() < 0.02, "the rule gives {} for {}", happened, share);
        }
    }
}
