//! What an artefact holds of its own, by the kind of its router. A new kind gets a variant here and a file beside
//! `body/mf.rs` that says which tensors it is made of.

mod bert;
mod kmeans;
mod local;
mod mf;
mod reading;

use std::sync::Arc;

use super::error::ArtifactProblem;
use super::tensors::{OwnedTensor, Tensors};
use super::{Artifact, Ratings};
use crate::bert::{BertWeights, LastLayer};
use crate::learned::{Learned, Shifts};
use crate::local::{LocalFit, LocalWeights, Neighbours, Similarity};
use crate::mf::{Factorised, MfWeights};
use crate::regions::{RegionWeights, Regions};
use crate::router::Router;

/// What was learned of how prompts move skills.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Of the `kmeans` router.
    Kmeans(RegionWeights),
    /// Of the `knn` router.
    Knn(Arc<LocalWeights>),
    /// Of the `bert` router.
    Bert(BertWeights),
    /// Of the `mf` router.
    Mf(MfWeights),
    /// Of the `sw` router.
    Sw(Arc<LocalWeights>),
}

impl Body {
    /// The kind of router, as manifests name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Kmeans(_) => Regions::KIND,
            Self::Knn(_) => LocalFit::<Neighbours>::KIND,
            Self::Bert(_) => LastLayer::KIND,
            Self::Mf(_) => Factorised::KIND,
            Self::Sw(_) => LocalFit::<Similarity>::KIND,
        }
    }

    /// Dimensions of an embedding.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::Kmeans(weights) => weights.centres.nrows(),
            Self::Knn(weights) | Self::Sw(weights) => weights.evidence.index.dim(),
            Self::Bert(weights) => weights.reading.dim,
            Self::Mf(weights) => weights.reading.dim,
        }
    }

    /// Whether the parts fit together, for so many models.
    pub(super) fn check(&self, models: usize) -> Result<(), ArtifactProblem> {
        match self {
            Self::Kmeans(weights) => weights.check(models),
            Self::Knn(weights) | Self::Sw(weights) => weights.check(models),
            Self::Bert(weights) => weights.check(models),
            Self::Mf(weights) => weights.check(models),
        }
    }

    pub(super) fn tensors(&self) -> Vec<OwnedTensor> {
        match self {
            Self::Kmeans(weights) => kmeans::tensors(weights),
            Self::Knn(weights) | Self::Sw(weights) => local::tensors(weights),
            Self::Bert(weights) => bert::tensors(weights),
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
            Regions::KIND => kmeans::read(models, dim, tensors).map(Self::Kmeans),
            LocalFit::<Neighbours>::KIND => Ok(Self::Knn(Arc::new(local::read(dim, tensors)?))),
            LastLayer::KIND => bert::read(models, dim, tensors).map(Self::Bert),
            Factorised::KIND => mf::read(models, dim, tensors).map(Self::Mf),
            LocalFit::<Similarity>::KIND => Ok(Self::Sw(Arc::new(local::read(dim, tensors)?))),
            _ => Err(ArtifactProblem::UnknownKind { found: kind.to_owned() }),
        }
    }

    /// The router of an artefact with this body and these ratings.
    pub(super) fn router(&self, artifact: &Artifact, ratings: &Ratings) -> Arc<dyn Router> {
        match self {
            Self::Kmeans(weights) => Arc::new(Learned::new(artifact, Regions::new(weights, &ratings.prior))),
            Self::Knn(weights) => {
                Arc::new(Learned::new(artifact, LocalFit::<Neighbours>::new(weights, &ratings.prior)))
            }
            Self::Sw(weights) => {
                Arc::new(Learned::new(artifact, LocalFit::<Similarity>::new(weights, &ratings.prior)))
            }
            Self::Bert(weights) => Arc::new(Learned::new(artifact, LastLayer::new(weights, &ratings.prior))),
            Self::Mf(weights) => Arc::new(Learned::new(artifact, Factorised::new(weights, &ratings.prior))),
        }
    }
}
