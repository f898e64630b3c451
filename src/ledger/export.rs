//! Requests of a ledger written down for other programs, one by one: no more than some thousands are held in memory.
//!
//! Every format has the same columns (`columns`); what a request's calls and candidates were is JSON in each.

mod columns;
pub mod csv;
mod jsonl;
mod parquet;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Write},
    path::Path,
};

use self::columns::Record;
use super::{
    reader::{ReadError, Reader},
    report::Filter,
};

/// How requests are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExportFormat {
    /// An object of JSON on each line.
    Jsonl,
    /// Comma-separated values, with a header.
    Csv,
    /// Apache Parquet.
    Parquet,
}

impl ExportFormat {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Jsonl, Self::Csv, Self::Parquet];

    /// What it is called, and how files of it end.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
        }
    }

    /// The one that a file's name ends in.
    #[must_use]
    pub fn of_file(path: &Path) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        Self::ALL.into_iter().find(|format| format.name() == ending)
    }
}

/// Why not all was written.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What was read cannot be written.
    #[error("cannot write the requests: {0}")]
    Write(#[from] io::Error),
    /// The same, of Parquet.
    #[error("cannot write the requests: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
}

/// Writes requests in a format.
trait Sink {
    fn write(&mut self, record: &Record<'_>) -> Result<(), ExportError>;

    /// Once all are written.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// Writes the requests of a ledger in the order of their arrival, and tells after each.
///
/// # Errors
/// When the ledger cannot be read, or `out` takes no more: what it has taken is not the whole then.
pub fn export(
    reader: &mut Reader,
    filter: &Filter,
    format: ExportFormat,
    out: &mut (dyn Write + Send),
    written: &mut dyn FnMut(),
) -> Result<(), ExportError> {
    let mut sink: Box<dyn Sink + '_> = match format {
        ExportFormat::Jsonl => Box::new(jsonl::Lines(out)),
        ExportFormat::Csv => Box::new(csv::Table::begin(out)?),
        ExportFormat::Parquet => Box::new(parquet::File::begin(out)?),
    };
    reader.requests(filter, |row| {
        sink.write(&Record::of(&row))?;
        written();
        Ok::<_, ExportError>(())
    })?;
    sink.finish()
}
