//! The innermost loop of a dense layer: the sums of a tile of outputs and tokens, by the widest multiplier at hand.
//!
//! Whole numbers: whichever way they are added, the sums are the same.

/// Outputs of a tile: two registers of eight sums.
pub(super) const OUTPUTS: usize = 16;
/// Tokens of a tile. With the outputs, eight registers of sums: more gained nothing.
pub(super) const TOKENS: usize = 4;

/// The weights of a tile's outputs for a pair of inputs: output after output, both inputs side by side.
pub(super) type Weights = [[i16; OUTPUTS]; 2];
/// The states of a group's tokens for a pair of inputs.
pub(super) type States = [[i16; 2]; TOKENS];
/// Sums for each token, a sum per output.
pub(super) type Sums = [[i32; OUTPUTS]; TOKENS];

/// A way to multiply and add.
pub(super) trait Tile: Copy {
    /// Σ over pairs of inputs and over both inputs of a pair of weight × state, for the first `N` tokens of a group;
    /// zero for the others.
    fn sums<const N: usize>(self, weights: &[Weights], states: &[States]) -> Sums;
}

/// By whatever the compiler makes of it.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Tile for Portable {
    #[inline(always)]
    fn sums<const N: usize>(self, weights: &[Weights], states: &[States]) -> Sums {
        let mut sums = [[0i32; OUTPUTS]; TOKENS];
        for (weights, states) in weights.iter().zip(states) {
            let (weights, _) = weights.as_flattened().as_chunks::<2>();
            for (sums, state) in sums.iter_mut().zip(states).take(N) {
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    // Cannot overflow: the steps of weights and states are chosen so.
                    *sum += i32::from(weight[0]) * i32::from(state[0]);
                    *sum += i32::from(weight[1]) * i32::from(state[1]);
                }
            }
        }
        sums
    }
}

/// By `vpmaddwd`, which multiplies sixteen pairs of numbers and adds them two by two.
#[cfg(target_arch = "x86_64")]
impl Tile for pulp::x86::V3 {
    #[inline(always)]
    fn sums<const N: usize>(self, weights: &[Weights], states: &[States]) -> Sums {
        let mut sums = [[self.avx._mm256_setzero_si256(); 2]; N];
        // Two pairs of inputs at a time: half the loop's own work.
        let (weights_by_two, weights_rest) = weights.as_chunks::<2>();
        let (states_by_two, states_rest) = states.as_chunks::<2>();
        for ([first, second], [first_states, second_states]) in weights_by_two.iter().zip(states_by_two) {
            add(self, &mut sums, first, first_states);
            add(self, &mut sums, second, second_states);
        }
        for (weights, states) in weights_rest.iter().zip(states_rest) {
            add(self, &mut sums, weights, states);
        }
        let mut numbers = [[0; OUTPUTS]; TOKENS];
        for (numbers, [low, high]) in numbers.iter_mut().zip(sums) {
            numbers[..8].copy_from_slice(&pulp::cast::<_, [i32; 8]>(low));
            numbers[8..].copy_from_slice(&pulp::cast::<_, [i32; 8]>(high));
        }
        numbers
    }
}

/// Adds a pair of inputs to the sums. A function and not a closure: only what is inlined for certain is compiled for
/// the instructions at hand.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn add<const N: usize>(
    simd: pulp::x86::V3,
    sums: &mut [[std::arch::x86_64::__m256i; 2]; N],
    [low, high]: &Weights,
    states: &States,
) {
    let (low, high) = (pulp::cast(*low), pulp::cast(*high));
    for (sums, state) in sums.iter_mut().zip(states) {
        let state = simd.avx._mm256_set1_epi32(pulp::cast(*state));
        sums[0] = simd.avx2._mm256_add_epi32(sums[0], simd.avx2._mm256_madd_epi16(low, state));
        sums[1] = simd.avx2._mm256_add_epi32(sums[1], simd.avx2._mm256_madd_epi16(high, state));
    }
}
