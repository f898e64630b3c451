//! The tensors of an `mf` router, beside those of how prompts are read:
//!
//! | tensor        | type, shape                | holds                                              |
//! |---------------|----------------------------|----------------------------------------------------|
//! | `factors`     | F32, models × rank         | w₂ ∘ v of each model                               |
//! | `projections` | F32, domains·inputs × rank | W₁ of each domain, the bias b in its last row      |

use faer::Mat;

use super::{ArtifactProblem, MfWeights, OwnedTensor, Tensors, reading};

pub(super) fn tensors(weights: &MfWeights) -> Vec<OwnedTensor> {
    let (inputs, rank) = (weights.reading.inputs(), weights.factors.ncols());
    let stacked = Mat::from_fn(inputs * weights.projections.len(), rank, |row, column| {
        weights.projections[row / inputs][(row % inputs, column)]
    });
    let mut tensors = reading::tensors(&weights.reading);
    tensors.push(OwnedTensor::matrix("factors", &weights.factors));
    tensors.push(OwnedTensor::matrix("projections", &stacked));
    tensors
}

pub(super) fn read(models: usize, dim: usize, tensors: &Tensors<'_>) -> Result<MfWeights, ArtifactProblem> {
    let reading = reading::read(dim, tensors)?;
    let factors: Mat<f32> = tensors.any_matrix("factors")?;
    let (inputs, rank) = (reading.inputs(), factors.ncols());
    let stacked = tensors.matrix("projections", [inputs * reading.domains(), rank])?;
    let of_domain = |domain: usize| stacked.subrows(domain * inputs, inputs).to_owned();
    let projections = (0..reading.domains()).map(of_domain).collect();
    let weights = MfWeights { reading, projections, factors };
    weights.check(models)?;
    Ok(weights)
}
