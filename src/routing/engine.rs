//! A router with the embedder it needs: text in, skills out, a panic caught.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
};

use faer::Mat;
use pointsman_routers::{
    Candidate, CostClass, KnownBattle, Needs, QueryBatch, Router,
    causal::Reader,
    embed::Embedder,
    identity,
    shipped::{self, ShippedError},
};

use super::{
    embedders::{Embedders, Misfit},
    served::{Read, Served},
};
use crate::{config::suggest, telemetry::outcome::FailOpen};

/// A router that can be asked about texts.
#[derive(Clone)]
pub struct Engine {
    router: Arc<dyn Router>,
    /// There where the router reads embeddings, and only there.
    embedder: Option<Arc<dyn Embedder>>,
    /// There where the router reads a decoder's labels.
    reader: Option<Arc<Reader>>,
    /// There where another process reads texts for the router.
    served: Option<Arc<Served>>,
    cost: CostClass,
    /// Of the artefact that the router is made of.
    version: Option<Arc<str>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Engine({})", self.router.name())
    }
}

/// Why a router cannot be put to work.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// It cannot be loaded.
    #[error(transparent)]
    Router(#[from] ShippedError),
    /// What it was trained with is not at hand.
    #[error("{}: it {misfit}", of_file(kind, file.as_deref()))]
    Misfit {
        /// The kind of router.
        kind: &'static str,
        /// Its artefact; the one in the binary where there is none.
        file: Option<PathBuf>,
        /// What is needed, and what there is.
        misfit: Misfit,
    },
}

fn of_file(kind: &str, file: Option<&Path>) -> String {
    match file {
        Some(file) => format!("router artefact `{}`", file.display()),
        None => format!("router `{kind}` in this binary"),
    }
}

/// A text, and the models whose skills for it are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The routing text.
    pub text: &'a str,
    /// The models.
    pub candidates: &'a [Candidate],
    /// What another process has read of it; nothing where none does.
    pub read: Option<&'a Read>,
}

/// One skill per candidate, or why there is none.
pub type Scored = Result<Vec<f64>, FailOpen>;

impl Engine {
    /// It asks the same router.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.router, &other.router)
    }

    /// Loads a router, from a file or from the binary, and joins it with the embedder that it was trained with.
    ///
    /// # Errors
    /// When there is no such router, or its embedder is not at hand.
    pub fn load(kind: &'static str, file: Option<&Path>, embedders: &Embedders) -> Result<Self, EngineError> {
        let (router, version) = match file {
            Some(file) => shipped::load(kind, file)?,
            None => (shipped::router(kind)?, shipped::version(kind)),
        };
        let engine = Self::new(router, embedders).map_err(|misfit| EngineError::Misfit {
            kind,
            file: file.map(Path::to_owned),
            misfit,
        })?;
        Ok(engine.with_version(version))
    }

    /// The same, of an artefact of this version.
    #[must_use]
    pub fn with_version(self, version: Option<String>) -> Self {
        Self { version: version.map(Into::into), ..self }
    }

    /// The version of the artefact that the router is made of, if it is made of one.
    #[must_use]
    pub fn version(&self) -> Option<&Arc<str>> {
        self.version.as_ref()
    }

    /// Joins a router with the embedder or the decoder that it needs, if it needs one.
    ///
    /// # Errors
    /// When that is not at hand.
    pub fn new(router: Arc<dyn Router>, embedders: &Embedders) -> Result<Self, Misfit> {
        let Joined { embedder, reader } = joined(&*router, embedders)?;
        let cost = router.needs().cost;
        let cost = embedder.as_ref().map_or(cost, |embedder| cost.max(embedder.cost()));
        Ok(Self { router, embedder, reader, served: None, cost, version: None })
    }

    /// Joins a router with another process that reads texts for it.
    #[must_use]
    pub fn by_server(router: Arc<dyn Router>, served: Served) -> Self {
        let Needs { decoder, cost, .. } = router.needs();
        // The decoder's time is not this process's.
        let cost = if decoder.is_some() { CostClass::Microseconds } else { cost };
        let served = Some(Arc::new(served));
        Self { router, embedder: None, reader: None, served, cost, version: None }
    }

    /// What another process reads of a text, where one reads for the router.
    ///
    /// # Errors
    /// When it cannot be asked in time.
    pub async fn read_elsewhere(
        &self,
        text: &str,
        candidates: &[Candidate],
        deadline: tokio::time::Instant,
    ) -> Result<Option<Read>, FailOpen> {
        let Some(served) = &self.served else { return Ok(None) };
        served.read(text, self.router.asks(candidates), deadline).await.map(Some)
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

    /// How long a decision takes, by order of magnitude: the router's time or the embedder's, whichever is longer.
    #[must_use]
    pub fn cost(&self) -> CostClass {
        self.cost
    }

    /// Many texts are read in less time together than one by one.
    #[must_use]
    pub fn reads_together(&self) -> bool {
        self.embedder.is_some()
    }

    /// One skill per candidate.
    ///
    /// # Errors
    /// When the router or the embedder fails, or panics.
    pub fn score(&self, question: Question<'_>) -> Scored {
        caught(|| {
            let embeddings = match question.read {
                Some(read) => read.embeddings.clone(),
                None => self.embed(&[question.text])?,
            };
            self.score_embedded(question, embeddings)
        })
    }

    /// Battles that the router knows, on the known prompts most like this text; none where it keeps none, or fails.
    #[must_use]
    pub fn nearest(&self, text: &str, candidates: &[Candidate], count: usize) -> Vec<KnownBattle> {
        let found = catch_unwind(AssertUnwindSafe(|| {
            let embedding = self.embed(&[text]).ok().flatten()?;
            let embedding: Vec<f32> = (0..embedding.ncols()).map(|column| embedding[(0, column)]).collect();
            Some(self.router.nearest(&embedding, candidates, count))
        }));
        found.ok().flatten().unwrap_or_default()
    }

    /// Scores questions that came together. Their texts are embedded in one batch; then each is scored for its own
    /// candidates, and `tell` is told as soon as it is: once for each question, in their order.
    ///
    /// Where the batch fails, each is tried alone: one text takes no other with it.
    pub fn score_batch(&self, questions: &[Question<'_>], mut tell: impl FnMut(Scored)) {
        let texts: Vec<&str> = questions.iter().map(|question| question.text).collect();
        let embedded = if texts.len() > 1 { caught(|| self.embed(&texts)).ok() } else { None };
        for (place, question) in questions.iter().enumerate() {
            tell(match &embedded {
                None => self.score(*question),
                Some(rows) => {
                    let row = rows.as_ref().map(|rows| rows.subrows(place, 1).to_owned());
                    caught(|| self.score_embedded(*question, row))
                }
            });
        }
    }

    /// One row per text; `None` where the router reads no embeddings.
    fn embed(&self, texts: &[&str]) -> Result<Option<Mat<f32>>, FailOpen> {
        let Some(embedder) = &self.embedder else { return Ok(None) };
        let rows = embedder.embed_batch(texts).map_err(|error| {
            tracing::error!(router = self.router.name(), %error, "embedder failed");
            FailOpen::Error
        })?;
        // Rows are taken out by their number.
        if rows.nrows() == texts.len() { Ok(Some(rows)) } else { Err(FailOpen::Error) }
    }

    /// What the router reads of these texts for these candidates, all at once; for commands that score many.
    ///
    /// # Errors
    /// When the embedder or the decoder fails.
    pub fn query<'a>(
        &self,
        texts: &'a [&'a str],
        candidates: &[Candidate],
    ) -> Result<QueryBatch<'a>, String> {
        let embeddings = self.embedder.as_ref().map(|embedder| embedder.embed_batch(texts)).transpose();
        let names = self.router.asks(candidates);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let labels = self.reader.as_ref().map(|reader| reader.read_all(texts, &names)).transpose();
        Ok(QueryBatch {
            texts,
            embeddings: embeddings.map_err(|error| error.to_string())?,
            labels: labels.map_err(|error| error.to_string())?,
        })
    }

    /// The labels' logits of each model that the router asks about; `None` where it reads none.
    fn read(&self, question: Question<'_>) -> Result<Option<Vec<[f32; 5]>>, FailOpen> {
        if let Some(read) = question.read {
            return Ok(read.labels.clone());
        }
        let Some(reader) = &self.reader else { return Ok(None) };
        let names = self.router.asks(question.candidates);
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        reader.read(question.text, &names).map(Some).map_err(|error| {
            tracing::error!(router = self.router.name(), %error, "decoder failed");
            FailOpen::Error
        })
    }

    fn score_embedded(&self, question: Question<'_>, embeddings: Option<Mat<f32>>) -> Scored {
        let Question { text, candidates, .. } = question;
        let labels = self.read(question)?.map(|labels| vec![labels]);
        let queries = QueryBatch { texts: &[text], embeddings, labels };
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

/// What reads texts for a router.
pub struct Joined {
    /// There where the router reads embeddings, and only there.
    pub embedder: Option<Arc<dyn Embedder>>,
    /// There where it reads a decoder's labels.
    pub reader: Option<Arc<Reader>>,
}

/// Finds what a router needs.
///
/// # Errors
/// When that is not at hand.
pub fn joined(router: &dyn Router, embedders: &Embedders) -> Result<Joined, Misfit> {
    let Needs { embedding, decoder, .. } = router.needs();
    let embedder = embedding.map(|space| embedders.find(&space)).transpose()?;
    let decoder = decoder.map(|needed| embedders.find_decoder(&needed)).transpose()?;
    let reader = decoder.and_then(|decoder| router.reader(decoder)).transpose()?.map(Arc::new);
    Ok(Joined { embedder, reader })
}

/// A panic fails open like any other failure.
fn caught<T>(work: impl FnOnce() -> Result<T, FailOpen>) -> Result<T, FailOpen> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(FailOpen::Panic))
}
