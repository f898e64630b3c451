//! The files that RouteLLM's benchmarks come in, as they are: questions with what two models reached on each.
//!
//! | benchmark          | files in the folder                                | quality                        |
//! |--------------------|----------------------------------------------------|--------------------------------|
//! | `routellm-mmlu`    | `mmlu_*.csv`                                       | right 1, wrong 0               |
//! | `routellm-gsm8k`   | `gsm8k_responses.csv`                              | right 1, wrong 0               |
//! | `routellm-mt-bench`| `question.jsonl`, `judgements.jsonl`               | mean of both turns' scores     |
//! | any                | `contaminated_prompts.jsonl`, which may be missing | questions to be left out       |
//!
//! A row that cannot be used is counted; past one of a hundred the file is refused. Must not know of routers.

mod answers;
mod contaminated;
mod judgements;
mod lines;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::evaluate::PairQuality;
use crate::split::{PromptHash, prompt_hash};

/// Of this many rows, one may be refused.
const ROWS_PER_REFUSAL: usize = 100;
/// Refused rows that an error or a report shows.
const EXAMPLES: usize = 5;

/// A benchmark of RouteLLM's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Benchmark {
    /// Multiple-choice questions of 57 subjects.
    Mmlu,
    /// Word problems of arithmetic.
    Gsm8k,
    /// Two-turn conversations, scored 1 to 10 by a judge.
    MtBench,
}

/// A question, and what the two models reached on it.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The user's turns, at least one; the first is what is routed.
    pub turns: Vec<String>,
    /// What the models reached.
    pub quality: PairQuality,
}

/// A benchmark's questions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Questions {
    /// Those that can be used, in the files' order.
    pub questions: Vec<Question>,
    /// Questions left out as contaminated.
    pub contaminated: usize,
    /// Rows that could not be used.
    pub rejected: usize,
    /// The first of these.
    pub examples: Vec<Rejected>,
}

/// A row that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// The file.
    pub file: PathBuf,
    /// Its line, counted from 1.
    pub line: u64,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file.display(), self.line, self.problem)
    }
}

/// Why there are no questions.
#[derive(Debug, thiserror::Error)]
pub enum BenchmarkError {
    /// A file or folder cannot be read.
    #[error("{}: {source}", file.display())]
    Io {
        /// Which.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The folder lacks a file.
    #[error("{}: there is no {expected} in this folder", folder.display())]
    Missing {
        /// The folder.
        folder: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// The file is not what its name says.
    #[error("{}: {problem}", file.display())]
    Foreign {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// More than one row of a hundred cannot be used.
    #[error(
        "{rejected} of {rows} rows cannot be used, more than 1 %:{}\nMend these rows or leave them out, or check that this is the benchmark meant.",
        list(examples)
    )]
    TooManyRejected {
        /// Rows that cannot be used.
        rejected: usize,
        /// Rows met.
        rows: usize,
        /// The first of them.
        examples: Vec<Rejected>,
    },
    /// Nothing is left.
    #[error("{}: no question has answers of both {strong} and {weak}", folder.display())]
    Empty {
        /// The folder.
        folder: PathBuf,
        /// The strong model.
        strong: String,
        /// The weak model.
        weak: String,
    },
}

fn list(examples: &[Rejected]) -> String {
    examples.iter().map(|example| format!("\n  {example}")).collect()
}

impl Benchmark {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Mmlu, Self::Gsm8k, Self::MtBench];

    /// Its name on command lines.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mmlu => "routellm-mmlu",
            Self::Gsm8k => "routellm-gsm8k",
            Self::MtBench => "routellm-mt-bench",
        }
    }

    /// What a quality is, for people.
    #[must_use]
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Mmlu | Self::Gsm8k => "share answered right",
            Self::MtBench => "mean score of 1 to 10",
        }
    }

    /// Reads the benchmark's files in `folder`, with the answers of two models, known by any spelling.
    ///
    /// # Errors
    /// See [`BenchmarkError`].
    pub fn read(self, folder: &Path, strong: &str, weak: &str) -> Result<Questions, BenchmarkError> {
        let mut reading = Reading { models: [strong, weak], ..Reading::default() };
        match self {
            Self::Mmlu => answers::read_all(folder, "mmlu_*.csv", answers::is_mmlu, &mut reading)?,
            Self::Gsm8k => {
                answers::read_all(
                    folder,
                    "gsm8k_responses.csv",
                    |name| name == "gsm8k_responses.csv",
                    &mut reading,
                )?;
            }
            Self::MtBench => judgements::read(folder, &mut reading)?,
        }
        let Reading { mut questions, rows, .. } = reading;
        if questions.rejected * ROWS_PER_REFUSAL > rows {
            let Questions { rejected, examples, .. } = questions;
            return Err(BenchmarkError::TooManyRejected { rejected, rows, examples });
        }
        if questions.questions.is_empty() {
            let (strong, weak) = (strong.to_owned(), weak.to_owned());
            return Err(BenchmarkError::Empty { folder: folder.to_owned(), strong, weak });
        }
        let listed = contaminated::read(folder)?;
        questions.leave_out(&listed);
        Ok(questions)
    }
}

/// A reading under way.
#[derive(Default)]
struct Reading<'a> {
    /// The strong and the weak model.
    models: [&'a str; 2],
    rows: usize,
    questions: Questions,
}

impl Reading<'_> {
    fn take(&mut self, question: Question) {
        self.rows += 1;
        self.questions.questions.push(question);
    }

    fn reject(&mut self, file: &Path, line: u64, problem: String) {
        self.rows += 1;
        self.questions.rejected += 1;
        if self.questions.examples.len() < EXAMPLES {
            self.questions.examples.push(Rejected { file: file.to_owned(), line, problem });
        }
    }
}

impl Questions {
    /// Leaves out every question of which any turn is listed.
    fn leave_out(&mut self, listed: &BTreeSet<PromptHash>) {
        let before = self.questions.len();
        self.questions
            .retain(|question| !question.turns.iter().any(|turn| listed.contains(&prompt_hash(turn))));
        self.contaminated = before - self.questions.len();
    }
}
