//! The tensors of an `mf` router:
//!
//! | tensor             | type, shape         | holds                       |
//! |--------------------|---------------------|-----------------------------|
//! | `bias`             | F32, rank           | b                           |
//! | `factors`          | F32, models × rank  | w ∘ v of each model         |
//! | `projection`       | F32, dim × rank     | W₁                          |
//! | `topic_projection` | F32, topics × rank  | W₂                          |
//! | `topics`           | F32, dim × topics   | C, the centres of the topics |

use super::{ArtifactProblem, MfWeights, OwnedTensor, Tensors};

pub(super) fn tensors(weights: &MfWeights) -> Vec<OwnedTensor> {
    vec![
        OwnedTensor::f32("bias", &weights.bias),
        OwnedTensor::matrix("factors", &weights.factors),
        OwnedTensor::matrix("projection", &weights.projection),
        OwnedTensor::matrix("topic_projection", &weights.topic_projection),
        OwnedTensor::matrix("topics", &weights.topics),
    ]
}

pub(super) fn read(models: usize, dim: usize, tensors: &Tensors<'_>) -> Result<MfWeights, ArtifactProblem> {
    let rank = tensors.rows("bias")?;
    let topics = tensors.rows("topic_projection")?;
    Ok(MfWeights {
        projection: tensors.matrix("projection", [dim, rank])?,
        topics: tensors.matrix("topics", [dim, topics])?,
        topic_projection: tensors.matrix("topic_projection", [topics, rank])?,
        bias: tensors.f32("bias", &[rank])?,
        factors: tensors.matrix("factors", [models, rank])?,
    })
}
