//! A router with the embedder it needs: text in, skills out, a panic caught.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use pointsman_routers::{Candidate, CostClass, QueryBatch, Router, embed::StaticEmbedder, identity};

use crate::{config::suggest, telemetry::outcome::FailOpen};

/// A router that can be asked about a text.
#[derive(Clone)]
pub struct Engine {
    router: Arc<dyn Router>,
    embedder: Option<Arc<StaticEmbedder>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Engine({})", self.router.name())
    }
}

/// The router reads another embedding space than the embedder writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the router was trained with embedder {needed}, here is {present}")]
pub struct EmbedderMismatch {
    /// The space that the router reads.
    pub needed: String,
    /// The space there is; `none` when there is none.
    pub present: String,
}

impl Engine {
    /// Joins a router with an embedder.
    ///
    /// # Errors
    /// When the router needs embeddings of another space.
    pub fn new(
        router: Arc<dyn Router>,
        embedder: Option<Arc<StaticEmbedder>>,
    ) -> Result<Self, EmbedderMismatch> {
        if let Some(needed) = router.needs().embedding {
            let present =
                embedder.as_ref().map_or_else(|| "none".to_owned(), |one| one.fingerprint().to_owned());
            if needed != present {
                return Err(EmbedderMismatch { needed, present });
            }
        }
        Ok(Self { router, embedder })
    }

    /// The router.
    #[must_use]
    pub fn router(&self) -> &dyn Router {
        &*self.router
    }

    /// For a name that the router does not know: which that it knows may have been meant.
    #[must_use]
    pub fn hint(&self, name: &str) -> Option<String> {
        let known = identity::known().filter(|known| self.router.place(known, None).is_some());
        suggest::near(name, known)
    }

    /// How long a decision takes, by order of magnitude.
    #[must_use]
    pub fn cost(&self) -> CostClass {
        self.router.needs().cost
    }

    /// One skill per candidate.
    ///
    /// # Errors
    /// When the router fails, or panics.
    pub fn score(&self, text: &str, candidates: &[Candidate]) -> Result<Vec<f64>, FailOpen> {
        catch_unwind(AssertUnwindSafe(|| self.score_or_panic(text, candidates)))
            .unwrap_or(Err(FailOpen::Panic))
    }

    fn score_or_panic(&self, text: &str, candidates: &[Candidate]) -> Result<Vec<f64>, FailOpen> {
        let embeddings = if self.router.needs().embedding.is_some() {
            let embedder = self.embedder.as_ref().ok_or(FailOpen::Error)?;
            let vector = embedder.embed(text);
            Some(faer::Mat::from_fn(1, vector.len(), |_, column| vector.get(column).copied().unwrap_or(0.0)))
        } else {
            None
        };
        let queries = QueryBatch { texts: &[text], embeddings };
        let skills = self.router.skills(&queries, candidates).map_err(|error| {
            tracing::error!(router = self.router.name(), %error, "router failed");
            FailOpen::Error
        })?;
        if (skills.nrows(), skills.ncols()) != (1, candidates.len()) {
            return Err(FailOpen::Error);
        }
        let row: Vec<f64> = (0..candidates.len()).map(|column| skills[(0, column)]).collect();
        if row.iter().all(|skill| skill.is_finite()) { Ok(row) } else { Err(FailOpen::Error) }
    }
}
