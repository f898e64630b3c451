//! The tensors of a `kmeans` router:
//!
//! | tensor           | type, shape            | holds                               |
//! |------------------|------------------------|-------------------------------------|
//! | `region_centres` | F32, dim × clusters    | the clusters' centres               |
//! | `region_shifts`  | F32, clusters × models | θ − θ⁰ of each model in each cluster |

use faer::Mat;

use super::{ArtifactProblem, OwnedTensor, RegionWeights, Tensors};

pub(super) fn tensors(weights: &RegionWeights) -> Vec<OwnedTensor> {
    vec![
        OwnedTensor::matrix("region_centres", &weights.centres),
        OwnedTensor::matrix("region_shifts", &weights.shifts.transpose().to_owned()),
    ]
}

pub(super) fn read(
    models: usize,
    dim: usize,
    tensors: &Tensors<'_>,
) -> Result<RegionWeights, ArtifactProblem> {
    let clusters = tensors.rows("region_shifts")?;
    let shifts: Mat<f32> = tensors.matrix("region_shifts", [clusters, models])?;
    Ok(RegionWeights {
        centres: tensors.matrix("region_centres", [dim, clusters])?,
        shifts: shifts.transpose().to_owned(),
    })
}
