//! What an artefact holds of its own, by the kind of its router. A new kind gets a variant here and a file beside
//! `body/mf.rs` that says which tensors it is made of.

mod bert;
mod blend;
mod causal;
mod kmeans;
mod local;
mod mf;
mod reading;

pub(crate) use blend::part;

use std::sync::Arc;

use super::error::ArtifactProblem;
use super::tensors::{OwnedTensor, Tensors};
use super::{Artifact, Ratings};
use crate::bert::{BertWeights, LastLayer};
use crate::blend::{BlendWeights, Blended};
use crate::causal::{Causal, CausalWeights};
use crate::learned::{Learned, Shifts};
use crate::local::{Kernel, LocalFit, LocalWeights, Neighbours, Similarity};
use crate::mf::{Factorised, MfWeights};
use crate::regions::{RegionWeights, Regions};
use crate::router::Router;

/// What was learned of how prompts move skills.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Of the `bert` router.
    Bert(BertWeights),
    /// Of the `blend` router.
    Blend(BlendWeights),
    /// Of the `causal` router.
    Causal(CausalWeights),
    /// Of the `kmeans` router.
    Kmeans(RegionWeights),
    /// Of the `knn` router.
    Knn(Arc<LocalWeights>),
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
            Self::Bert(_) => LastLayer::KIND,
            Self::Blend(_) => Blended::KIND,
            Self::Causal(_) => Causal::KIND,
            Self::Kmeans(_) => Regions::KIND,
            Self::Knn(_) => Neighbours::KIND,
            Self::Mf(_) => Factorised::KIND,
            Self::Sw(_) => Similarity::KIND,
        }
    }

    /// Dimensions of an embedding, or of a decoder's hidden states.
    #[must_use]
    pub fn dim(&self) -> usize {
        match self {
            Self::Bert(weights) => weights.reading.dim,
            Self::Blend(weights) => weights.dim(),
            Self::Causal(weights) => weights.width,
            Self::Kmeans(weights) => weights.centres.nrows(),
            Self::Knn(weights) | Self::Sw(weights) => weights.evidence.index.dim(),
            Self::Mf(weights) => weights.reading.dim,
        }
    }

    /// Whether the parts fit together, and the models and the embedder of the artefact.
    pub(super) fn check(&self, ratings: &Ratings, embedder: &str) -> Result<(), ArtifactProblem> {
        let models = ratings.models.len();
        match self {
            Self::Bert(weights) => weights.check(models),
            Self::Blend(weights) => weights.check(ratings, embedder),
            Self::Causal(weights) => weights.check(models),
            Self::Kmeans(weights) => weights.check(models),
            Self::Knn(weights) | Self::Sw(weights) => weights.check(models),
            Self::Mf(weights) => weights.check(models),
        }
    }

    pub(super) fn tensors(&self) -> Result<Vec<OwnedTensor>, ArtifactProblem> {
        Ok(match self {
            Self::Bert(weights) => bert::tensors(weights),
            Self::Blend(weights) => blend::tensors(weights)?,
            Self::Causal(weights) => causal::tensors(weights),
            Self::Kmeans(weights) => kmeans::tensors(weights),
            Self::Knn(weights) | Self::Sw(weights) => local::tensors(weights),
            Self::Mf(weights) => mf::tensors(weights),
        })
    }

    /// Reads the body of a router of `kind` for `models` models and embeddings of `dim` dimensions.
    pub(super) fn read(
        kind: &str,
        models: usize,
        dim: usize,
        tensors: &Tensors<'_>,
    ) -> Result<Self, ArtifactProblem> {
        match kind {
            LastLayer::KIND => bert::read(models, dim, tensors).map(Self::Bert),
            Blended::KIND => blend::read(tensors).map(Self::Blend),
            Causal::KIND => causal::read(models, dim, tensors).map(Self::Causal),
            Regions::KIND => kmeans::read(models, dim, tensors).map(Self::Kmeans),
            Neighbours::KIND => Ok(Self::Knn(Arc::new(local::read(dim, tensors)?))),
            Factorised::KIND => mf::read(models, dim, tensors).map(Self::Mf),
            Similarity::KIND => Ok(Self::Sw(Arc::new(local::read(dim, tensors)?))),
            _ => Err(ArtifactProblem::UnknownKind { found: kind.to_owned() }),
        }
    }

    /// How prompts' embeddings move the skills of models that have these global skills.
    ///
    /// # Errors
    /// With its weights, of a router that reads no embeddings.
    pub(crate) fn shifts(&self, prior: &[f64]) -> Result<Box<dyn Shifts>, &CausalWeights> {
        Ok(match self {
            Self::Bert(weights) => Box::new(LastLayer::new(weights, prior)),
            Self::Blend(weights) => Box::new(Blended::new(weights, prior)),
            Self::Causal(weights) => return Err(weights),
            Self::Kmeans(weights) => Box::new(Regions::new(weights, prior)),
            Self::Knn(weights) => Box::new(LocalFit::<Neighbours>::new(weights, prior)),
            Self::Mf(weights) => Box::new(Factorised::new(weights, prior)),
            Self::Sw(weights) => Box::new(LocalFit::<Similarity>::new(weights, prior)),
        })
    }

    /// The router of an artefact with this body. `mf` runs on the thread that serves the request, so it is compiled for
    /// itself; elsewhere a call through a table is nothing beside the work.
    pub(super) fn router(&self, artifact: &Artifact, ratings: &Ratings) -> Arc<dyn Router> {
        if let Self::Mf(weights) = self {
            return Arc::new(Learned::new(artifact, Factorised::new(weights, &ratings.prior)));
        }
        match self.shifts(&ratings.prior) {
            Ok(shifts) => Arc::new(Learned::new(artifact, shifts)),
            Err(weights) => Arc::new(Causal::new(artifact, weights)),
        }
    }
}
