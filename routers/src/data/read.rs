//! Reading one file of any format, row by row.

use super::{
    DataError, Format, LoadReport, Row, arena_csv, arena_parquet, arena_rows, battle_rows, clean_battle,
    json_lines, open, outcome_rows, reading::Reading, vote_counts,
};
use std::{fs::File, io::Read, path::Path};

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
/// Memory is bounded by the longest row; of Parquet by the largest page, and a gzipped one is held whole. `progress`
/// is told, about every megabyte (of Parquet, every row group), how many bytes of the file were read, and at the end
/// the file's size. Bad rows are counted in the report, with the first few described.
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
    let mut told = 0;
    let mut rising = |bytes: u64| {
        if bytes > told {
            told = bytes;
            progress(bytes);
        }
    };
    let content = open::open(path, &mut rising).map_err(failed)?;
    let mut reading = Reading::start(path, &content.head, options, visit)?;
    if reading.report.format == Format::ArenaParquet && !content.compressed {
        // Parquet is read from its end: by the file, not by the stream.
        drop(content);
        let file = File::open(path).map_err(failed)?;
        arena_parquet::read(file, &mut reading, &mut rising)?;
    } else {
        read_content(content, &mut reading, options)?;
    }
    reading.finish()
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
    let failed = |source| DataError::Io { file: name.to_owned(), source };
    let mut unheard = |_| {};
    let content = open::content(input, &mut unheard).map_err(failed)?;
    let mut reading = Reading::start(name, &content.head, options, visit)?;
    read_content(content, &mut reading, options)?;
    reading.finish()
}

/// Reads opened content.
fn read_content(
    content: open::Content<'_>,
    reading: &mut Reading<'_>,
    options: &ReadOptions,
) -> Result<(), DataError> {
    match reading.report.format {
        Format::OutcomeLines => json_lines::read(content.reader, reading, outcome_rows::parse),
        Format::BattleLines => json_lines::read(content.reader, reading, battle_rows::parse),
        Format::ArenaLines => json_lines::read(content.reader, reading, arena_rows::parse),
        Format::VoteCounts => vote_counts::read(content.reader, reading),
        Format::CleanBattle => clean_battle::read(content.reader, reading, options.leaderboard_filter),
        Format::ArenaCsv => arena_csv::read(content.reader, reading),
        Format::ArenaParquet => {
            let bytes = open::whole(content.reader).map_err(|error| reading.failed(error))?;
            arena_parquet::read(bytes, reading, &mut |_| {})
        }
    }
}

#[cfg(test)]
mod tests;
