//! The tensors of a `causal` router:
//!
//! | tensor                | type, shape   | holds                                                             |
//! |-----------------------|---------------|-------------------------------------------------------------------|
//! | `asked_levels`        | F32, asked    | the mean of z of each model asked about                           |
//! | `asked_models`        | U32, asked    | their rows                                                        |
//! | `asked_references`    | U32, some     | which of them stand for models placed by rating                   |
//! | `head_down`           | F32, rank × d | A of the adapter                                                  |
//! | `head_labels`         | F32, 5 × d    | the labels' rows                                                  |
//! | `head_up`             | F32, d × rank | B of the adapter                                                  |
//! | `question_tokens_max` | U32, 1        | most tokens of a question                                         |
//! | `slope`               | F64, 1        | how far z moves skills                                            |
//! | `template`            | U8, bytes × 1 | the version of the template                                       |
//!
//! d is the decoder's width, the manifest's `dim`. Without the three of the head, the labels are tokens of the decoder.

use super::{ArtifactProblem, OwnedTensor, Tensors};
use crate::artifact::check::refuse;
use crate::causal::{CausalWeights, Head, LABELS};

pub(super) fn tensors(weights: &CausalWeights) -> Vec<OwnedTensor> {
    let mut tensors = vec![
        OwnedTensor::f32("asked_levels", &weights.levels),
        OwnedTensor::u32("asked_models", &weights.asked),
        OwnedTensor::u32("asked_references", &weights.references),
        OwnedTensor::u32("question_tokens_max", &[weights.question_tokens_max]),
        OwnedTensor::f64("slope", &[weights.slope]),
        OwnedTensor::bytes("template", weights.template.clone().into_bytes()),
    ];
    if let Some(Head { labels, down, up }) = &weights.head {
        tensors.push(OwnedTensor::matrix("head_down", down));
        tensors.push(OwnedTensor::matrix("head_labels", labels));
        tensors.push(OwnedTensor::matrix("head_up", up));
    }
    tensors
}

pub(super) fn read(
    models: usize,
    width: usize,
    tensors: &Tensors<'_>,
) -> Result<CausalWeights, ArtifactProblem> {
    let (asked, references) = (tensors.rows("asked_models")?, tensors.rows("asked_references")?);
    let template = String::from_utf8(tensors.bytes("template")?.to_vec())
        .map_err(|_| refuse("template", "is no text".to_owned()))?;
    let one = |found: Vec<u32>| found.first().copied().unwrap_or_default();
    let weights = CausalWeights {
        template,
        width,
        question_tokens_max: one(tensors.u32("question_tokens_max", &[1])?),
        asked: tensors.u32("asked_models", &[asked])?,
        levels: tensors.f32("asked_levels", &[asked])?,
        references: tensors.u32("asked_references", &[references])?,
        slope: tensors.f64("slope", &[1])?.first().copied().unwrap_or_default(),
        head: tensors.has("head_labels").then(|| head(width, tensors)).transpose()?,
    };
    weights.check(models)?;
    Ok(weights)
}

fn head(width: usize, tensors: &Tensors<'_>) -> Result<Head, ArtifactProblem> {
    let rank = tensors.rows("head_down")?;
    Ok(Head {
        labels: tensors.matrix("head_labels", [LABELS.len(), width])?,
        down: tensors.matrix("head_down", [rank, width])?,
        up: tensors.matrix("head_up", [width, rank])?,
    })
}
