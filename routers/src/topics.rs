//! Topics: k-means centres of prompt embeddings, on the sphere (Dhillon and Modha 2001).
//!
//! Must not know what the topics are used for.

use faer::{ColRef, Mat};

/// Rounds of moving the centres.
const ROUNDS: usize = 20;

/// Clusters the columns of `vectors` that `chosen` names; all are of unit length, or zero. Returns the centres, a column
/// of unit length each: `count` of them, or as many as there are vectors.
///
/// Starts from vectors at even distances in the order of `chosen`, so the same vectors give the same centres.
pub(crate) fn centres(vectors: &Mat<f32>, chosen: &[usize], count: usize) -> Mat<f32> {
    let (count, dimensions) = (count.min(chosen.len()), vectors.nrows());
    let start = |row: usize, cluster: usize| vectors[(row, chosen[cluster * chosen.len() / count])];
    let mut centres = Mat::from_fn(dimensions, count, start);
    for _ in 0..ROUNDS {
        let mut sums = Mat::<f32>::zeros(dimensions, count);
        for &vector in chosen {
            let mut sum = sums.col_mut(nearest(&centres, vectors.col(vector)));
            sum += vectors.col(vector);
        }
        for cluster in 0..count {
            let norm = sums.col(cluster).norm_l2();
            // A centre that no vector is nearest to stays where it is.
            if norm > 0.0 {
                (0..dimensions).for_each(|row| centres[(row, cluster)] = sums[(row, cluster)] / norm);
            }
        }
    }
    centres
}

/// The centre nearest to a vector; the last of equally near ones.
pub(crate) fn nearest(centres: &Mat<f32>, vector: ColRef<'_, f32>) -> usize {
    let similarity = |cluster: usize| dot(centres.col(cluster), vector);
    (0..centres.ncols()).max_by(|a, b| similarity(*a).total_cmp(&similarity(*b))).unwrap_or_default()
}

/// Σ a·b, eight sums at a time so that the compiler can use vector instructions.
pub(crate) fn dot(one: ColRef<'_, f32>, other: ColRef<'_, f32>) -> f32 {
    let (Some(one), Some(other)) = (one.try_as_col_major(), other.try_as_col_major()) else { return 0.0 };
    let (one, other) = (one.as_slice().chunks_exact(8), other.as_slice().chunks_exact(8));
    let rest: f32 = one.remainder().iter().zip(other.remainder()).map(|(a, b)| a * b).sum();
    let mut sums = [0.0f32; 8];
    for (one, other) in one.zip(other) {
        for ((sum, a), b) in sums.iter_mut().zip(one).zip(other) {
            *sum += a * b;
        }
    }
    rest + sums.iter().sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three bundles of directions, a few degrees wide.
    fn bundles() -> Mat<f32> {
        let axes = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.6, 0.8f32]];
        let mut vectors = Mat::from_fn(3, 60, |row, column| {
            axes[column % 3][row] + 0.01 * ((column * 7 + row * 5) % 11) as f32
        });
        for mut vector in vectors.col_iter_mut() {
            let norm = vector.norm_l2();
            vector /= faer::Scale(norm);
        }
        vectors
    }

    #[test]
    fn each_bundle_gets_a_centre_of_unit_length() {
        let vectors = bundles();
        // Even distances in this order start one centre in each bundle.
        let order: Vec<usize> = (0..3).flat_map(|bundle| (bundle..60).step_by(3)).collect();
        let centres = centres(&vectors, &order, 3);
        let homes: Vec<usize> = (0..60).map(|column| nearest(&centres, vectors.col(column))).collect();
        assert!((0..60).all(|column| homes[column] == homes[column % 3]), "{homes:?}");
        assert!((0..3).all(|bundle| homes[bundle] != homes[(bundle + 1) % 3]), "{homes:?}");
        assert!(centres.col_iter().all(|centre| (centre.norm_l2() - 1.0).abs() < 1e-6));
    }

    #[test]
    fn no_more_centres_than_vectors() {
        let vectors = bundles();
        assert_eq!(centres(&vectors, &[4, 9], 3).ncols(), 2);
        assert_eq!(centres(&vectors, &[], 3).ncols(), 0);
        assert_eq!(
            centres(&Mat::zeros(3, 5), &[0, 1, 2], 2),
            Mat::<f32>::zeros(3, 2),
            "nothing to divide by"
        );
    }

    #[test]
    fn products_of_any_length() {
        let one = Mat::from_fn(19, 1, |row, _| row as f32);
        let squares: f32 = (0..19).map(|row| (row * row) as f32).sum();
        assert!((dot(one.col(0), one.col(0)) - squares).abs() < 1e-3);
    }
}
