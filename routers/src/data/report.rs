//! What a reader met on its way through a file.

use super::Format;
use std::{collections::BTreeMap, path::PathBuf};

/// How many refused rows a report describes; the rest are only counted.
const EXAMPLES: usize = 5;

/// The account of one file's reading.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadReport {
    /// The file.
    pub file: PathBuf,
    /// The format it was read as.
    pub format: Format,
    /// Rows met, whether good, refused or filtered out.
    pub rows: u64,
    /// Rows refused, by kind of problem.
    pub rejected: BTreeMap<&'static str, u64>,
    /// The first refused rows.
    pub examples: Vec<Rejection>,
    /// Rows before and after the leaderboard's filter; `None` for formats without one.
    pub filter: Option<FilterCounts>,
}

/// A row that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Line of the file from 1; in formats without lines (a JSON array, Parquet), the row from 1.
    pub line: u64,
    /// Why.
    pub problem: RowProblem,
}

/// What can be wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowProblem {
    /// It is not of the format's shape.
    #[error("{0}")]
    Shape(String),
    /// It names no winner.
    #[error("winner is {0}, expected model_a, model_b, tie or tie (bothbad)")]
    NoWinner(String),
    /// Both names are of one model.
    #[error("{0} is compared with itself")]
    SelfBattle(String),
    /// A score that is none.
    #[error("the score of {model} is {score}, expected a number from 0 to 1")]
    Score {
        /// The model.
        model: String,
        /// What was found.
        score: String,
    },
    /// A model without a name.
    #[error("a model's name is empty")]
    NoName,
    /// No model has a score.
    #[error("no scores")]
    NoScores,
    /// An outcome without a prompt.
    #[error("no prompt")]
    NoPrompt,
}

/// Rows at the stages of the leaderboard's filter.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilterCounts {
    /// Good rows.
    pub before: u64,
    /// Of these, with `anony` true.
    pub anonymous: u64,
    /// Of these, with `dedup_tag.sampled` true.
    pub sampled: u64,
}

impl LoadReport {
    /// An account with nothing in it.
    pub(super) const fn new(file: PathBuf, format: Format) -> Self {
        Self { file, format, rows: 0, rejected: BTreeMap::new(), examples: Vec::new(), filter: None }
    }

    /// Rows refused, of whatever kind.
    #[must_use]
    pub fn rejected_total(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Counts a refused row.
    pub(super) fn reject(&mut self, line: u64, problem: RowProblem) {
        *self.rejected.entry(problem.kind()).or_default() += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(Rejection { line, problem });
        }
    }
}

impl RowProblem {
    /// The problem's kind, for counting.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Shape(_) => "wrong shape",
            Self::NoWinner(_) => "no winner",
            Self::SelfBattle(_) => "model against itself",
            Self::Score { .. } => "bad score",
            Self::NoName => "model without a name",
            Self::NoScores => "no scores",
            Self::NoPrompt => "no prompt",
        }
    }
}
