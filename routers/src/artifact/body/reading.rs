//! The tensors of how prompts are read, shared by the routers with linear heads:
//!
//! | tensor           | type, shape           | holds                                                   |
//! |------------------|-----------------------|---------------------------------------------------------|
//! | `feature_centre` | F32, features         | what is subtracted from each text feature               |
//! | `feature_scale`  | F32, features         | what each is multiplied by then                         |
//! | `gate`           | F32, inputs × domains | G, by which a prompt's memberships are softmax(Gᵀz)     |
//!
//! Inputs are the embedding's dimensions, the features, and the constant 1.

use super::{ArtifactProblem, OwnedTensor, Tensors};
use crate::reading::ReadingWeights;

pub(super) fn tensors(reading: &ReadingWeights) -> Vec<OwnedTensor> {
    vec![
        OwnedTensor::f32("feature_centre", &reading.feature_centre),
        OwnedTensor::f32("feature_scale", &reading.feature_scale),
        OwnedTensor::matrix("gate", &reading.gate),
    ]
}

pub(super) fn read(dim: usize, tensors: &Tensors<'_>) -> Result<ReadingWeights, ArtifactProblem> {
    let features = tensors.rows("feature_scale")?;
    Ok(ReadingWeights {
        dim,
        feature_centre: tensors.f32("feature_centre", &[features])?,
        feature_scale: tensors.f32("feature_scale", &[features])?,
        gate: tensors.any_matrix("gate")?,
    })
}
