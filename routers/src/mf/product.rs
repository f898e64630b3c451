//! The small products of a query: embedding and topics to hidden state, hidden state to skills.
//!
//! Every sum has a fixed order and no product is fused into it, so the bits depend neither on the batch nor on the
//! machine. Both loops run over independent lanes, which compilers turn into vector instructions.

use faer::Mat;

use super::MfWeights;
use crate::topics::Topics;

/// Values summed side by side.
const LANES: usize = 16;

/// The map W₁ᵀ e + W₂ᵀ softmax(Cᵀ e) + b.
#[derive(Debug)]
pub(super) struct Hidden {
    /// dim × rank, a row of the rank's length per dimension.
    projection: Vec<f32>,
    topics: Topics,
    /// topics × rank, likewise.
    topic_projection: Vec<f32>,
    bias: Vec<f32>,
}

impl Hidden {
    pub(super) fn new(weights: &MfWeights) -> Self {
        Self {
            projection: row_major(&weights.projection),
            topics: Topics::new(&weights.topics),
            topic_projection: row_major(&weights.topic_projection),
            bias: weights.bias.clone(),
        }
    }

    pub(super) fn rank(&self) -> usize {
        self.bias.len()
    }

    pub(super) fn dim(&self) -> usize {
        self.projection.len() / self.rank().max(1)
    }

    /// Sets `state`, which is of the rank's length, to the hidden state of an embedding.
    pub(super) fn set(&self, embedding: &[f32], state: &mut [f32]) {
        let mut memberships = vec![0.0; self.topics.count()];
        self.topics.memberships(embedding, &mut memberships);
        state.copy_from_slice(&self.bias);
        add_product(&self.projection, embedding, state);
        add_product(&self.topic_projection, &memberships, state);
    }
}

/// Adds Wᵀ x to `state`.
fn add_product(projection: &[f32], values: &[f32], state: &mut [f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for (value, weights) in values.iter().zip(projection.chunks_exact(state.len())) {
                for (sum, weight) in state.iter_mut().zip(weights) {
                    *sum += value * weight;
                }
            }
        },
    );
}

/// The values of a matrix, row by row.
pub(super) fn row_major(matrix: &Mat<f32>) -> Vec<f32> {
    matrix.row_iter().flat_map(|row| row.iter().copied()).collect()
}

/// Σ aᵢ bᵢ over vectors of one length. Inlined, so that it is compiled for the caller's vector instructions.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
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
