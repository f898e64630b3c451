//! The maximum of the Bradley–Terry likelihood by Newton's method (Hunter 2004, section 1), without a penalty.

use faer::linalg::solvers::Solve;
use faer::{Col, Mat, Side};

use super::rank::Linked;
use crate::bradley_terry::{FitError, PairSum, log_loss, sigmoid};

/// Newton steps after which a fit is taken as it is; it converges in about ten.
const STEPS_MAX: usize = 100;
/// A step this small in every skill ends a fit: 10⁻⁸ Elo.
const STEP_MIN: f64 = 1e-10;
/// A step this small ends the fit of a resample: the next would be its square, 10⁻⁴ Elo.
const RESAMPLE_STEP_MIN: f64 = 1e-3;

/// The skills of a group of linked models, by their place in the group: those of its core have mean zero and are the
/// maximum of the likelihood of the battles within it; the others are fitted to theirs and the virtual ties.
pub(super) fn skills(group: &Linked, pairs: &[PairSum]) -> Result<Vec<f64>, FitError> {
    let mut skills = vec![0.0; group.models.len()];
    fit_core(group, pairs, &mut skills, STEP_MIN)?;
    let placed: Vec<usize> = (0..skills.len()).filter(|place| !group.is_core[*place]).collect();
    if placed.is_empty() {
        return Ok(skills);
    }
    let outside = |pair: &&PairSum| !(group.is_core[pair.model_a] && group.is_core[pair.model_b]);
    // One more model, of average skill, that is not to be fitted.
    let average = skills.len();
    skills.push(0.0);
    let tie =
        |&model: &usize| PairSum { model_a: model, model_b: average, won_a: 0.5, won_b: 0.5, scale: 1.0 };
    let pairs: Vec<PairSum> = pairs.iter().filter(outside).copied().chain(placed.iter().map(tie)).collect();
    climb(&pairs, &placed, &mut skills, STEP_MIN)?;
    skills.truncate(average);
    Ok(skills)
}

/// Fits the skills of a group's core to resampled battles, starting from those given; the others stay.
pub(super) fn refit_core(group: &Linked, pairs: &[PairSum], skills: &mut [f64]) -> Result<(), FitError> {
    fit_core(group, pairs, skills, RESAMPLE_STEP_MIN)
}

fn fit_core(group: &Linked, pairs: &[PairSum], skills: &mut [f64], step_min: f64) -> Result<(), FitError> {
    let core: Vec<usize> = (0..skills.len()).filter(|place| group.is_core[*place]).collect();
    let within = |pair: &&PairSum| group.is_core[pair.model_a] && group.is_core[pair.model_b];
    let pairs: Vec<PairSum> = pairs.iter().filter(within).copied().collect();
    climb(&pairs, &core, skills, step_min)?;
    let mean = core.iter().map(|&place| skills[place]).sum::<f64>() / core.len().max(1) as f64;
    core.iter().for_each(|&place| skills[place] -= mean);
    Ok(())
}

/// Moves the `free` skills to the maximum of the likelihood, the others standing still.
fn climb(pairs: &[PairSum], free: &[usize], skills: &mut [f64], step_min: f64) -> Result<(), FitError> {
    let mut rows = vec![None; skills.len()];
    free.iter().enumerate().for_each(|(row, &model)| rows[model] = Some(row));
    let mut objective = log_likelihood(pairs, skills);
    for _ in 0..STEPS_MAX {
        let step = newton_step(pairs, &rows, free.len(), skills)?;
        let mut share = 1.0;
        // Far from the optimum a whole step may overshoot; the objective is concave, so halving it must help.
        let (next, next_objective) = loop {
            let mut next = skills.to_vec();
            free.iter().zip(&step).for_each(|(&model, step)| next[model] += share * step);
            let next_objective = log_likelihood(pairs, &next);
            if next_objective >= objective || share < 1e-9 {
                break (next, next_objective);
            }
            share *= 0.5;
        };
        skills.copy_from_slice(&next);
        objective = next_objective;
        if step.iter().all(|step| (share * step).abs() < step_min) {
            break;
        }
    }
    if skills.iter().all(|skill| skill.is_finite()) { Ok(()) } else { Err(FitError::Singular) }
}

fn gap(pair: &PairSum, skills: &[f64]) -> f64 {
    skills[pair.model_a] - skills[pair.model_b]
}

fn log_likelihood(pairs: &[PairSum], skills: &[f64]) -> f64 {
    let loss = |pair: &PairSum| {
        let gap = gap(pair, skills);
        pair.won_a * log_loss(gap) + pair.won_b * log_loss(-gap)
    };
    -pairs.iter().map(loss).sum::<f64>()
}

/// Solves (curvature) · step = (gradient) by Cholesky. `rows` has the row of each model that is to move.
fn newton_step(
    pairs: &[PairSum],
    rows: &[Option<usize>],
    count: usize,
    skills: &[f64],
) -> Result<Vec<f64>, FitError> {
    let mut curvature = Mat::<f64>::zeros(count, count);
    let mut gradient = Col::<f64>::zeros(count);
    let mut is_held = false;
    for pair in pairs {
        let total = pair.won_a + pair.won_b;
        let expected = sigmoid(gap(pair, skills));
        let pull = pair.won_a - total * expected;
        let stiffness = total * expected * (1.0 - expected);
        let (a, b) = (rows[pair.model_a], rows[pair.model_b]);
        for (row, pull) in [(a, pull), (b, -pull)] {
            let Some(row) = row else { continue };
            gradient[row] += pull;
            curvature[(row, row)] += stiffness;
        }
        match (a, b) {
            (Some(a), Some(b)) => {
                // Cholesky reads the lower half.
                curvature[(a.max(b), a.min(b))] -= stiffness;
            }
            _ => is_held = true,
        }
    }
    if !is_held {
        // Moving all skills alike changes nothing. Stiffness in that direction alone makes the solution unique, and
        // as the gradient has no part in it, neither has the step.
        let stiffness =
            (0..count).map(|row| curvature[(row, row)]).sum::<f64>() / (count * count).max(1) as f64;
        curvature.col_iter_mut().for_each(|column| column.iter_mut().for_each(|value| *value += stiffness));
    }
    let factor = curvature.llt(Side::Lower).map_err(|_| FitError::Singular)?;
    Ok(factor.solve(&gradient).iter().copied().collect())
}
