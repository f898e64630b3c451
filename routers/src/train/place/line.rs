//! The regression of the shifts of known models on their ratings: what a rating alone says of a model.

use faer::Mat;

use super::fit::{Meeting, Problem};
use crate::artifact::Added;
use crate::router::SkillMatrix;

/// Least squares over the known models: the shift at rating p is Σ_m (level_m + p · slope_m) δ_m.
pub(super) struct Line {
    level: Vec<f64>,
    slope: Vec<f64>,
}

impl Line {
    /// `prior` is θ⁰ of each known model. Without two ratings that differ there is no slope.
    pub(super) fn of(prior: &[f64]) -> Self {
        let count = prior.len().max(1) as f64;
        let mean = prior.iter().sum::<f64>() / count;
        let spread: f64 = prior.iter().map(|prior| (prior - mean).powi(2)).sum();
        let slope: Vec<f64> =
            prior.iter().map(|prior| if spread > 0.0 { (prior - mean) / spread } else { 0.0 }).collect();
        let level = slope.iter().map(|slope| 1.0 / count - mean * slope).collect();
        Self { level, slope }
    }

    /// What is to be fitted, given the known models' skills on the prompts of `meetings`.
    pub(super) fn problem(
        &self,
        skills: &SkillMatrix,
        prior: &[f64],
        meetings: Vec<Meeting>,
        folds: Vec<u32>,
    ) -> Problem {
        let shift = |row: usize, model: usize| skills[(row, model)] - prior[model];
        let along = |row: usize, shares: &[f64]| -> f64 {
            shares.iter().enumerate().map(|(model, share)| share * shift(row, model)).sum()
        };
        let features = Mat::from_fn(skills.nrows(), 1 + prior.len(), |row, column| match column {
            0 => 1.0 + along(row, &self.slope),
            _ => shift(row, column - 1),
        });
        let levels = (0..skills.nrows()).map(|row| along(row, &self.level)).collect();
        Problem { features, levels, meetings, folds }
    }

    /// The model that a solution describes.
    pub(super) fn added(&self, name: &str, solution: &[f64]) -> Added {
        let prior = solution.first().copied().unwrap_or_default();
        let own = solution.iter().skip(1);
        let mix = self.level.iter().zip(&self.slope).zip(own);
        let mix = mix.map(|((level, slope), own)| (level + prior * slope + own) as f32).collect();
        Added { model: name.to_owned(), prior, mix }
    }
}
