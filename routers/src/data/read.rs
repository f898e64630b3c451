//! Reading one file of any format, row by row.

use super::{
    DataError, Format, LoadReport, Row, RowProblem, battle_rows, format, json_lines, open, outcome_rows,
    vote_counts,
};
use crate::identity;
use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

/// One refused row in this many is still accepted.
const ACCEPTED_REFUSALS: u64 = 100;

/// How to read a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadOptions {
    /// The format; `None`: told by the content.
    pub format: Option<Format>,
    /// The source of rows that name none; `None`: [`Format::default_source`].
    pub source: Option<String>,
    /// Of `clean_battle`, only the rows that the Arena's leaderboard counts: anonymous and sampled.
    pub leaderboard_filter: bool,
}

/// What a visitor does with each row.
pub type Visit<'a> = &'a mut dyn FnMut(Row) -> Result<(), DataError>;

/// Streams the rows of a file, plain or gzipped, to `visit`.
///
/// Memory is bounded by the longest row, except for Parquet (a row group). `progress` is told, about every megabyte,
/// how many bytes of the file were read. Bad rows are counted in the report, with the first few described.
///
/// # Errors
/// When the file can't be read, is blank, of no known format, broken beyond a row, or when more than 1 % of its rows
/// are refused: then the rows already visited are worth nothing. Errors of `visit` are passed on.
pub fn read_file(
    path: &Path,
    options: &ReadOptions,
    progress: &mut dyn FnMut(u64),
    visit: Visit<'_>,
) -> Result<LoadReport, DataError> {
    let failed = |source| DataError::Io { file: path.to_owned(), source };
    let content = open::open(path, progress).map_err(failed)?;
    read_content(content, path, options, visit)
}

/// As [`read_file`], of any bytes; `name` stands for the file in messages.
///
/// # Errors
/// As [`read_file`].
pub fn read(
    input: impl Read,
    name: &Path,
    options: &ReadOptions,
    visit: Visit<'_>,
) -> Result<LoadReport, DataError> {
    let mut ignored = |_| {};
    let content = open::content(input, &mut ignored)
        .map_err(|source| DataError::Io { file: name.to_owned(), source })?;
    read_content(content, name, options, visit)
}

/// Reads opened content.
fn read_content(
    content: open::Content<'_>,
    path: &Path,
    options: &ReadOptions,
    visit: Visit<'_>,
) -> Result<LoadReport, DataError> {
    let file = path.to_owned();
    if format::without_mark(&content.head).trim_ascii().is_empty() {
        let expected = format::ANY;
        return Err(DataError::Blank { file, expected });
    }
    let format = match options.format {
        Some(format) => format,
        None => Format::detect(&content.head).map_err(|found| DataError::UnknownFormat {
            file: file.clone(),
            found,
            expected: format::ANY,
        })?,
    };
    let source = options.source.clone().unwrap_or_else(|| format.default_source().to_owned());
    let mut reading = Reading { source, report: LoadReport::new(file, format), visit };
    match format {
        Format::OutcomeLines => json_lines::read(content.reader, &mut reading, outcome_rows::parse)?,
        Format::BattleLines => json_lines::read(content.reader, &mut reading, battle_rows::parse)?,
        Format::VoteCounts => vote_counts::read(content.reader, &mut reading)?,
        _ => {
            return Err(reading.broken(
                "at its start".to_owned(),
                format!("no reader for {} yet", format.name()),
                format::ANY,
            ));
        }
    }
    reading.finish()
}

/// A reading under way: what the readers of the formats share.
pub(super) struct Reading<'a> {
    /// The source of rows that name none.
    pub source: String,
    /// The account so far.
    pub report: LoadReport,
    visit: Visit<'a>,
}

impl Reading<'_> {
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
    fn finish(self) -> Result<LoadReport, DataError> {
        let refused = self.report.rejected_total();
        if refused.saturating_mul(ACCEPTED_REFUSALS) > self.report.rows {
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

#[cfg(test)]
mod tests;
