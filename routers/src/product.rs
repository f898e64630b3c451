//! The small products of a query: vectors times matrices of some hundred rows.
//!
//! Every sum has a fixed order and no product is fused into it, so the bits depend neither on the batch nor on the
//! machine. All loops run over independent lanes, which compilers turn into vector instructions.

use faer::Mat;

/// Values summed side by side.
const LANES: usize = 16;

/// Adds `share` · Wᵀx to `sums`; `weights` holds a row of `sums`' length for each value of x, and `places` says which values
/// are not zero.
pub(crate) fn add_product(weights: &[f32], values: &[f32], places: &[u32], share: f32, sums: &mut [f32]) {
    let width = sums.len();
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for &place in places {
                let place = place as usize;
                let (Some(value), Some(weights)) =
                    (values.get(place), weights.get(place * width..(place + 1) * width))
                else {
                    return;
                };
                let value = share * value;
                for (sum, weight) in sums.iter_mut().zip(weights) {
                    *sum += value * weight;
                }
            }
        },
    );
}

/// The values of a matrix, row by row.
pub(crate) fn row_major(matrix: &Mat<f32>) -> Vec<f32> {
    matrix.row_iter().flat_map(|row| row.iter().copied()).collect()
}

/// Σ aᵢ bᵢ over vectors of one length. Inlined, so that it is compiled for the caller's vector instructions.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let (chunks_a, rest_a) = a.as_chunks::<LANES>();
    let (chunks_b, rest_b) = b.as_chunks::<LANES>();
    let mut lanes = [0.0f32; LANES];
    for (a, b) in chunks_a.iter().zip(chunks_b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f32 = rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum();
    sum_by_halves(lanes) + rest
}

/// The upper half is added to the lower, down to one: four steps that depend on each other, not sixteen.
#[inline(always)]
fn sum_by_halves(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}
