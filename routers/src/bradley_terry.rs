//! Ridge-penalised Bradley–Terry fits from weighted pair counts (Bradley and Terry 1952; Newton's method as in
//! Hunter 2004, section 1).
//!
//! Maximises Σ w [y log σ(s(θ_a − θ_b)) + (1 − y) log σ(s(θ_b − θ_a))] − ½ Σ ρ_m (θ_m − c_m)², with ties as
//! y = ½ and s the scale of the pair's source. Knows of numbered models only: not of names, files or prompts.

#[cfg(test)]
mod tests;

use crate::vectors;
use faer::linalg::solvers::Solve;
use faer::{Col, Mat, Side};

/// Comparisons of two models, summed up.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairSum {
    /// The first model's number.
    pub model_a: usize,
    /// The second model's number.
    pub model_b: usize,
    /// Weight won by the first, ties counted half.
    pub won_a: f64,
    /// Weight won by the second, ties counted half.
    pub won_b: f64,
    /// How many logits of the label a unit of skill difference is worth: the source's scale.
    pub scale: f64,
}

/// Where skills lie before any comparison is seen: a normal distribution for each model.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior {
    /// The centre of each model's skill.
    pub centre: Vec<f64>,
    /// The precision ρ of each model's skill; all above zero, so that the fit has one solution.
    pub precision: Vec<f64>,
}

/// Why there is no fit.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FitError {
    /// The Newton system could not be solved: a precision is not above zero, or a count is not finite.
    #[error("the Bradley–Terry fit has no unique solution")]
    Singular,
    /// A comparison names a model that the prior lacks.
    #[error("a comparison names model {0}, the prior has fewer")]
    UnknownModel(usize),
}

/// Newton steps after which a fit is taken as it is; it converges in about ten.
const STEPS_MAX: usize = 100;
/// A step this small in every skill ends the fit.
const STEP_MIN: f64 = 1e-10;
/// Fitted scales stay within these bounds: a source without any signal must not blow up, nor vanish.
const SCALE_BOUNDS: (f64, f64) = (0.02, 20.0);

/// Fits the skills.
///
/// # Errors
/// [`FitError::Singular`] for a prior without precision or counts that are not finite;
/// [`FitError::UnknownModel`] for a pair outside the prior.
pub fn fit(pairs: &[PairSum], prior: &Prior) -> Result<Vec<f64>, FitError> {
    let models = prior.centre.len().min(prior.precision.len());
    if let Some(unknown) = pairs.iter().map(|pair| pair.model_a.max(pair.model_b)).find(|&m| m >= models) {
        return Err(FitError::UnknownModel(unknown));
    }
    let mut skills = prior.centre.clone();
    let mut objective = penalised_log_likelihood(pairs, prior, &skills);
    for _ in 0..STEPS_MAX {
        let step = newton_step(pairs, prior, &skills)?;
        let mut share = 1.0;
        // Far from the optimum a whole step may overshoot; the objective is concave, so halving it must help.
        let (next, next_objective) = loop {
            let next: Vec<f64> = skills.iter().zip(&step).map(|(skill, step)| skill + share * step).collect();
            let next_objective = penalised_log_likelihood(pairs, prior, &next);
            if next_objective >= objective || share < 1e-9 {
                break (next, next_objective);
            }
            share *= 0.5;
        };
        let largest = step.iter().fold(0.0f64, |largest, step| largest.max((share * step).abs()));
        (skills, objective) = (next, next_objective);
        if largest < STEP_MIN {
            break;
        }
    }
    if skills.iter().all(|skill| skill.is_finite()) { Ok(skills) } else { Err(FitError::Singular) }
}

/// Fits the one scale that a source's pairs share, the skills being given: the maximum of the likelihood, by
/// bisection of its slope, which falls with the scale. The pairs' own scales are not read.
#[must_use]
pub fn fit_scale(pairs: &[PairSum], skills: &[f64]) -> f64 {
    let slope = |scale: f64| -> f64 {
        let of_pair = |pair: &PairSum| {
            let gap = gap(pair, skills);
            (pair.won_a - (pair.won_a + pair.won_b) * sigmoid(scale * gap)) * gap
        };
        pairs.iter().map(of_pair).sum()
    };
    maximum(SCALE_BOUNDS, 60, slope)
}

/// Where a concave function of one variable is largest within bounds, by so many bisections of its slope.
pub(crate) fn maximum((low, high): (f64, f64), bisections: usize, slope: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (low, high);
    for _ in 0..bisections {
        let middle = 0.5 * (low + high);
        if slope(middle) > 0.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    0.5 * (low + high)
}

/// σ(x), the logistic function.
#[must_use]
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// −log σ(x), without overflow.
#[must_use]
pub fn log_loss(x: f64) -> f64 {
    (-x).max(0.0) + (-x.abs()).exp().ln_1p()
}

fn gap(pair: &PairSum, skills: &[f64]) -> f64 {
    skills[pair.model_a] - skills[pair.model_b]
}

fn penalised_log_likelihood(pairs: &[PairSum], prior: &Prior, skills: &[f64]) -> f64 {
    let likelihood = |pair: &PairSum| {
        let logit = pair.scale * gap(pair, skills);
        pair.won_a * log_loss(logit) + pair.won_b * log_loss(-logit)
    };
    let penalty: f64 = skills
        .iter()
        .zip(&prior.centre)
        .zip(&prior.precision)
        .map(|((skill, centre), precision)| 0.5 * precision * (skill - centre).powi(2))
        .sum();
    -pairs.iter().map(likelihood).sum::<f64>() - penalty
}

/// Solves (curvature) · step = (gradient) by Cholesky.
fn newton_step(pairs: &[PairSum], prior: &Prior, skills: &[f64]) -> Result<Vec<f64>, FitError> {
    let models = skills.len();
    let mut curvature = Mat::<f64>::zeros(models, models);
    let mut gradient = Col::<f64>::zeros(models);
    for model in 0..models {
        curvature[(model, model)] = prior.precision[model];
        gradient[model] = -prior.precision[model] * (skills[model] - prior.centre[model]);
    }
    for pair in pairs {
        let (a, b) = (pair.model_a, pair.model_b);
        let total = pair.won_a + pair.won_b;
        let expected = sigmoid(pair.scale * gap(pair, skills));
        let pull = pair.scale * (pair.won_a - total * expected);
        gradient[a] += pull;
        gradient[b] -= pull;
        let stiffness = pair.scale * pair.scale * total * expected * (1.0 - expected);
        curvature[(a, a)] += stiffness;
        curvature[(b, b)] += stiffness;
        curvature[(a, b)] -= stiffness;
        curvature[(b, a)] -= stiffness;
    }
    let factor = curvature.llt(Side::Lower).map_err(|_| FitError::Singular)?;
    let step = factor.solve(&gradient);
    vectors::clear();
    Ok(step.iter().copied().collect())
}
