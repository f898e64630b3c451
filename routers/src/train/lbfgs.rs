//! Minimises smooth convex functions of many variables: limited-memory BFGS (Liu and Nocedal 1989) with backtracking.
//!
//! One thread, fixed order: the same function gives the same bits. Must not know what is minimised.

/// Pairs of steps and gradient changes that are remembered.
const MEMORY: usize = 10;
/// A step must gain this share of what the slope promises (Armijo 1966).
const GAIN_MIN: f64 = 1e-4;
/// Steps are halved at most so often.
const HALVINGS_MAX: usize = 40;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    /// Steps at most.
    pub(super) steps_max: usize,
    /// A step that lowers the value by a smaller share of it is the last.
    pub(super) gain_min: f64,
}

/// Sets `at` to where `value_and_slope`, which writes the gradient at a point and returns the value, is least.
pub(super) fn minimise(
    at: &mut Vec<f64>,
    stop: Stop,
    mut value_and_slope: impl FnMut(&[f64], &mut [f64]) -> f64,
) {
    let mut slope = vec![0.0; at.len()];
    let mut value = value_and_slope(at, &mut slope);
    let mut memory = Memory::default();
    let mut next = at.clone();
    let mut next_slope = slope.clone();
    for _ in 0..stop.steps_max {
        let direction = memory.direction(&slope);
        let promised = dot(&direction, &slope);
        // At the least value there is nothing to gain; what is not finite leads nowhere.
        if promised.is_nan() || promised >= 0.0 {
            return;
        }
        let mut share = if memory.is_empty() { 1.0 / norm(&slope).max(1.0) } else { 1.0 };
        let mut halvings = 0;
        let next_value = loop {
            for ((next, at), direction) in next.iter_mut().zip(at.iter()).zip(&direction) {
                *next = at + share * direction;
            }
            let next_value = value_and_slope(&next, &mut next_slope);
            if next_value <= value + GAIN_MIN * share * promised {
                break next_value;
            }
            halvings += 1;
            if halvings > HALVINGS_MAX {
                return;
            }
            share *= 0.5;
        };
        memory.remember(difference(&next, at), difference(&next_slope, &slope));
        std::mem::swap(at, &mut next);
        std::mem::swap(&mut slope, &mut next_slope);
        let gained = value - next_value;
        value = next_value;
        if gained <= stop.gain_min * value.abs().max(1e-12) {
            return;
        }
    }
}

/// The latest steps, and how the gradient changed over each.
#[derive(Debug, Default)]
struct Memory {
    pairs: std::collections::VecDeque<(Vec<f64>, Vec<f64>, f64)>,
}

impl Memory {
    fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    fn remember(&mut self, step: Vec<f64>, change: Vec<f64>) {
        let curvature = dot(&step, &change);
        // Rounding can hide the curvature of a convex function; a pair without any would spoil the direction.
        if curvature > 1e-12 * dot(&change, &change) {
            self.pairs.push_back((step, change, 1.0 / curvature));
        }
        if self.pairs.len() > MEMORY {
            self.pairs.pop_front();
        }
    }

    /// −H · slope, H the approximate inverse of the curvature.
    fn direction(&self, slope: &[f64]) -> Vec<f64> {
        let mut direction: Vec<f64> = slope.iter().map(|value| -value).collect();
        let mut shares = Vec::with_capacity(self.pairs.len());
        for (step, change, inverse) in self.pairs.iter().rev() {
            let share = inverse * dot(step, &direction);
            add(&mut direction, -share, change);
            shares.push(share);
        }
        if let Some((_, change, inverse)) = self.pairs.back() {
            let scale = 1.0 / (inverse * dot(change, change));
            direction.iter_mut().for_each(|value| *value *= scale);
        }
        for ((step, change, inverse), share) in self.pairs.iter().zip(shares.iter().rev()) {
            let back = inverse * dot(change, &direction);
            add(&mut direction, share - back, step);
        }
        direction
    }
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

fn norm(of: &[f64]) -> f64 {
    dot(of, of).sqrt()
}

fn add(to: &mut [f64], share: f64, of: &[f64]) {
    to.iter_mut().zip(of).for_each(|(to, of)| *to += share * of);
}

fn difference(one: &[f64], other: &[f64]) -> Vec<f64> {
    one.iter().zip(other).map(|(a, b)| a - b).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOP: Stop = Stop { steps_max: 500, gain_min: 1e-15 };

    #[test]
    fn a_narrow_quadratic_is_solved() {
        let mut at = vec![5.0; 30];
        minimise(&mut at, STOP, |at, slope| {
            let mut value = 0.0;
            for (place, (at, slope)) in at.iter().zip(slope).enumerate() {
                let (stiffness, middle) = (10f64.powf(place as f64 / 10.0), place as f64);
                value += 0.5 * stiffness * (at - middle).powi(2);
                *slope = stiffness * (at - middle);
            }
            value
        });
        for (place, at) in at.iter().enumerate() {
            assert!((at - place as f64).abs() < 1e-5, "{place}: {at}");
        }
    }

    #[test]
    fn a_logistic_loss_is_solved() {
        // log(1 + e^-x) + ½·0.1·x²: the slope is zero where 0.1 x = 1 / (1 + e^x).
        let mut at = vec![-20.0];
        minimise(&mut at, STOP, |at, slope| {
            slope[0] = 0.1 * at[0] - 1.0 / (1.0 + at[0].exp());
            (-at[0]).exp().ln_1p() + 0.05 * at[0] * at[0]
        });
        assert!((0.1 * at[0] - 1.0 / (1.0 + at[0].exp())).abs() < 1e-6, "{at:?}");
    }

    #[test]
    fn what_is_not_finite_ends_it() {
        let mut at = vec![1.0];
        minimise(&mut at, STOP, |_, slope| {
            slope[0] = f64::NAN;
            f64::NAN
        });
        assert_eq!(at, [1.0]);
    }
}
