//! Skills, and the gradient of the mean loss, of a handful of prompts at a time.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use super::examples::Examples;
use super::parameters::{Parameters, input_scale};
use crate::bradley_terry::sigmoid;
use crate::data::Battle;

/// Some prompts of a set of examples.
pub(super) struct Batch<'a> {
    examples: &'a Examples,
    chosen: &'a [usize],
    /// κ e: prompts × dimensions.
    inputs: Mat<f64>,
}

impl<'a> Batch<'a> {
    pub(super) fn new(embeddings: &Mat<f32>, examples: &'a Examples, chosen: &'a [usize]) -> Self {
        let scale = input_scale(embeddings.ncols());
        let prompt = |row: usize| examples.of(chosen[row])[0].prompt as usize;
        let value = |row: usize, dimension: usize| scale * f64::from(embeddings[(prompt(row), dimension)]);
        Self { examples, chosen, inputs: Mat::from_fn(chosen.len(), embeddings.ncols(), value) }
    }

    /// The battles of a row.
    pub(super) fn battles(&self, row: usize) -> &[Battle] {
        self.examples.of(self.chosen[row])
    }

    /// θ: prompts × models.
    pub(super) fn skills(&self, parameters: &Parameters, prior: &[f64]) -> Mat<f64> {
        self.skills_of(&self.hidden(parameters), parameters, prior)
    }

    /// Wᵀ(κ e) + b: prompts × hidden.
    fn hidden(&self, parameters: &Parameters) -> Mat<f64> {
        let mut hidden = product(&self.inputs, &parameters.projection);
        for row in 0..hidden.nrows() {
            for column in 0..hidden.ncols() {
                hidden[(row, column)] += parameters.bias[(column, 0)];
            }
        }
        hidden
    }

    fn skills_of(&self, hidden: &Mat<f64>, parameters: &Parameters, prior: &[f64]) -> Mat<f64> {
        let mut skills = times(hidden.as_ref(), parameters.factors.transpose());
        for row in 0..skills.nrows() {
            for (model, prior) in prior.iter().enumerate() {
                skills[(row, model)] += prior + parameters.offsets[(model, 0)];
            }
        }
        skills
    }

    /// The gradient of the loss over `per_example` times the prompts' number.
    pub(super) fn gradient(
        &self,
        parameters: &Parameters,
        prior: &[f64],
        source_weights: &[f64],
        per_example: f64,
    ) -> Parameters {
        let hidden = self.hidden(parameters);
        let skills = self.skills_of(&hidden, parameters, prior);
        let mut gradient = parameters.zeros_like();
        let mut pulls = Mat::<f64>::zeros(skills.nrows(), skills.ncols());
        let norm = 1.0 / (per_example * self.chosen.len() as f64);
        for row in 0..self.chosen.len() {
            for battle in self.battles(row) {
                let (a, b) = (usize::from(battle.model_a), usize::from(battle.model_b));
                let source = usize::from(battle.source);
                let scale = parameters.scale(battle.source);
                let gap = skills[(row, a)] - skills[(row, b)];
                let excess = sigmoid(scale * gap) - f64::from(battle.share);
                let pull = norm * source_weights[source] * f64::from(battle.weight) * excess * scale;
                pulls[(row, a)] += pull;
                pulls[(row, b)] -= pull;
                gradient.log_scales[(source, 0)] += pull * gap;
            }
        }
        gradient.factors = times(pulls.transpose(), hidden.as_ref());
        let hidden_pulls = product(&pulls, &parameters.factors);
        gradient.projection = times(self.inputs.transpose(), hidden_pulls.as_ref());
        for row in 0..self.chosen.len() {
            for model in 0..pulls.ncols() {
                gradient.offsets[(model, 0)] += pulls[(row, model)];
            }
            for column in 0..hidden_pulls.ncols() {
                gradient.bias[(column, 0)] += hidden_pulls[(row, column)];
            }
        }
        gradient
    }
}

/// A · B, on one thread.
pub(super) fn product(left: &Mat<f64>, right: &Mat<f64>) -> Mat<f64> {
    times(left.as_ref(), right.as_ref())
}

/// AᵀA, on one thread.
pub(super) fn gram(matrix: &Mat<f64>) -> Mat<f64> {
    times(matrix.transpose(), matrix.as_ref())
}

fn times(left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> Mat<f64> {
    let mut product = Mat::zeros(left.nrows(), right.ncols());
    matmul(product.as_mut(), Accum::Replace, left, right, 1.0, Par::Seq);
    product
}
