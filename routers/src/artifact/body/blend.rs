//! The tensors of a `blend`: each part is a whole artefact file.
//!
//! | tensor                                                     | type, shape   | holds                              |
//! |------------------------------------------------------------|---------------|------------------------------------|
//! | `blend_weights`                                            | F64, parts    | w of each part, ascending by kind  |
//! | `part_bert`, `part_kmeans`, `part_knn`, `part_mf`, `part_sw` | U8, bytes × 1 | the parts' files, those there are |

use super::{ArtifactProblem, OwnedTensor, Tensors};
use crate::artifact::{Artifact, container};
use crate::blend::{BlendPart, BlendWeights};

/// The kinds that can be parts, ascending, and their tensors.
const PARTS: [(&str, &str); 5] = [
    ("bert", "part_bert"),
    ("kmeans", "part_kmeans"),
    ("knn", "part_knn"),
    ("mf", "part_mf"),
    ("sw", "part_sw"),
];

pub(super) fn tensors(weights: &BlendWeights) -> Result<Vec<OwnedTensor>, ArtifactProblem> {
    let of_parts: Vec<f64> = weights.parts.iter().map(|part| part.weight).collect();
    let mut tensors = vec![OwnedTensor::f64("blend_weights", &of_parts)];
    for BlendPart { artifact, .. } in &weights.parts {
        let kind = artifact.kind();
        let Some((_, name)) = PARTS.into_iter().find(|(part, _)| *part == kind) else {
            return Err(ArtifactProblem::UnknownKind { found: kind.to_owned() });
        };
        tensors.push(OwnedTensor::bytes(name, artifact.to_bytes()?));
    }
    Ok(tensors)
}

pub(super) fn read(tensors: &Tensors<'_>) -> Result<BlendWeights, ArtifactProblem> {
    let mut artifacts = Vec::new();
    for (kind, name) in PARTS {
        if tensors.has(name) {
            // No blend within a blend, however deep.
            artifacts.push(Artifact::read(tensors.bytes(name)?, |found| found == kind)?);
        }
    }
    let weights = tensors.f64("blend_weights", &[artifacts.len()])?;
    let part = |(weight, artifact)| BlendPart { weight, artifact };
    Ok(BlendWeights { parts: weights.into_iter().zip(artifacts).map(part).collect() })
}

/// The file of the part of a kind within the file of a blend; `None` when there is none.
pub(crate) fn part<'a>(blend: &'a [u8], kind: &str) -> Option<&'a [u8]> {
    let (_, name) = PARTS.into_iter().find(|(part, _)| *part == kind)?;
    Tensors(container::tensors(blend).ok()?).bytes(name).ok()
}
