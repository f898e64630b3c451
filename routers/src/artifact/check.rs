//! What must hold of the numbers in any artefact.

use super::error::ArtifactProblem;

/// Values beyond this are no result of a training; within it no product of them overflows.
const MAGNITUDE_MAX: f64 = 1e6;

/// A mean that should be zero may be off by rounding: by this share of the largest value.
const GAUGE_TOLERANCE: f64 = 1e-4;

/// The problem of a tensor.
pub(crate) fn refuse(name: &'static str, reason: String) -> ArtifactProblem {
    ArtifactProblem::Tensor { name, reason }
}

/// Refuses what is not finite, or too large to be learned.
pub(crate) fn magnitudes(
    name: &'static str,
    mut values: impl Iterator<Item = f64>,
) -> Result<(), ArtifactProblem> {
    match values.find(|value| value.is_nan() || value.abs() > MAGNITUDE_MAX) {
        None => Ok(()),
        Some(value) => Err(refuse(name, format!("holds {value}, expected values within ±{MAGNITUDE_MAX}"))),
    }
}

/// Refuses a column that is out of gauge: its mean must be zero.
pub(crate) fn centred(name: &'static str, column: &[f64]) -> Result<(), ArtifactProblem> {
    magnitudes(name, column.iter().copied())?;
    let largest = column.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let mean = column.iter().sum::<f64>() / column.len().max(1) as f64;
    if mean.abs() > GAUGE_TOLERANCE * largest {
        return Err(refuse(name, format!("has a column of mean {mean}, expected 0")));
    }
    Ok(())
}
