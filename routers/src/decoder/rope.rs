//! Rotary position embeddings: the two halves of a head turn against each other, the further the later the token
//! stands.
//!
//! Su et al., "RoFormer" (2021), with a head's halves as the pairs. Scalings by what they are named in `config.json`.

use pulp::{Arch, NullaryFnOnce};

/// How the rotation was stretched for sequences longer than in the first training.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scaling {
    None,
    /// All positions are `factor` times closer.
    Linear {
        factor: f64,
    },
    /// What turns less than `low` times over the first training's `positions` is `factor` times slower, what turns
    /// more than `high` times is as it was, and between them it goes from one to the other.
    Llama3 {
        factor: f64,
        low: f64,
        high: f64,
        positions: f64,
    },
    /// Each pair slower by its own factor, half a head of them.
    Factors(Vec<f32>),
}

/// How far each pair of a head turns from a token to the next, in radians.
pub(super) struct Rope {
    steps: Vec<f64>,
}

/// Cosines and sines of positions, half a head's after the other's.
pub(super) struct Turns {
    cosines: Vec<f32>,
    sines: Vec<f32>,
}

impl Rope {
    pub(super) fn new(theta: f64, scaling: &Scaling, head_size: usize) -> Self {
        let step = |pair: usize| {
            let step = theta.powf(-2.0 * pair as f64 / head_size as f64);
            match scaling {
                Scaling::None => step,
                Scaling::Linear { factor } => step / factor,
                Scaling::Llama3 { factor, low, high, positions } => {
                    let turns = step * positions / std::f64::consts::TAU;
                    let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                    step * (kept + (1.0 - kept) / factor)
                }
                Scaling::Factors(factors) => step / factors.get(pair).copied().map_or(1.0, f64::from),
            }
        };
        Self { steps: (0..head_size / 2).map(step).collect() }
    }

    /// The turns of these positions.
    pub(super) fn turns(&self, positions: impl Iterator<Item = usize>) -> Turns {
        let (mut cosines, mut sines) = (Vec::new(), Vec::new());
        for position in positions {
            for step in &self.steps {
                let (sine, cosine) = (position as f64 * step).sin_cos();
                cosines.push(cosine as f32);
                sines.push(sine as f32);
            }
        }
        Turns { cosines, sines }
    }
}

impl Turns {
    /// Writes a token's heads, turned to its place in the pass, one after the other into `into`.
    pub(super) fn turn(&self, place: usize, head_size: usize, heads: &[f32], into: &mut [f32]) {
        let half = head_size / 2;
        let cosines = &self.cosines[place * half..][..half];
        let sines = &self.sines[place * half..][..half];
        Arch::new().dispatch(Turn { cosines, sines, heads, into });
    }
}

struct Turn<'a> {
    cosines: &'a [f32],
    sines: &'a [f32],
    heads: &'a [f32],
    into: &'a mut [f32],
}

impl NullaryFnOnce for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let half = self.cosines.len();
        let heads = self.heads.chunks_exact(2 * half).zip(self.into.chunks_exact_mut(2 * half));
        for (from, into) in heads {
            let ((low, high), (into_low, into_high)) = (from.split_at(half), into.split_at_mut(half));
            let turns = self.cosines.iter().zip(self.sines);
            let pairs = low.iter().zip(high).zip(into_low.iter_mut().zip(into_high));
            for (((low, high), (into_low, into_high)), (cosine, sine)) in pairs.zip(turns) {
                *into_low = low * cosine - high * sine;
                *into_high = high * cosine + low * sine;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_tell_only_how_far_apart_tokens_stand() {
        let rope = Rope::new(10_000.0, &Scaling::None, 8);
        let turns = rope.turns([3, 10, 103, 110].into_iter());
        let (query, key) =
            ([1.0, 2.0, -3.0, 0.5, 0.2, 1.0, 2.0, -1.0], [0.3, -2.0, 1.0, 1.5, 0.1, 4.0, -2.0, 1.0]);
        let turned = |place: usize, head: &[f32; 8]| {
            let mut into = [0.0; 8];
            turns.turn(place, 8, head, &mut into);
            into
        };
        let product = |a: [f32; 8], b: [f32; 8]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let (near, far) =
            (product(turned(1, &query), turned(0, &key)), product(turned(3, &query), turned(2, &key)));
        assert!((near - far).abs() < 1e-4, "{near} {far}");
        assert!((near - product(query, key)).abs() > 0.1);
    }

    #[test]
    fn scalings_slow_the_rotation() {
        let steps = |scaling| Rope::new(10_000.0, &scaling, 64).steps;
        let plain = steps(Scaling::None);
        assert!((plain[0] - 1.0).abs() < 1e-12 && (plain[16] - 0.01).abs() < 1e-12);
        assert!((steps(Scaling::Linear { factor: 4.0 })[16] - 0.0025).abs() < 1e-12);
        assert!((steps(Scaling::Factors(vec![2.0; 32]))[16] - 0.005).abs() < 1e-12);
        let llama = steps(Scaling::Llama3 { factor: 8.0, low: 1.0, high: 4.0, positions: 8192.0 });
        assert!((llama[0] - 1.0).abs() < 1e-12 && (llama[31] - plain[31] / 8.0).abs() < 1e-12);
        // 2 of the 3 turns between low and high are missing.
        let turns = plain[23] * 8192.0 / std::f64::consts::TAU;
        assert!((1.0..4.0).contains(&turns), "{turns}");
        let kept = (turns - 1.0) / 3.0;
        assert!((llama[23] - ((1.0 - kept) * plain[23] / 8.0 + kept * plain[23])).abs() < 1e-12);
    }
}
