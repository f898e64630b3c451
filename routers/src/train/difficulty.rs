//! How hard a prompt is, guessed from its inputs: ridge regression of the mean score of all models, sign reversed.
//!
//! The mean over many models is a far less noisy label than any comparison of two.

use std::num::NonZeroU32;

use faer::linalg::solvers::Solve;
use faer::{Col, Mat, Side};

use crate::vectors::product;

/// Strength of the penalty.
const RIDGE: f64 = 3.0;
/// Parts of the cross-fitting.
pub(super) const FOLDS: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// d(x) = β · x, x of mean zero; of unit spread would it guess all.
#[derive(Debug, Clone)]
pub(super) struct Difficulty {
    pub(super) coefficients: Vec<f64>,
}

impl Difficulty {
    /// Fits prompts (rows of `inputs`) to their mean scores, and guesses each prompt from the others: `folds` tells the
    /// part of each. `None` where the scores do not differ or the system has no solution.
    pub(super) fn fit(inputs: &Mat<f64>, mean_scores: &[f64], folds: &[u32]) -> Option<(Self, Vec<f64>)> {
        let count = mean_scores.len().max(1) as f64;
        let mean = mean_scores.iter().sum::<f64>() / count;
        let spread = (mean_scores.iter().map(|score| (score - mean).powi(2)).sum::<f64>() / count).sqrt();
        if spread < 1e-6 {
            return None;
        }
        let labels: Vec<f64> = mean_scores.iter().map(|score| (mean - score) / spread).collect();
        let mut guesses = vec![0.0; labels.len()];
        for part in 0..FOLDS.get() {
            let others = solve(inputs, &labels, |prompt| folds[prompt] != part)?;
            for (prompt, guess) in guesses.iter_mut().enumerate().filter(|(prompt, _)| folds[*prompt] == part)
            {
                let products = inputs.row(prompt).iter().zip(&others).map(|(input, value)| input * value);
                *guess = products.sum();
            }
        }
        Some((Self { coefficients: solve(inputs, &labels, |_| true)? }, guesses))
    }
}

/// (XᵀX + ridge) β = Xᵀy over the prompts that `keep` says yes to.
fn solve(inputs: &Mat<f64>, labels: &[f64], keep: impl Fn(usize) -> bool) -> Option<Vec<f64>> {
    let kept: Vec<usize> = (0..labels.len()).filter(|&prompt| keep(prompt)).collect();
    let rows = Mat::from_fn(kept.len(), inputs.ncols(), |row, column| inputs[(kept[row], column)]);
    let labels = Col::from_fn(kept.len(), |row| labels[kept[row]]);
    let mut gram = product(rows.transpose(), rows.as_ref());
    (0..gram.nrows()).for_each(|place| gram[(place, place)] += RIDGE);
    let factor = gram.llt(Side::Lower).ok()?;
    Some(factor.solve(rows.transpose() * labels).iter().copied().collect())
}
