//! The fit at a prompt: skills that explain weighted comparisons, held to the global ones.
//!
//! Maximises Σ won log σ(s(θ_a − θ_b)) + lost log σ(s(θ_b − θ_a)) − (ρ/2) Σ (θ_m − θ⁰_m)² by Newton's method.

use faer::linalg::solvers::Solve;
use faer::{Col, Mat, Side};

use crate::bradley_terry::sigmoid;
use crate::vectors;

/// Comparisons of two models, summed up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meeting {
    pub(super) models: [usize; 2],
    /// Logits of the label per unit of skill difference.
    pub(super) scale: f64,
    /// Weight won by the first, ties counted half.
    pub(super) won: f64,
    pub(super) total: f64,
}

/// Newton steps at most; four or five are the rule.
const STEPS_MAX: usize = 40;
/// A step this small ends the fit: what is left after it is its square.
const STEP_MIN: f64 = 3e-5;
/// How far past the optimum a step may lead, by the slope along it.
const OVERSHOOT: f64 = 0.5;

/// θ − θ⁰ of every model; 0 for those that no comparison is of. Their sum is zero.
pub(super) fn shifts(mut meetings: Vec<Meeting>, prior: &[f64], ridge: f64) -> Vec<f64> {
    let mut places = vec![usize::MAX; prior.len()];
    let mut present = Vec::new();
    for meeting in &mut meetings {
        for model in &mut meeting.models {
            let place = &mut places[*model];
            if *place == usize::MAX {
                *place = present.len();
                present.push(*model);
            }
            *model = *place;
        }
    }
    let priors: Vec<f64> = present.iter().map(|&model| prior[model]).collect();
    let moved = newton(&Problem { meetings, priors, ridge });
    let mut shifts = vec![0.0; prior.len()];
    // The penalty holds the mean at zero; what the last step left of it is taken out.
    let mean = moved.iter().sum::<f64>() / moved.len().max(1) as f64;
    present.iter().zip(moved).for_each(|(&model, moved)| shifts[model] = moved - mean);
    shifts
}

struct Problem {
    meetings: Vec<Meeting>,
    priors: Vec<f64>,
    ridge: f64,
}

fn newton(problem: &Problem) -> Vec<f64> {
    let count = problem.priors.len();
    let mut moved = Col::<f64>::zeros(count);
    let mut curvature = Mat::<f64>::zeros(count, count);
    let mut gradient = problem.derivatives(&moved, &mut curvature);
    for _ in 0..STEPS_MAX {
        let Ok(factor) = curvature.llt(Side::Lower) else { break };
        let step = factor.solve(&gradient);
        vectors::clear();
        let slope = inner(&step, &gradient);
        if step.norm_max() < STEP_MIN {
            moved += &step;
            break;
        }
        let mut share = 1.0;
        loop {
            let next = &moved + faer::Scale(share) * &step;
            gradient = problem.derivatives(&next, &mut curvature);
            // The likelihood is concave: where it still rises, or hardly falls, the step was not too long.
            if inner(&step, &gradient) >= -OVERSHOOT * slope || share < 1e-3 {
                moved = next;
                break;
            }
            share *= 0.5;
        }
    }
    moved.iter().copied().collect()
}

impl Problem {
    /// The gradient; `curvature` becomes minus the second derivatives, its lower half.
    fn derivatives(&self, moved: &Col<f64>, curvature: &mut Mat<f64>) -> Col<f64> {
        let mut gradient = Col::from_fn(moved.nrows(), |place| -self.ridge * moved[place]);
        curvature.fill(0.0);
        for place in 0..moved.nrows() {
            curvature[(place, place)] = self.ridge;
        }
        for Meeting { models: [a, b], scale, won, total } in self.meetings.iter().copied() {
            let gap = self.priors[a] + moved[a] - self.priors[b] - moved[b];
            let expected = sigmoid(scale * gap);
            let pull = scale * (won - total * expected);
            gradient[a] += pull;
            gradient[b] -= pull;
            let stiffness = scale * scale * total * expected * (1.0 - expected);
            curvature[(a, a)] += stiffness;
            curvature[(b, b)] += stiffness;
            curvature[(a.max(b), a.min(b))] -= stiffness;
        }
        gradient
    }
}

fn inner(one: &Col<f64>, other: &Col<f64>) -> f64 {
    one.iter().zip(other.iter()).map(|(one, other)| one * other).sum()
}
