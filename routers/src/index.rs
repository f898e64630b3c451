//! The embeddings of known prompts, a byte per value, and their cosines with a query's.
//!
//! Products are sums of integers, so the bits depend neither on the batch nor on the machine. Must not know what the
//! cosines are used for.

use std::ops::Range;

/// Unit vectors, rounded to bytes: each row is the direction of its values.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Index {
    dim: usize,
    /// A row of `dim` values per vector.
    values: Vec<i8>,
    /// One over the length of each row.
    scales: Vec<f32>,
}

/// A query's embedding, two bytes per value.
#[derive(Debug)]
pub(crate) struct Probe {
    values: Vec<i16>,
    scale: f32,
}

impl Index {
    /// Of `values`, a row of `dim` values per vector; what is left over is dropped.
    #[must_use]
    pub fn new(dim: usize, mut values: Vec<i8>) -> Self {
        let rows = values.len().checked_div(dim).unwrap_or_default();
        values.truncate(rows * dim);
        let scales =
            values.chunks_exact(dim.max(1)).map(|row| inverse_length(row.iter().map(|&v| f64::from(v))));
        Self { dim, scales: scales.collect(), values }
    }

    /// Of no vectors yet.
    #[must_use]
    pub fn empty(dim: usize) -> Self {
        Self::new(dim, Vec::new())
    }

    /// Adds the direction of a vector of `dim` values.
    pub fn push(&mut self, vector: &[f32]) {
        let largest = vector.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let steps = if largest > 0.0 { f32::from(i8::MAX) / largest } else { 0.0 };
        let start = self.values.len();
        // The largest value is ±127 by the choice of the steps, and the conversion saturates.
        self.values.extend(vector.iter().take(self.dim).map(|value| (value * steps).round() as i8));
        self.values.resize(start + self.dim, 0);
        let row = self.values.iter().skip(start);
        self.scales.push(inverse_length(row.map(|&value| f64::from(value))));
    }

    /// Vectors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }

    /// Dimensions.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values, row by row.
    pub(crate) fn values(&self) -> &[i8] {
        &self.values
    }

    /// The vectors at `places`, in that order; all must be there.
    pub(crate) fn reordered(&self, places: &[usize]) -> Self {
        let rows = places.iter().flat_map(|&place| &self.values[place * self.dim..(place + 1) * self.dim]);
        Self {
            dim: self.dim,
            values: rows.copied().collect(),
            scales: places.iter().map(|&place| self.scales[place]).collect(),
        }
    }

    /// The unit vector at `place`, or zero.
    pub(crate) fn vector(&self, place: usize) -> impl Iterator<Item = f32> {
        let scale = self.scales[place];
        self.values[place * self.dim..(place + 1) * self.dim]
            .iter()
            .map(move |&value| scale * f32::from(value))
    }

    /// Sets `into` to the cosines of the rows with the query, 0 for a row of zeros.
    pub(crate) fn cosines(&self, rows: Range<usize>, probe: &Probe, into: &mut [f32]) {
        let values = self.values.get(rows.start * self.dim..rows.end * self.dim).unwrap_or_default();
        let scales = self.scales.get(rows).unwrap_or_default();
        pulp::Arch::new().dispatch(
            #[inline(always)]
            || {
                let rows = values.chunks_exact(self.dim.max(1)).zip(scales);
                for (cosine, (row, scale)) in into.iter_mut().zip(rows) {
                    *cosine = product(row, &probe.values) as f32 * (scale * probe.scale);
                }
            },
        );
    }
}

impl Probe {
    pub(crate) fn new(embedding: &[f32]) -> Self {
        // No sum of as many products with bytes exceeds 32 bits.
        let most = (i32::MAX / 128) as f32 / embedding.len().max(1) as f32;
        let largest = embedding.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let steps = if largest > 0.0 { most.min(f32::from(i16::MAX)) / largest } else { 0.0 };
        let values: Vec<i16> = embedding.iter().map(|value| (value * steps).round() as i16).collect();
        let scale = inverse_length(values.iter().map(|&value| f64::from(value)));
        Self { values, scale }
    }
}

/// One over the length of a vector, 0 for zero.
fn inverse_length(values: impl Iterator<Item = f64>) -> f32 {
    let length = values.map(|value| value * value).sum::<f64>().sqrt();
    if length > 0.0 { (1.0 / length) as f32 } else { 0.0 }
}

/// Inlined, so that it is compiled for the caller's vector instructions. Cannot overflow, by the choice of a probe's
/// steps; wraps, so that no check for it stands between the products and those instructions.
#[inline(always)]
fn product(row: &[i8], probe: &[i16]) -> i32 {
    let products = row.iter().zip(probe).map(|(&a, &b)| i32::from(a).wrapping_mul(i32::from(b)));
    products.fold(0, i32::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_are_those_of_the_vectors_but_for_rounding() {
        let vector = |seed: u32| -> Vec<f32> {
            (0..37).map(|place| ((seed * 31 + place * 17) % 23) as f32 - 11.0).collect()
        };
        let mut index = Index::empty(37);
        (0..9).for_each(|seed| index.push(&vector(seed)));
        assert_eq!(Index::new(37, index.values().to_vec()), index, "scales follow from values");
        let mut cosines = vec![0.0; 9];
        index.cosines(0..9, &Probe::new(&vector(4)), &mut cosines);
        for (seed, cosine) in (0..9).zip(cosines) {
            let dot = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
            let (one, other) = (vector(seed), vector(4));
            let expected = dot(&one, &other) / (dot(&one, &one) * dot(&other, &other)).sqrt();
            assert!((cosine - expected).abs() < 5e-3, "{seed}: {cosine} {expected}");
        }
    }

    #[test]
    fn zeros_and_the_largest_values_are_no_exception() {
        let mut index = Index::empty(4096);
        index.push(&[0.0; 4096]);
        index.push(&[1e30; 4096]);
        let mut cosines = [9.0; 2];
        index.cosines(0..2, &Probe::new(&[1e30; 4096]), &mut cosines);
        assert!(cosines[0].to_bits() == 0 && (cosines[1] - 1.0).abs() < 1e-5, "{cosines:?}");
        index.cosines(0..2, &Probe::new(&[0.0; 4096]), &mut cosines);
        assert_eq!(cosines.map(f32::to_bits), [0; 2]);
    }
}
