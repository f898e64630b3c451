//! AdamW (Loshchilov, Hutter 2019, arXiv 1711.05101), its state in the open so that it can be written down.

use std::collections::BTreeMap;

use candle_core::{Result, Tensor, Var};

use super::weights::decays;

/// The share of the past in the means of gradients and of their squares.
const MOMENTUM: [f64; 2] = [0.9, 0.999];
/// Keeps steps finite where a gradient has always been zero.
const EPSILON: f64 = 1e-8;

/// The weights and what each step needs to know of those before.
pub(super) struct Optimiser {
    pub(super) weights: BTreeMap<String, Var>,
    /// Means of the gradients.
    pub(super) first: BTreeMap<String, Tensor>,
    /// Means of their squares.
    pub(super) second: BTreeMap<String, Tensor>,
}

/// How a step is made.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepSize {
    /// From 1.
    pub(super) step: usize,
    pub(super) learning_rate: f64,
    pub(super) weight_decay: f64,
    /// What gradients are multiplied by.
    pub(super) scale: f64,
}

impl Optimiser {
    /// Starts from these weights.
    pub(super) fn new(weights: BTreeMap<String, Var>) -> Result<Self> {
        Ok(Self { first: zeros(&weights)?, second: zeros(&weights)?, weights })
    }

    /// Makes a step against the gradients.
    pub(super) fn step(&mut self, gradients: &BTreeMap<String, Tensor>, size: StepSize) -> Result<()> {
        // The means start from zero, and are made as large as if they had not.
        let [first_left, second_left] = MOMENTUM.map(|share| 1.0 - share.powf(size.step as f64));
        let rate = size.learning_rate / first_left;
        for (name, gradient) in gradients {
            let (Some(weight), Some(first), Some(second)) =
                (self.weights.get(name), self.first.get_mut(name), self.second.get_mut(name))
            else {
                continue;
            };
            let gradient = (gradient * size.scale)?;
            *first = ((&*first * MOMENTUM[0])? + (&gradient * (1.0 - MOMENTUM[0]))?)?;
            *second = ((&*second * MOMENTUM[1])? + (gradient.sqr()? * (1.0 - MOMENTUM[1]))?)?;
            let length = ((&*second / second_left)?.sqrt()? + EPSILON)?;
            let decay = if decays(weight) { size.learning_rate * size.weight_decay } else { 0.0 };
            let kept = (weight.as_detached_tensor() * (1.0 - decay))?;
            weight.set(&(kept - ((&*first / length)? * rate)?)?)?;
        }
        Ok(())
    }
}

fn zeros(like: &BTreeMap<String, Var>) -> Result<BTreeMap<String, Tensor>> {
    like.iter().map(|(name, weight)| Ok((name.clone(), weight.zeros_like()?))).collect()
}

/// The length of all gradients together.
pub(super) fn norm(gradients: &BTreeMap<String, Tensor>) -> Result<f64> {
    let mut squares = 0.0;
    for gradient in gradients.values() {
        squares += f64::from(gradient.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    Ok(squares.sqrt())
}
