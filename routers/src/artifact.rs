//! Router artefacts: what a training leaves behind, in one file that says where it comes from.
//!
//! | tensor                      | type, shape          | holds                                                 |
//! |-----------------------------|----------------------|-------------------------------------------------------|
//! | `bias`                      | F32, rank            | b                                                     |
//! | `calibration_embeddings`    | I8, prompts × dim    | the calibration sample, a row per prompt              |
//! | `calibration_prompt_tokens` | U32, prompts         | estimated tokens of each prompt                       |
//! | `calibration_scales`        | F32, prompts         | what each row of the sample is multiplied by          |
//! | `components`                | U32, models          | which part of the comparison graph each model lies in |
//! | `factors`                   | F32, models × rank   | w ∘ v of each model                                   |
//! | `prior`                     | F64, models          | θ⁰ of each model                                      |
//! | `projection`                | F32, dim × rank      | W₁                                                    |
//! | `topic_projection`          | F32, topics × rank   | W₂                                                    |
//! | `topics`                    | F32, dim × topics    | C, the centres of the topics                          |
//! | `training_prompts`          | U8, prompts × 16     | hashes of the training prompts, ascending             |
//!
//! Reading verifies everything and never panics, whatever the bytes. Must not know how routers are trained or run.

mod container;
mod error;
mod manifest;
mod sample;
mod tensors;
#[cfg(test)]
mod tests;

pub use error::{ArtifactError, ArtifactProblem};
pub use manifest::{Anchor, Provenance, Source};
pub use sample::CalibrationSample;

use self::manifest::Manifest;
use self::tensors::{OwnedTensor, Tensors};
use crate::mf::MfWeights;
use crate::roster::Roster;
use crate::split::PromptHash;

/// The version of the format that this release writes, and the highest it reads.
pub const FORMAT_VERSION: u64 = 1;

/// The kind of router an artefact of matrix factorisation is.
pub(crate) const KIND_MF: &str = "mf";

/// A verified artefact of the `mf` router. Its ratings serve `best_single` too.
#[derive(Debug, Clone, PartialEq)]
pub struct Artifact {
    weights: MfWeights,
    provenance: Provenance,
    calibration: CalibrationSample,
}

impl Artifact {
    /// Puts a trained `mf` router together with where it comes from and what it is calibrated on. The training
    /// prompts are sorted; everything else is taken as it is.
    ///
    /// # Errors
    /// When the parts do not fit together, a weight is not finite, or the gauge does not hold.
    pub fn mf(
        weights: MfWeights,
        mut provenance: Provenance,
        calibration: CalibrationSample,
    ) -> Result<Self, ArtifactProblem> {
        weights.check()?;
        manifest::check_anchor(&provenance.anchor, &weights.models)?;
        if calibration.dim != weights.projection.nrows() {
            let (found, dim) = (calibration.dim, weights.projection.nrows());
            let reason = format!("has {found} dimensions, `projection` has {dim}");
            return Err(ArtifactProblem::Tensor { name: "calibration_embeddings", reason });
        }
        // A scale above 1 belongs to no vector of unit length.
        if let Some(scale) = calibration.scales.iter().find(|scale| !(0.0..=1.0).contains(*scale)) {
            let reason = format!("holds {scale}, expected 0 to 1");
            return Err(ArtifactProblem::Tensor { name: "calibration_scales", reason });
        }
        provenance.training_prompts.sort_unstable();
        provenance.training_prompts.dedup();
        Ok(Self { weights, provenance, calibration })
    }

    /// Writes the file; equal artefacts give equal bytes.
    ///
    /// # Errors
    /// When a metric is not a JSON number.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ArtifactProblem> {
        let Self { weights, provenance, calibration } = self;
        let hashes: Vec<[u8; 16]> = provenance.training_prompts.iter().map(|hash| hash.0).collect();
        let shape = [calibration.len(), calibration.dim];
        let tensors = [
            OwnedTensor::f32("bias", &weights.bias),
            OwnedTensor::i8("calibration_embeddings", &calibration.embeddings, shape),
            OwnedTensor::u32("calibration_prompt_tokens", &calibration.prompt_tokens),
            OwnedTensor::f32("calibration_scales", &calibration.scales),
            OwnedTensor::u32("components", &weights.components),
            OwnedTensor::matrix("factors", &weights.factors),
            OwnedTensor::f64("prior", &weights.prior),
            OwnedTensor::matrix("projection", &weights.projection),
            OwnedTensor::matrix("topic_projection", &weights.topic_projection),
            OwnedTensor::matrix("topics", &weights.topics),
            OwnedTensor::u8("training_prompts", &hashes),
        ];
        container::write(&Manifest::describe(weights, provenance).to_json()?, &tensors)
    }

    /// Reads and verifies a file of kind `mf`. `file` is what errors call it.
    ///
    /// Whether the embedder is the right one is for the caller to check, by [`Artifact::embedder_fingerprint`].
    ///
    /// # Errors
    /// When the bytes are no such file, of a later version, of another kind, or damaged.
    pub fn from_bytes(bytes: &[u8], file: &str) -> Result<Self, ArtifactError> {
        Self::read(bytes).map_err(|problem| problem.in_file(file))
    }

    fn read(bytes: &[u8]) -> Result<Self, ArtifactProblem> {
        let container = container::read(bytes)?;
        if container.kind != KIND_MF {
            return Err(ArtifactProblem::Kind { found: container.kind, expected: KIND_MF });
        }
        let Manifest { models, dim, rank, embedder, anchor, sources, seed, metrics, .. } =
            Manifest::from_json(&container.manifest)?;
        let tensors = Tensors(container.tensors);
        let count = models.len();
        let weights = MfWeights {
            prior: tensors.f64("prior", &[count])?,
            components: tensors.u32("components", &[count])?,
            projection: tensors.matrix("projection", [dim, rank])?,
            topics: tensors.matrix("topics", [dim, tensors.rows("topic_projection")?])?,
            topic_projection: tensors
                .matrix("topic_projection", [tensors.rows("topic_projection")?, rank])?,
            bias: tensors.f32("bias", &[rank])?,
            factors: tensors.matrix("factors", [count, rank])?,
            models,
        };
        let prompts = tensors.rows("calibration_prompt_tokens")?;
        let calibration = CalibrationSample {
            dim,
            embeddings: tensors.i8("calibration_embeddings", &[prompts, dim])?,
            scales: tensors.f32("calibration_scales", &[prompts])?,
            prompt_tokens: tensors.u32("calibration_prompt_tokens", &[prompts])?,
        };
        let hashes = tensors.u8("training_prompts", tensors.rows("training_prompts")?)?;
        let training_prompts = hashes.into_iter().map(PromptHash).collect();
        Self::mf(
            weights,
            Provenance { embedder, anchor, sources, training_prompts, seed, metrics },
            calibration,
        )
    }

    /// The space that the embeddings must be of.
    #[must_use]
    pub fn embedder_fingerprint(&self) -> &str {
        &self.provenance.embedder
    }

    /// What was learned.
    #[must_use]
    pub fn weights(&self) -> &MfWeights {
        &self.weights
    }

    /// Where it comes from.
    #[must_use]
    pub fn provenance(&self) -> &Provenance {
        &self.provenance
    }

    /// What it is calibrated on.
    #[must_use]
    pub fn calibration(&self) -> &CalibrationSample {
        &self.calibration
    }

    /// Its models and their global skills.
    pub(crate) fn roster(&self) -> Roster {
        let MfWeights { models, prior, components, .. } = &self.weights;
        let Anchor { model, elo } = &self.provenance.anchor;
        let anchor = models.binary_search(model).unwrap_or_default();
        Roster::new(models, prior, components, (anchor, *elo))
    }
}
