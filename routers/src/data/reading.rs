//! What the readers of all formats share: the account of a reading, and models' names.

use super::{
    DataError, Format, LoadReport, Row, RowProblem, format,
    read::{ReadOptions, Visit},
};
use crate::identity;
use std::{
    io,
    path::{Path, PathBuf},
};

/// Of this many rows, one may be refused.
const ROWS_PER_REFUSAL: u64 = 100;

/// A reading under way: what the readers of the formats share.
pub(super) struct Reading<'a> {
    /// The source of rows that name none.
    pub source: String,
    /// The account so far.
    pub report: LoadReport,
    visit: Visit<'a>,
}

impl<'a> Reading<'a> {
    /// Settles the format, by the options or by the content's beginning.
    pub(super) fn start(
        file: &Path,
        head: &[u8],
        options: &ReadOptions,
        visit: Visit<'a>,
    ) -> Result<Self, DataError> {
        let (file, expected) = (file.to_owned(), format::ANY);
        let format = match options.format {
            _ if format::without_mark(head).trim_ascii().is_empty() => {
                return Err(DataError::Blank { file, expected });
            }
            Some(format) => format,
            None => match Format::detect(head) {
                Ok(format) => format,
                Err(found) => return Err(DataError::UnknownFormat { file, found, expected }),
            },
        };
        let source = options.source.clone().unwrap_or_else(|| format.default_source().to_owned());
        Ok(Self { source, report: LoadReport::new(file, format), visit })
    }

    /// Takes the result of parsing the row at `line`.
    pub(super) fn take(&mut self, line: u64, row: Result<Row, RowProblem>) -> Result<(), DataError> {
        self.report.rows += 1;
        match row {
            Ok(row) => (self.visit)(row),
            Err(problem) => {
                self.report.reject(line, problem);
                Ok(())
            }
        }
    }

    /// Counts a row that is good but not wanted.
    pub(super) const fn pass_over(&mut self) {
        self.report.rows += 1;
    }

    /// The error of a file that breaks its format beyond a row.
    pub(super) fn broken(&self, place: String, problem: String, expected: &'static str) -> DataError {
        DataError::Broken { file: self.file(), place, problem, expected }
    }

    /// The error of a file that can't be read on.
    pub(super) fn failed(&self, source: io::Error) -> DataError {
        DataError::Io { file: self.file(), source }
    }

    fn file(&self) -> PathBuf {
        self.report.file.clone()
    }

    /// The report, unless too many rows were refused.
    pub(super) fn finish(self) -> Result<LoadReport, DataError> {
        let refused = self.report.rejected_total();
        if refused.saturating_mul(ROWS_PER_REFUSAL) > self.report.rows {
            return Err(DataError::too_many_rejected(self.report));
        }
        Ok(self.report)
    }
}

/// The canonical form of a model's name in a row.
pub(super) fn model_name(name: &str) -> Result<String, RowProblem> {
    match identity::canonical(name) {
        "" => Err(RowProblem::NoName),
        canonical => Ok(canonical.to_owned()),
    }
}

/// The canonical forms of two models that were compared.
pub(super) fn model_pair(model_a: &str, model_b: &str) -> Result<(String, String), RowProblem> {
    let (model_a, model_b) = (model_name(model_a)?, model_name(model_b)?);
    if model_a == model_b { Err(RowProblem::SelfBattle(model_a)) } else { Ok((model_a, model_b)) }
}
