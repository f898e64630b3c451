//! Principal components of a set of vectors, in double precision and on one thread: the same bits every time.

use faer::dyn_stack::{MemBuffer, MemStack};
use faer::linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch};
use faer::linalg::matmul::matmul;
use faer::{Accum, ColRef, Mat, MatMut, MatRef, Par};

use super::DistillError;

/// The mean of the rows, each counting by its weight.
pub(super) fn mean(rows: MatRef<'_, f64>, weights: &[f64]) -> Vec<f64> {
    let total: f64 = weights.iter().sum();
    let sum = |column: ColRef<'_, f64>| {
        column.iter().zip(weights).map(|(value, weight)| value * weight).sum::<f64>()
    };
    rows.col_iter().map(|column| sum(column) / total).collect()
}

/// Subtracts a vector from every row.
pub(super) fn subtract(mut rows: MatMut<'_, f64>, mean: &[f64]) {
    for (column, mean) in rows.as_mut().col_iter_mut().zip(mean) {
        column.iter_mut().for_each(|value| *value -= mean);
    }
}

/// Coordinates of the rows along the first `dim` principal axes of the weighted rows, largest variance first.
/// An axis points to where its largest entry is positive.
pub(super) fn project(rows: MatRef<'_, f64>, weights: &[f64], dim: usize) -> Result<Mat<f64>, DistillError> {
    let width = rows.ncols();
    let mut weighted = rows.to_owned();
    for column in weighted.col_iter_mut() {
        column.iter_mut().zip(weights).for_each(|(value, weight)| *value *= weight);
    }
    let mut covariance = Mat::zeros(width, width);
    let scale = 1.0 / weights.iter().sum::<f64>();
    matmul(covariance.as_mut(), Accum::Replace, rows.transpose(), weighted.as_ref(), scale, Par::Seq);
    let ascending = axes(covariance.as_ref())?;
    let chosen = Mat::from_fn(width, dim, |row, column| {
        let axis = ascending.col(width - 1 - column);
        let largest = axis
            .iter()
            .copied()
            .fold(0.0, |largest: f64, value| if value.abs() > largest.abs() { value } else { largest });
        if largest < 0.0 { -axis[row] } else { axis[row] }
    });
    let mut projected = Mat::zeros(rows.nrows(), dim);
    matmul(projected.as_mut(), Accum::Replace, rows, chosen.as_ref(), 1.0, Par::Seq);
    Ok(projected)
}

/// Eigenvectors of a symmetric matrix, a column each, smallest eigenvalue first.
fn axes(matrix: MatRef<'_, f64>) -> Result<Mat<f64>, DistillError> {
    let width = matrix.nrows();
    let mut values = faer::Col::<f64>::zeros(width);
    let mut vectors = Mat::zeros(width, width);
    let scratch =
        self_adjoint_evd_scratch::<f64>(width, ComputeEigenvectors::Yes, Par::Seq, Default::default());
    let mut memory = MemBuffer::try_new(scratch).map_err(|_| DistillError::Components)?;
    self_adjoint_evd(
        matrix,
        values.as_mut().as_diagonal_mut(),
        Some(vectors.as_mut()),
        Par::Seq,
        MemStack::new(&mut memory),
        Default::default(),
    )
    .map_err(|_| DistillError::Components)?;
    Ok(vectors)
}

#[cfg(test)]
mod tests {
    use faer::mat;

    use super::*;

    #[test]
    fn the_first_axis_is_the_longest() {
        // Points on a long line along (3, 4) and a short one across it.
        let mut rows = Mat::zeros(40, 2);
        for place in 0..20 {
            let along = f64::from(place) - 9.5;
            (rows[(place as usize, 0)], rows[(place as usize, 1)]) = (0.6 * along, 0.8 * along);
            (rows[(20 + place as usize, 0)], rows[(20 + place as usize, 1)]) = (-0.08 * along, 0.06 * along);
        }
        let projected = project(rows.as_ref(), &[1.0; 40], 2).unwrap();
        for place in 0..20 {
            let along = f64::from(place) - 9.5;
            assert!((projected[(place as usize, 0)] - along).abs() < 1e-9);
            assert!((projected[(20 + place as usize, 1)].abs() - 0.1 * along.abs()).abs() < 1e-9);
        }
    }

    #[test]
    fn rows_count_by_their_weight() {
        let mut rows = Mat::from_fn(7, 3, |row, column| (row * row + column) as f64);
        let weights = [0.0, 1.0, 2.0, 0.5, 0.0, 1.0, 3.0];
        let centre = mean(rows.as_ref(), &weights);
        subtract(rows.as_mut(), &centre);
        assert!(mean(rows.as_ref(), &weights).iter().all(|value| value.abs() < 1e-12));
        // The heavy rows lie along one axis, the weightless one does not: it has no say in the axis.
        let rows = mat![[2.0, 0.0], [-2.0, 0.0], [0.0, 100.0]];
        let projected = project(rows.as_ref(), &[1.0, 1.0, 0.0], 1).unwrap();
        assert!((projected[(0, 0)].abs() - 2.0).abs() < 1e-9 && projected[(2, 0)].abs() < 1e-9);
    }
}
