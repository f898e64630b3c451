//! The contract every router keeps: queries in, one skill per candidate out.
//!
//! Nothing here knows how skills are computed, nor what they are used for.

use std::sync::Arc;

use faer::Mat;

use crate::causal::{Reader, ReaderError, Script};
use crate::decoder::Decoder;

/// Skills of a batch: one row per query, one column per candidate, natural-log Bradley–Terry units.
pub type SkillMatrix = Mat<f64>;

/// What a router needs to be carried by a query before it can score it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The fingerprint of the embedding space whose vectors it reads; `None` when it reads the text, or nothing.
    pub embedding: Option<String>,
    /// The fingerprint of the decoder whose labels' logits it reads; `None` when it reads none.
    pub decoder: Option<String>,
    /// How long one query takes, by order of magnitude: decides where it may run.
    pub cost: CostClass,
}

/// The order of magnitude of the time one query takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CostClass {
    /// May run on the thread that serves the request.
    Microseconds,
    /// Runs on a worker thread of its own.
    Milliseconds,
    /// Runs on a worker thread of its own, and is worth a device.
    Seconds,
}

/// The queries of one call: their texts and, for routers that need them, their embeddings or what a decoder says of them.
#[derive(Debug, Default)]
pub struct QueryBatch<'a> {
    /// The routing texts.
    pub texts: &'a [&'a str],
    /// One row per text, in the space that [`Needs::embedding`] names; rows are of unit length, or zero.
    pub embeddings: Option<Mat<f32>>,
    /// For each text the logits of the five labels, for each model that [`Router::asks`] about.
    pub labels: Option<Vec<Vec<[f32; 5]>>>,
}

/// Where a model stands in a router's artefact.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Standing {
    /// It has a row of its own.
    Row(usize),
    /// It has none, and is placed by an Elo rating alone: its skill is the prompt's regression of skills on ratings.
    Elo(f64),
}

/// A model as a router sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The canonical name.
    pub name: String,
    /// Where it stands in the router's artefact.
    pub standing: Standing,
}

/// A router's skills for the prompts it was calibrated on.
#[derive(Debug, Clone)]
pub struct CalibrationSkills {
    /// One row per prompt, one column per candidate.
    pub skills: SkillMatrix,
    /// The estimated tokens of each prompt.
    pub prompt_tokens: Vec<u32>,
}

/// A battle that a router knows, on a known prompt that is like a query.
#[derive(Debug, Clone, PartialEq)]
pub struct KnownBattle {
    /// Where it is in the artefact: the place of the prompt, then of the two models. An artefact keeps no texts.
    pub id: String,
    /// The cosine of the prompt's embedding with the query's.
    pub similarity: f32,
    /// The candidates that were compared, by their place among those that were asked for.
    pub candidates: [usize; 2],
    /// The first one's share of the win: 1, 0, or between them for ties and votes.
    pub share: f64,
}

/// Why a router gave no skills.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RouterError {
    /// The batch lacks embeddings, or has them in another shape.
    #[error("router needs embeddings of {expected} dimensions, the query carries {found}")]
    Embedding {
        /// Dimensions of the router's space.
        expected: usize,
        /// Dimensions found; 0 when there are none.
        found: usize,
    },
    /// The batch lacks what a decoder says, or has it of other models.
    #[error("router needs the labels of {expected} models, the query carries {found}")]
    Labels {
        /// Models that it asks about.
        expected: usize,
        /// Models found.
        found: usize,
    },
    /// A candidate's row is not in the artefact: it was placed by another artefact.
    #[error("candidate row {0} is outside the artefact")]
    UnknownRow(usize),
    /// The artefact carries no calibration sample.
    #[error("the artefact carries no calibration sample: give a threshold instead of a share or a budget")]
    NoCalibration,
    /// A score came out infinite or not a number.
    #[error("the router produced a score that is not finite")]
    NotFinite,
}

/// A learned router (or a baseline): maps queries to skills.
///
/// One number per model and query, so nothing downstream can depend on the order in which models are listed.
pub trait Router: Send + Sync {
    /// The router's short name, as in `router: mf`.
    fn name(&self) -> &'static str;

    /// What a query must carry.
    fn needs(&self) -> Needs;

    /// Finds a model's place in the artefact by its name (any spelling the alias table knows), or else by
    /// the Elo rating given for it. `None`: the model cannot be routed to.
    fn place(&self, name: &str, elo: Option<f64>) -> Option<Candidate>;

    /// The skill that a candidate has before any prompt is seen, the global fit `θ⁰`.
    fn prior(&self, candidate: &Candidate) -> f64;

    /// The models that it needs a decoder's labels of to score these candidates, by the names that the decoder was trained on; none
    /// of routers that read no labels.
    fn asks(&self, _candidates: &[Candidate]) -> Vec<String> {
        Vec::new()
    }

    /// Asks a decoder as the artefact does; `None` of routers that read no labels.
    ///
    /// # Errors
    /// When it is not the one that the artefact was trained with.
    fn reader(&self, _decoder: Arc<Decoder>) -> Option<Result<Reader, ReaderError>> {
        None
    }

    /// What it asks a decoder that somebody else runs; `None` of routers that read no labels.
    ///
    /// # Errors
    /// When no server can say what the labels are.
    fn script(&self) -> Option<Result<Script, ReaderError>> {
        None
    }

    /// Scores every query for every candidate.
    ///
    /// # Errors
    /// When the batch does not carry what [`Router::needs`] asks for, or a candidate was placed by another artefact.
    fn skills(&self, queries: &QueryBatch<'_>, candidates: &[Candidate]) -> Result<SkillMatrix, RouterError>;

    /// Scores the candidates on the artefact's calibration sample, from which shares and budgets are solved.
    ///
    /// # Errors
    /// When there is no sample, or a candidate was placed by another artefact.
    fn calibration(&self, candidates: &[Candidate]) -> Result<CalibrationSkills, RouterError>;

    /// It keeps battles on known prompts.
    fn keeps_battles(&self) -> bool {
        false
    }

    /// Up to `count` battles between candidates on the known prompts most like one of this embedding, the most similar first. Nothing of
    /// routers that keep no battles.
    fn nearest(&self, _embedding: &[f32], _candidates: &[Candidate], _count: usize) -> Vec<KnownBattle> {
        Vec::new()
    }
}
