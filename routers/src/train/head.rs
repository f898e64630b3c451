//! The fit of one head: how the models of a source move with the prompts of a domain. Convex, solved to convergence.
//!
//! In the source's own units φ, with x a prompt's inputs less their mean, d its estimated difficulty, and r the models'
//! ratings brought to unit spread,
//!
//! φ_m(x) = φ⁰_m + c_m + b_m d(x) + r_m (w · x) + u_m · x,
//!
//! the Bradley–Terry likelihood of the battles less ridge penalties on all but φ⁰. Stretching all ratings by w · x is one
//! direction that all models share, so it is penalised less than the directions of their own, u_m.

use faer::Mat;

use super::lbfgs::{Stop, minimise};
use crate::bradley_terry::{log_loss, sigmoid};
use crate::vectors::product;

/// Penalties on c and b, in battles.
const OFFSET_RIDGE: f64 = 2.0;
const DIFFICULTY_RIDGE: f64 = 3.0;
/// The penalty on w, as a share of that on u.
const STRETCH_RIDGE: f64 = 2.0;

/// A battle of one prompt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Meeting {
    pub(super) model_a: u16,
    pub(super) model_b: u16,
    pub(super) share: f64,
    pub(super) weight: f64,
}

/// How strongly coefficients are held to zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ridge {
    /// The penalty on the coefficients of text features, in battles.
    pub(super) features: f64,
    /// The penalty on those of the embedding.
    pub(super) embedding: f64,
}

/// What a head is fitted to. Models are numbered within it.
#[derive(Debug)]
pub(super) struct Problem {
    /// Prompts × inputs without the constant, each column of mean zero.
    pub(super) inputs: Mat<f64>,
    /// The first so many inputs are the embedding's.
    pub(super) embedding_dim: usize,
    /// d of each prompt.
    pub(super) difficulty: Vec<f64>,
    /// The battles of each prompt.
    pub(super) meetings: Vec<Vec<Meeting>>,
    /// φ⁰ of each model.
    pub(super) base: Vec<f64>,
}

/// Coefficients of a head.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    /// c, b, w and u (inputs × models, column by column), one after the other.
    values: Vec<f64>,
    models: usize,
    ratings: Vec<f64>,
}

impl Problem {
    /// Where fits begin: at φ⁰.
    pub(super) fn start(&self) -> Solution {
        let models = self.base.len();
        let mean = self.base.iter().sum::<f64>() / models.max(1) as f64;
        let spread = self.base.iter().map(|base| (base - mean).powi(2)).sum::<f64>() / models.max(1) as f64;
        let scale = if spread > 0.0 { 1.0 / spread.sqrt() } else { 0.0 };
        let ratings = self.base.iter().map(|base| (base - mean) * scale).collect();
        let inputs = self.inputs.ncols();
        Solution { values: vec![0.0; 2 * models + inputs + inputs * models], models, ratings }
    }

    /// Moves a solution to the best for the prompts that `keep` says yes to.
    pub(super) fn solve(&self, from: &mut Solution, ridge: Ridge, keep: &dyn Fn(usize) -> bool, stop: Stop) {
        let kept: Vec<usize> = (0..self.meetings.len()).filter(|&prompt| keep(prompt)).collect();
        let rows =
            Mat::from_fn(kept.len(), self.inputs.ncols(), |row, column| self.inputs[(kept[row], column)]);
        let (models, ratings) = (from.models, from.ratings.clone());
        let fit = Fit { problem: self, kept: &kept, rows: &rows, ratings: &ratings, models, ridge };
        minimise(&mut from.values, stop, |at, slope| fit.value_and_slope(at, slope));
    }

    /// The loss of the prompts that `keep` says yes to, summed and with the sum of weights.
    pub(super) fn loss(&self, at: &Solution, keep: &dyn Fn(usize) -> bool) -> (f64, f64) {
        let kept: Vec<usize> = (0..self.meetings.len()).filter(|&prompt| keep(prompt)).collect();
        let rows =
            Mat::from_fn(kept.len(), self.inputs.ncols(), |row, column| self.inputs[(kept[row], column)]);
        let ridge = Ridge { features: 0.0, embedding: 0.0 };
        let fit =
            Fit { problem: self, kept: &kept, rows: &rows, ratings: &at.ratings, models: at.models, ridge };
        let skills = fit.skills(&at.values);
        let mut sums = (0.0, 0.0);
        for (row, &prompt) in kept.iter().enumerate() {
            for meeting in &self.meetings[prompt] {
                sums.0 += meeting.weight * meeting.loss(&skills, row);
                sums.1 += meeting.weight;
            }
        }
        sums
    }
}

impl Meeting {
    fn gap(&self, skills: &Mat<f64>, row: usize) -> f64 {
        skills[(row, usize::from(self.model_a))] - skills[(row, usize::from(self.model_b))]
    }

    fn loss(&self, skills: &Mat<f64>, row: usize) -> f64 {
        let gap = self.gap(skills, row);
        self.share * log_loss(gap) + (1.0 - self.share) * log_loss(-gap)
    }
}

impl Solution {
    /// c of each model.
    pub(super) fn offsets(&self) -> &[f64] {
        &self.values[..self.models]
    }

    /// b of each model.
    pub(super) fn difficulties(&self) -> &[f64] {
        &self.values[self.models..2 * self.models]
    }

    /// The coefficient of an input for a model: of w and u together.
    pub(super) fn coefficient(&self, input: usize, model: usize) -> f64 {
        let inputs = (self.values.len() - 2 * self.models) / (self.models + 1);
        let (stretch, own) = self.values[2 * self.models..].split_at(inputs);
        self.ratings[model] * stretch[input] + own[model * inputs + input]
    }
}

/// What a step of a fit reads.
struct Fit<'a> {
    problem: &'a Problem,
    kept: &'a [usize],
    /// The inputs of the kept prompts.
    rows: &'a Mat<f64>,
    ratings: &'a [f64],
    models: usize,
    ridge: Ridge,
}

impl Fit<'_> {
    /// φ: kept prompts × models.
    fn skills(&self, at: &[f64]) -> Mat<f64> {
        let (inputs, models) = (self.rows.ncols(), self.models);
        let (offsets, rest) = at.split_at(models);
        let (difficulties, rest) = rest.split_at(models);
        let (stretch, own) = rest.split_at(inputs);
        // w joins u: one product does for both.
        let columns = Mat::from_fn(inputs, models, |input, model| {
            self.ratings[model] * stretch[input] + own[model * inputs + input]
        });
        let mut skills = product(self.rows.as_ref(), columns.as_ref());
        for (row, &prompt) in self.kept.iter().enumerate() {
            let difficulty = self.problem.difficulty[prompt];
            for model in 0..models {
                skills[(row, model)] +=
                    self.problem.base[model] + offsets[model] + difficulties[model] * difficulty;
            }
        }
        skills
    }

    fn value_and_slope(&self, at: &[f64], slope: &mut [f64]) -> f64 {
        let (inputs, models) = (self.rows.ncols(), self.models);
        let skills = self.skills(at);
        let mut pulls = Mat::<f64>::zeros(skills.nrows(), models);
        let mut value = 0.0;
        slope.fill(0.0);
        for (row, &prompt) in self.kept.iter().enumerate() {
            for meeting in &self.problem.meetings[prompt] {
                let gap = meeting.gap(&skills, row);
                value += meeting.weight * (log_loss(gap) + (1.0 - meeting.share) * gap);
                let pull = meeting.weight * (sigmoid(gap) - meeting.share);
                pulls[(row, usize::from(meeting.model_a))] += pull;
                pulls[(row, usize::from(meeting.model_b))] -= pull;
            }
            let difficulty = self.problem.difficulty[prompt];
            for model in 0..models {
                slope[model] += pulls[(row, model)];
                slope[models + model] += difficulty * pulls[(row, model)];
            }
        }
        let columns = product(self.rows.transpose(), pulls.as_ref());
        for input in 0..inputs {
            for model in 0..models {
                let pull = columns[(input, model)];
                slope[2 * models + input] += self.ratings[model] * pull;
                slope[2 * models + inputs + model * inputs + input] = pull;
            }
        }
        value + self.penalty(at, slope)
    }

    /// The penalties; their gradient is added to `slope`.
    fn penalty(&self, at: &[f64], slope: &mut [f64]) -> f64 {
        let (inputs, models) = (self.rows.ncols(), self.models);
        let mut value = 0.0;
        for (place, (at, slope)) in at.iter().zip(slope).enumerate() {
            let ridge = if place < models {
                OFFSET_RIDGE
            } else if place < 2 * models {
                DIFFICULTY_RIDGE
            } else {
                let input = (place - 2 * models) % inputs;
                let is_stretch = place < 2 * models + inputs;
                let Ridge { features, embedding } = self.ridge;
                let of_input = if input < self.problem.embedding_dim { embedding } else { features };
                of_input * if is_stretch { STRETCH_RIDGE } else { 1.0 }
            };
            value += 0.5 * ridge * at * at;
            *slope += ridge * at;
        }
        value
    }
}
