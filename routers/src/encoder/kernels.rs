//! What a transformer does between its matrix products, a token at a time: layer norm, softmax, activations.
//!
//! Written so that the compiler vectorises them; `pulp` picks the widest instruction set at run time.

use pulp::{Arch, NullaryFnOnce};

use super::config::Activation;

/// Values summed side by side; a fixed number, so that a sum has the same bits on every machine.
const LANES: usize = 16;

/// Added to a number of magnitude below 2²², it rounds to an integer, which is left in the low bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// A layer norm: (x − mean) / √(variance + ε) · scale + shift.
pub(super) struct Norm {
    pub(super) scale: Vec<f32>,
    pub(super) shift: Vec<f32>,
    pub(super) epsilon: f32,
}

impl Norm {
    /// Normalises a state in place.
    pub(super) fn normalise(&self, state: &mut [f32]) {
        Arch::new().dispatch(Normalise { norm: self, state, made: &[] });
    }

    /// Adds to a state what a layer made of it, and normalises.
    pub(super) fn join(&self, state: &mut [f32], made: &[f32]) {
        Arch::new().dispatch(Normalise { norm: self, state, made });
    }
}

// Each loop is a type and not a closure: a closure's call is not sure to be inlined, and code that is not inlined is
// compiled without the instructions that `dispatch` found.

struct Normalise<'a> {
    norm: &'a Norm,
    state: &'a mut [f32],
    made: &'a [f32],
}

impl NullaryFnOnce for Normalise<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { norm, state, made } = self;
        state.iter_mut().zip(made).for_each(|(value, made)| *value += made);
        let count = state.len() as f32;
        let mean = sum(state, |value| value) / count;
        let variance = sum(state, |value| (value - mean) * (value - mean)) / count;
        let inverse = 1.0 / (variance + norm.epsilon).sqrt();
        for ((value, scale), shift) in state.iter_mut().zip(&norm.scale).zip(&norm.shift) {
            *value = (*value - mean) * inverse * scale + shift;
        }
    }
}

/// Rounds values to whole numbers of `steps` steps from zero to the largest magnitude, two by two; an odd one's
/// companion is zero. Returns the length of a step.
pub(super) fn round(values: &[f32], steps: f32, into: &mut [[i16; 2]]) -> f32 {
    Arch::new().dispatch(Round { values, steps, into })
}

struct Round<'a> {
    values: &'a [f32],
    steps: f32,
    into: &'a mut [[i16; 2]],
}

impl NullaryFnOnce for Round<'_> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        let largest = maximum(self.values, 0.0, |value| value.abs());
        let inverse = if largest > 0.0 { self.steps / largest } else { 0.0 };
        let round = |value: &f32| (*value * inverse + ROUND).to_bits() as i16;
        let into = self.into.as_flattened_mut();
        for (into, value) in into.iter_mut().zip(self.values) {
            *into = round(value);
        }
        into.iter_mut().skip(self.values.len()).for_each(|into| *into = 0);
        largest / self.steps
    }
}

/// Exponentials divided by their sum, in place.
pub(crate) fn softmax(scores: &mut [f32]) {
    Arch::new().dispatch(Softmax(scores));
}

struct Softmax<'a>(&'a mut [f32]);

impl NullaryFnOnce for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self(scores) = self;
        let largest = maximum(scores, f32::NEG_INFINITY, |score| score);
        for score in scores.iter_mut() {
            *score = exp(*score - largest);
        }
        let inverse = 1.0 / sum(scores, |value| value);
        for score in scores.iter_mut() {
            *score *= inverse;
        }
    }
}

/// Applies the activation, in place.
pub(super) fn activate(activation: Activation, states: &mut [f32]) {
    match activation {
        Activation::Gelu => Arch::new().dispatch(Gelu(states)),
        Activation::GeluTanh => Arch::new().dispatch(GeluTanh(states)),
        Activation::Relu => states.iter_mut().for_each(|value| *value = value.max(0.0)),
    }
}

struct Gelu<'a>(&'a mut [f32]);

impl NullaryFnOnce for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for value in self.0 {
            *value = gelu(*value);
        }
    }
}

struct GeluTanh<'a>(&'a mut [f32]);

impl NullaryFnOnce for GeluTanh<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for value in self.0 {
            *value = gelu_tanh(*value);
        }
    }
}

#[inline(always)]
pub(crate) fn sum(values: &[f32], function: impl Fn(f32) -> f32) -> f32 {
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

/// The largest of the values that `function` gives, or `floor`. What is not a number is passed over.
#[inline(always)]
fn maximum(values: &[f32], floor: f32, function: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [floor; LANES];
    let (chunks, rest) = values.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            let value = function(*value);
            *lane = if value > *lane { value } else { *lane };
        }
    }
    for (lane, value) in lanes.iter_mut().zip(rest) {
        let value = function(*value);
        *lane = if value > *lane { value } else { *lane };
    }
    lanes.iter().copied().fold(floor, f32::max)
}

/// eˣ to about two units in the last place: x = n ln 2 + r, |r| ≤ ½ ln 2, e^r by its Taylor series to r⁶.
/// Below −87 it stays at e⁻⁸⁷, above 88 at e⁸⁸.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
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
