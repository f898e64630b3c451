//! The penalised fit of one model's coefficients against opponents whose skills are given.

use std::num::NonZeroU32;

use faer::linalg::solvers::Solve;
use faer::{Col, Mat, Side};

use crate::bradley_terry::{FitError, log_loss, sigmoid};

/// Parts of the cross-validation.
pub(super) const FOLDS: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Precision of the rating: enough for a model that never won to have one.
const RATING_PRECISION: f64 = 0.1;
/// Newton steps at most; it converges in about ten.
const STEPS_MAX: usize = 50;
const STEP_MIN: f64 = 1e-9;

/// A battle of the new model.
pub(super) struct Meeting {
    /// The row of its prompt.
    pub(super) prompt: usize,
    /// The opponent's skill on the prompt.
    pub(super) opponent: f64,
    /// How many logits of the label a unit of skill is worth.
    pub(super) scale: f64,
    /// The new model's share of the win.
    pub(super) won: f64,
    pub(super) weight: f64,
}

/// Finds z for the skill θ(x) = level(x) + φ(x) · z.
pub(super) struct Problem {
    /// φ: a row per prompt; the first column belongs to the rating, the others are penalised.
    pub(super) features: Mat<f64>,
    /// A level per prompt.
    pub(super) levels: Vec<f64>,
    pub(super) meetings: Vec<Meeting>,
    /// Which part of the cross-validation each prompt belongs to.
    pub(super) folds: Vec<u32>,
}

impl Problem {
    /// The mean log-loss of meetings, each part's under the solution of the others.
    pub(super) fn cross_validated(&self, ridge: f64) -> Result<f64, FitError> {
        let (mut losses, mut weights) = (0.0, 0.0);
        for part in 0..FOLDS.get() {
            let is_test = |prompt: usize| self.folds[prompt] == part;
            let solution = self.solve(ridge, |prompt| !is_test(prompt))?;
            for meeting in self.meetings.iter().filter(|meeting| is_test(meeting.prompt)) {
                losses += meeting.weight * self.loss(meeting, &solution);
                weights += meeting.weight;
            }
        }
        Ok(losses / weights)
    }

    /// The solution over the meetings on prompts that `keep` says yes to.
    pub(super) fn solve(&self, ridge: f64, keep: impl Fn(usize) -> bool) -> Result<Vec<f64>, FitError> {
        let kept: Vec<&Meeting> = self.meetings.iter().filter(|meeting| keep(meeting.prompt)).collect();
        let mut solution = vec![0.0; self.features.ncols()];
        let mut objective = self.objective(&kept, ridge, &solution);
        for _ in 0..STEPS_MAX {
            let step = self.newton_step(&kept, ridge, &solution)?;
            let mut share = 1.0;
            // The objective is convex, so halving a step that overshoots must help.
            let (next, next_objective) = loop {
                let next: Vec<f64> = solution.iter().zip(&step).map(|(at, step)| at + share * step).collect();
                let next_objective = self.objective(&kept, ridge, &next);
                if next_objective <= objective || share < 1e-9 {
                    break (next, next_objective);
                }
                share *= 0.5;
            };
            let largest = step.iter().fold(0.0f64, |largest, step| largest.max((share * step).abs()));
            (solution, objective) = (next, next_objective);
            if largest < STEP_MIN {
                break;
            }
        }
        if solution.iter().all(|value| value.is_finite()) { Ok(solution) } else { Err(FitError::Singular) }
    }

    fn precision(ridge: f64, column: usize) -> f64 {
        if column == 0 { RATING_PRECISION } else { ridge }
    }

    fn logit(&self, meeting: &Meeting, solution: &[f64]) -> f64 {
        let features = self.features.row(meeting.prompt);
        let product: f64 = features.iter().zip(solution).map(|(feature, value)| feature * value).sum();
        meeting.scale * (self.levels[meeting.prompt] + product - meeting.opponent)
    }

    fn loss(&self, meeting: &Meeting, solution: &[f64]) -> f64 {
        let logit = self.logit(meeting, solution);
        meeting.won * log_loss(logit) + (1.0 - meeting.won) * log_loss(-logit)
    }

    fn objective(&self, kept: &[&Meeting], ridge: f64, solution: &[f64]) -> f64 {
        let losses: f64 = kept.iter().map(|meeting| meeting.weight * self.loss(meeting, solution)).sum();
        let penalty = |(column, value): (usize, &f64)| 0.5 * Self::precision(ridge, column) * value * value;
        losses + solution.iter().enumerate().map(penalty).sum::<f64>()
    }

    /// Slope and curvature are summed by prompt, since all meetings on a prompt share its features.
    fn newton_step(&self, kept: &[&Meeting], ridge: f64, solution: &[f64]) -> Result<Vec<f64>, FitError> {
        let width = solution.len();
        let mut slopes = vec![0.0; self.features.nrows()];
        let mut curvatures = vec![0.0; self.features.nrows()];
        for meeting in kept {
            let expected = sigmoid(self.logit(meeting, solution));
            slopes[meeting.prompt] += meeting.weight * meeting.scale * (meeting.won - expected);
            curvatures[meeting.prompt] +=
                meeting.weight * meeting.scale * meeting.scale * expected * (1.0 - expected);
        }
        let weighted = Mat::from_fn(self.features.nrows(), width, |row, column| {
            curvatures[row] * self.features[(row, column)]
        });
        let mut curvature = self.features.transpose() * weighted;
        let mut gradient = Col::<f64>::zeros(width);
        for column in 0..width {
            curvature[(column, column)] += Self::precision(ridge, column);
            let products = self.features.col(column).iter().zip(&slopes);
            gradient[column] = products.map(|(feature, slope)| feature * slope).sum::<f64>()
                - Self::precision(ridge, column) * solution[column];
        }
        let factor = curvature.llt(Side::Lower).map_err(|_| FitError::Singular)?;
        Ok(factor.solve(&gradient).iter().copied().collect())
    }
}
