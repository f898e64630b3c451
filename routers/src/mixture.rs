//! Linear maps of a prompt's reading, one for each domain, mixed by how much the prompt belongs to each (Jacobs et al.
//! 1991, "Adaptive mixtures of local experts", with a gate fitted by itself).
//!
//! Must not know what the result stands for: skills, or hidden dimensions.

use faer::Mat;

use crate::learned::Query;
use crate::product::{add_product, row_major};
use crate::reading::{Read, Reading, ReadingWeights};

/// Σ_d p_d(x) W_dᵀ z(x), z with the constant 1 at its end.
#[derive(Debug)]
pub(crate) struct Mixture {
    reading: Reading,
    /// For each domain inputs × width, row-major.
    maps: Vec<Vec<f32>>,
    width: usize,
}

impl Mixture {
    /// `maps` holds a matrix of inputs × width for each domain.
    pub(crate) fn new(reading: &ReadingWeights, maps: &[Mat<f32>]) -> Self {
        Self {
            reading: Reading::new(reading),
            maps: maps.iter().map(row_major).collect(),
            width: maps.first().map_or(0, Mat::ncols),
        }
    }

    /// Dimensions of an embedding.
    pub(crate) fn dim(&self) -> usize {
        self.reading.dim()
    }

    /// Numbers in a result.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// Adds the result for a prompt to `into`, which is of the width's length.
    pub(crate) fn add(&self, query: Query<'_>, into: &mut [f32]) {
        let Read { inputs, places, memberships } = self.reading.read(query);
        for (map, &membership) in self.maps.iter().zip(&memberships) {
            // What is not a number must show, too.
            if membership > 0.0 || membership.is_nan() {
                add_product(map, &inputs, &places, membership, into);
            }
        }
    }
}
