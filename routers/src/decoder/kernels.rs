//! What a block does between its matrix products, a token at a time: root-mean-square norms and the gated activation.

use pulp::{Arch, NullaryFnOnce};

use crate::encoder::kernels::{exp, sum};

/// x / √(mean x² + ε) · scale (Zhang and Sennrich 2019).
pub(super) struct Norm {
    pub(super) scale: Vec<f32>,
    pub(super) epsilon: f32,
}

impl Norm {
    /// Normalises states that lie one after the other.
    pub(super) fn apply(&self, states: &[f32], into: &mut [f32]) {
        Arch::new().dispatch(Apply { norm: self, states, into });
    }
}

struct Apply<'a> {
    norm: &'a Norm,
    states: &'a [f32],
    into: &'a mut [f32],
}

impl NullaryFnOnce for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Norm { scale, epsilon } = self.norm;
        let width = scale.len();
        for (state, into) in self.states.chunks_exact(width).zip(self.into.chunks_exact_mut(width)) {
            let mean = sum(state, |value| value * value) / width as f32;
            let inverse = 1.0 / (mean + epsilon).sqrt();
            for ((into, value), scale) in into.iter_mut().zip(state).zip(scale) {
                *into = value * inverse * scale;
            }
        }
    }
}

/// x σ(x) · y for tokens of `width` values x, then as many y (SwiGLU, Shazeer 2020).
pub(super) fn gate(wide: &[f32], width: usize, into: &mut [f32]) {
    Arch::new().dispatch(Gate { wide, width, into });
}

struct Gate<'a> {
    wide: &'a [f32],
    width: usize,
    into: &'a mut [f32],
}

impl NullaryFnOnce for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let tokens = self.wide.chunks_exact(2 * self.width).zip(self.into.chunks_exact_mut(self.width));
        for (wide, into) in tokens {
            let (gates, values) = wide.split_at(self.width);
            for ((into, gate), value) in into.iter_mut().zip(gates).zip(values) {
                *into = gate / (1.0 + exp(-gate)) * value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_norm_divides_by_the_root_of_the_mean_square() {
        let states: Vec<f32> = (0..50).map(|place| place as f32 - 20.0).collect();
        let mut into = vec![0.0; 50];
        Norm { scale: vec![2.0; 25], epsilon: 1e-5 }.apply(&states, &mut into);
        for (states, into) in states.chunks(25).zip(into.chunks(25)) {
            let root = (states.iter().map(|value| value * value).sum::<f32>() / 25.0 + 1e-5).sqrt();
            for (value, into) in states.iter().zip(into) {
                assert!((into - 2.0 * value / root).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn a_gate_follows_its_definition() {
        let wide = [-200.0, -1.0, 0.0, 3.0, 2.0, 2.0, 2.0, -2.0];
        let mut into = [7.0; 4];
        gate(&wide, 4, &mut into);
        let silu = |x: f32| x / (1.0 + (-x).exp());
        for (place, value) in into.iter().enumerate() {
            assert!((value - silu(wide[place]) * wide[place + 4]).abs() < 1e-5, "{place}");
        }
    }
}
