//! What a transformer does between its matrix products, a token at a time: layer norm, softmax, activations.
//!
//! Written so that the compiler vectorises them; `pulp` picks the widest instruction set at run time.

use super::config::Activation;

/// Values summed side by side; a fixed number, so that a sum has the same bits on every machine.
const LANES: usize = 16;

/// A layer norm: (x − mean) / √(variance + ε) · scale + shift.
pub(super) struct Norm {
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) epsilon: f32,
}

impl Norm {
    /// Normalises a state in place.
    pub(super) fn normalise(&self, state: &mut [f32]) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || self.normalise_inline(state),
        );
    }

    /// Adds to a state what a layer made of it, the layer's bias included, and normalises.
    pub(super) fn join(&self, state: &mut [f32], made: &[f32], bias: &[f32]) {
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                for ((value, made), bias) in state.iter_mut().zip(made).zip(bias) {
                    *value += made + bias;
                }
                self.normalise_inline(state);
            },
        );
    }

    #[inline(always)]
    fn normalise_inline(&self, state: &mut [f32]) {
        let count = state.len() as f32;
        let mean = sum(state, |value| value) / count;
        let variance = sum(state, |value| (value - mean) * (value - mean)) / count;
        let inverse = 1.0 / (variance + self.epsilon).sqrt();
        for ((value, scale), shift) in state.iter_mut().zip(&self.scale).zip(&self.shift) {
            *value = (*value - mean) * inverse * scale + shift;
        }
    }
}

/// Adds to a state, in place.
pub(super) fn add(state: &mut [f32], other: &[f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || state.iter_mut().zip(other).for_each(|(value, other)| *value += other),
    );
}

/// Exponentials divided by their sum, in place.
pub(super) fn softmax(scores: &mut [f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let largest = maximum(scores);
            scores.iter_mut().for_each(|score| *score = exp(*score - largest));
            let inverse = 1.0 / sum(scores, |value| value);
            scores.iter_mut().for_each(|score| *score *= inverse);
        },
    );
}

/// Adds the bias and applies the activation, in place.
pub(super) fn bias_and_activate(activation: Activation, state: &mut [f32], bias: &[f32]) {
    match activation {
        Activation::Gelu => map_with_bias(state, bias, gelu),
        Activation::GeluTanh => map_with_bias(state, bias, gelu_tanh),
        Activation::Relu => map_with_bias(state, bias, |value| value.max(0.0)),
    }
}

#[inline(always)]
fn map_with_bias(state: &mut [f32], bias: &[f32], function: impl Fn(f32) -> f32) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (value, bias) in state.iter_mut().zip(bias) {
                *value = function(*value + bias);
            }
        },
    );
}

#[inline(always)]
fn sum(values: &[f32], function: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += function(*value);
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane += function(*value);
    }
    lanes.iter().sum()
}

#[inline(always)]
fn maximum(values: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane = if *value > *lane { *value } else { *lane };
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        *lane = if *value > *lane { *value } else { *lane };
    }
    lanes.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// eˣ to about two units in the last place: x = n ln 2 + r, |r| ≤ ½ ln 2, e^r by its Taylor series to r⁶.
/// Below −87 it stays at e⁻⁸⁷, above 88 at e⁸⁸.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Added and taken away, it rounds to an integer, which is left in the low bits of the sum.
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first exact in few bits.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = if x < -87.0 { -87.0 } else { x };
    let x = if x > 88.0 { 88.0 } else { x };
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let series = 1.0 / 120.0 + r * (1.0 / 720.0);
    let series = 1.0 / 24.0 + r * series;
    let series = 1.0 / 6.0 + r * series;
    let series = 0.5 + r * series;
    let series = 1.0 + r * (1.0 + r * series);
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    series * power
}

/// The error function by Abramowitz and Stegun 7.1.26, absolute error below 1.5e-7 (and float rounding).
#[inline(always)]
fn erf(x: f32) -> f32 {
    let magnitude = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * magnitude);
    let series = -1.453_152_1 + t * 1.061_405_4;
    let series = 1.421_413_8 + t * series;
    let series = -0.284_496_72 + t * series;
    let series = t * (0.254_829_6 + t * series);
    (1.0 - series * exp(-magnitude * magnitude)).copysign(x)
}

/// x Φ(x).
#[inline(always)]
fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * std::f32::consts::FRAC_1_SQRT_2))
}

/// Its approximation ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))); ½ (1 + tanh u) is 1 / (1 + e⁻²ᵘ).
#[inline(always)]
fn gelu_tanh(x: f32) -> f32 {
    const TWICE_ROOT_TWO_OVER_PI: f32 = 1.595_769;
    let u = TWICE_ROOT_TWO_OVER_PI * (x + 0.044_715 * x * x * x);
    x / (1.0 + exp(-u))
}

#[cfg(test)]
mod tests {
    use super::{Norm, erf, exp, gelu, gelu_tanh, softmax};

    fn between(low: f32, high: f32) -> impl Iterator<Item = f32> {
        (0..=20_000).map(move |step| low + (high - low) * step as f32 / 20_000.0)
    }

    #[test]
    fn exp_is_exact_to_a_few_units() {
        for x in between(-87.0, 88.0) {
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) - exact).abs() <= 4e-7 * exact, "{x}");
        }
        assert!(exp(f32::NEG_INFINITY) > 0.0 && exp(f32::INFINITY).is_finite());
    }

    /// erf by its Maclaurin series in double precision.
    fn erf_series(x: f64) -> f64 {
        let (mut term, mut sum, mut n) = (x, x, 0.0);
        while term.abs() > 1e-18 {
            n += 1.0;
            term *= -x * x / n;
            sum += term / (2.0 * n + 1.0);
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn erf_and_gelu_follow_their_definitions() {
        for x in between(-4.0, 4.0) {
            assert!((f64::from(erf(x)) - erf_series(f64::from(x))).abs() < 5e-7, "{x}");
            let exact = 0.5 * f64::from(x) * (1.0 + erf_series(f64::from(x) / 2f64.sqrt()));
            assert!((f64::from(gelu(x)) - exact).abs() < 2e-6, "{x}");
            assert!((gelu_tanh(x) - gelu(x)).abs() < 1e-3, "{x}");
        }
        assert!(gelu(-60.0).abs() < 1e-5 && (gelu(60.0) - 60.0).abs() < 1e-5);
    }

    #[test]
    fn softmax_sums_to_one_and_keeps_ratios() {
        let mut scores: Vec<f32> = (0..37).map(|place| place as f32 * 0.3 - 500.0).collect();
        softmax(&mut scores);
        assert!((scores.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        for pair in scores.windows(2) {
            assert!((pair[1] / pair[0] - 0.3f32.exp()).abs() < 1e-4);
        }
    }

    #[test]
    fn layer_norm_centres_and_scales() {
        let mut state: Vec<f32> = (0..50).map(|place| (place * place) as f32).collect();
        Norm { scale: vec![2.0; 50], shift: vec![1.0; 50], epsilon: 1e-12 }.normalise(&mut state);
        let mean = state.iter().sum::<f32>() / 50.0;
        let variance = state.iter().map(|value| (value - mean).powi(2)).sum::<f32>() / 50.0;
        assert!((mean - 1.0).abs() < 1e-5 && (variance - 4.0).abs() < 1e-3);
    }
}
