//! The arithmetic of the static embedder: add scaled rows of bytes, bring to unit length.
//!
//! Every sum has a fixed order and no product is fused into it, so the bits do not depend on the machine.

/// Values summed side by side.
const LANES: usize = 16;

/// A shorter vector, by its squared length, counts as zero: what is left of pieces that cancel out.
const SQUARED_LENGTH_MIN: f32 = 1e-24;

/// Adds `scale · row` of every token to `vector`. Tokens without a row are passed over.
pub(super) fn add_rows(tokens: &[u32], rows: &[u8], scales: &[f32], dim: usize, vector: &mut [f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for &token in tokens {
                let token = token as usize;
                let (Some(row), Some(&scale)) = (rows.get(token * dim..(token + 1) * dim), scales.get(token))
                else {
                    continue;
                };
                for (value, byte) in vector.iter_mut().zip(row) {
                    *value += scale * f32::from(byte.cast_signed());
                }
            }
        },
    );
}

/// Divides by the Euclidean length; a vector without one becomes zero.
pub(super) fn to_unit_length(vector: &mut [f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut lanes = [0.0f32; LANES];
            for chunk in vector.chunks(LANES) {
                for (lane, value) in lanes.iter_mut().zip(chunk) {
                    *lane += value * value;
                }
            }
            let squared = lanes.iter().sum::<f32>();
            let factor = if squared > SQUARED_LENGTH_MIN { 1.0 / squared.sqrt() } else { 0.0 };
            vector.iter_mut().for_each(|value| *value *= factor);
        },
    );
}
