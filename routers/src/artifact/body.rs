//! What an artefact holds of its own, by the kind of its router. A new kind gets a variant here and a file beside
//! `body/mf.rs` that says which tensors it is made of.

mod mf;

use std::sync::Arc;

use super::error::ArtifactProblem;
use super::tensors::{OwnedTensor, Tensors};
use super::{Artifact, Ratings};
use crate::learned::{Learned, Shifts};
use crate::mf::{Factorised, MfWeights};
use crate::router::Router;

/// What was learned of how prompts move skills.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Of the `mf` router.
    Mf(MfWeights),
}

impl Body {
    /// The kind of router, as manifests name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Mf(_) => Factorised::KIND,
        }
    }

    /// Dimensions of an embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::Mf(weights) => weights.projection.nrows(),
        }
    }

    /// Whether the parts fit together, for so many models.
    pub(super) fn check(&self, models: usize) -> Result<(), ArtifactProblem> {
        match self {
            Self::Mf(weights) => weights.check(models),
        }
    }

    pub(super) fn tensors(&self) -> Vec<OwnedTensor> {
        match self {
            Self::Mf(weights) => mf::tensors(weights),
        }
    }

    /// Reads the body of a router of `kind` for `models` models and embeddings of `dim` dimensions.
    pub(super) fn read(
        kind: &str,
        models: usize,
        dim: usize,
        tensors: &Tensors<'_>,
    ) -> Result<Self, ArtifactProblem> {
        match kind {
            Factorised::KIND => mf::read(models, dim, tensors).map(Self::Mf),
            _ => Err(ArtifactProblem::UnknownKind { found: kind.to_owned() }),
        }
    }

    /// The router of an artefact with this body and these ratings.
    pub(super) fn router(&self, artifact: &Artifact, ratings: &Ratings) -> Arc<dyn Router> {
        match self {
            Self::Mf(weights) => Arc::new(Learned::new(artifact, Factorised::new(weights, &ratings.prior))),
        }
    }
}
