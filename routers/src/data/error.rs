//! Why a file was not read.

use super::{LoadReport, Rejection};
use std::{fmt::Write as _, io, path::PathBuf};

/// What to do about a file of which much is refused.
const ADVICE: &str = "Mend these rows or leave them out; where most are refused, it may be the wrong file.";

/// Why a file was not read. Each names the file, and what was found where something else was expected.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// It could not be opened, read, or decompressed.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It has no content.
    #[error("{}: the file is blank; expected {expected}", file.display())]
    Blank {
        /// The file.
        file: PathBuf,
        /// What could have been there.
        expected: &'static str,
    },
    /// Its content is of no known format.
    #[error("{}: the format is not known: {found}; expected {expected}", file.display())]
    UnknownFormat {
        /// The file.
        file: PathBuf,
        /// What its beginning looks like.
        found: String,
        /// What could have been there.
        expected: &'static str,
    },
    /// It breaks its format beyond a row.
    #[error("{}, {place}: {problem}; expected {expected}", file.display())]
    Broken {
        /// The file.
        file: PathBuf,
        /// Where: line and column, or the row.
        place: String,
        /// What is wrong.
        problem: String,
        /// What should have been there.
        expected: &'static str,
    },
    /// More than one row of a hundred is refused: most likely the wrong file.
    #[error("{}: {rejected} of {rows} rows refused, more than 1 %{}\n{ADVICE}", file.display(), describe(examples, unit))]
    TooManyRejected {
        /// The file.
        file: PathBuf,
        /// Rows refused.
        rejected: u64,
        /// Rows met.
        rows: u64,
        /// What the examples' numbers count: lines or rows.
        unit: &'static str,
        /// The first refused rows.
        examples: Vec<Rejection>,
    },
    /// More different names than can be numbered.
    #[error("more than {limit} different {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

impl DataError {
    /// The error of a file whose account shows too many refused rows.
    pub(super) fn too_many_rejected(report: LoadReport) -> Self {
        let rejected = report.rejected_total();
        let LoadReport { file, rows, examples, .. } = report;
        Self::TooManyRejected { file, rejected, rows, unit: report.format.unit(), examples }
    }
}

/// The refused rows, one a line.
fn describe(examples: &[Rejection], unit: &str) -> String {
    let mut text = String::new();
    for Rejection { line, problem } in examples {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {unit} {line}: {problem}");
    }
    text
}
