//! The two small products of a query: embedding to hidden state, hidden state to skills.
//!
//! Every sum has a fixed order and no product is fused into it, so the bits depend neither on the batch nor on the
//! machine. Both loops run over independent lanes, which compilers turn into vector instructions.

/// Values summed side by side.
const LANES: usize = 16;

/// The affine map W₁ᵀ e + b.
#[derive(Debug)]
pub(super) struct Hidden {
    /// dim × rank, a row of the rank's length per dimension.
    projection: Vec<f32>,
    bias: Vec<f32>,
}

impl Hidden {
    /// `projection` holds a multiple of the bias's length, which is not 0.
    pub(super) fn new(projection: Vec<f32>, bias: Vec<f32>) -> Self {
        Self { projection, bias }
    }

    pub(super) fn rank(&self) -> usize {
        self.bias.len()
    }

    pub(super) fn dim(&self) -> usize {
        self.projection.len() / self.rank().max(1)
    }

    /// The hidden states of embeddings, one after the other. A zero embedding's is zero.
    pub(super) fn of_rows<Row: Iterator<Item = f32>>(&self, rows: impl Iterator<Item = Row>) -> Vec<f32> {
        let mut states = Vec::with_capacity(rows.size_hint().0 * self.rank());
        for row in rows {
            let start = states.len();
            states.extend_from_slice(&self.bias);
            if let Some(state) = states.get_mut(start..) {
                add_projection(&self.projection, row, state);
            }
        }
        states
    }
}

/// Adds Wᵀ e to `state`, or makes `state` zero if e is.
fn add_projection(projection: &[f32], embedding: impl Iterator<Item = f32>, state: &mut [f32]) {
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            let mut is_zero = true;
            for (value, weights) in embedding.zip(projection.chunks_exact(state.len())) {
                is_zero &= value == 0.0;
                for (sum, weight) in state.iter_mut().zip(weights) {
                    *sum += value * weight;
                }
            }
            if is_zero {
                state.fill(0.0);
            }
        },
    );
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
