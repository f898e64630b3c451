//! Tables of questions with a column per model that says whether its answer was right.

use std::path::{Path, PathBuf};

use csv::{ByteRecord, ErrorKind, ReaderBuilder};

use super::{BenchmarkError, Question, Reading};
use crate::csv_lines::CsvLines;
use crate::evaluate::PairQuality;
use crate::identity;

/// Whether a file is one of MMLU's subjects.
pub(super) fn is_mmlu(name: &str) -> bool {
    name.starts_with("mmlu_") && name.ends_with(".csv")
}

/// Reads every file of the folder whose name is wanted, in the order of their names.
pub(super) fn read_all(
    folder: &Path,
    expected: &'static str,
    is_wanted: impl Fn(&str) -> bool,
    reading: &mut Reading<'_>,
) -> Result<(), BenchmarkError> {
    let failed = |source| BenchmarkError::Io { file: folder.to_owned(), source };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_name().to_str().is_some_and(&is_wanted) {
            files.push(entry.path());
        }
    }
    if files.is_empty() {
        return Err(BenchmarkError::Missing { folder: folder.to_owned(), expected });
    }
    files.sort_unstable();
    files.iter().try_for_each(|file| read(file, reading))
}

fn read(file: &Path, reading: &mut Reading<'_>) -> Result<(), BenchmarkError> {
    let foreign = |problem: String| BenchmarkError::Foreign { file: file.to_owned(), problem };
    let broken = |error: csv::Error| {
        let problem = error.to_string();
        match error.into_kind() {
            ErrorKind::Io(source) => BenchmarkError::Io { file: file.to_owned(), source },
            _ => foreign(format!("{problem}, expected CSV")),
        }
    };
    let mut csv = ReaderBuilder::new().flexible(true).from_path(file).map_err(broken)?;
    let header = csv.byte_headers().map_err(broken)?.clone();
    let columns = Columns::find(&header, reading.models).map_err(foreign)?;
    let lines = CsvLines::after(&header, csv.position());
    let mut record = ByteRecord::new();
    while csv.read_byte_record(&mut record).map_err(broken)? {
        let line = lines.of(&record, csv.position());
        match columns.question(&record) {
            Ok(question) => reading.take(question),
            Err(problem) => reading.reject(file, line, problem),
        }
    }
    Ok(())
}

struct Columns {
    prompt: usize,
    /// Of the strong and the weak model.
    models: [usize; 2],
}

impl Columns {
    fn find(header: &ByteRecord, models: [&str; 2]) -> Result<Self, String> {
        let names: Vec<String> = header
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim_start_matches('\u{feff}').trim().to_owned())
            .collect();
        let prompt = names.iter().position(|name| name == "prompt");
        let column = |model: &str| {
            let wanted = identity::canonical(model);
            names
                .iter()
                .position(|name| name == model)
                .or_else(|| names.iter().position(|name| identity::canonical(name) == wanted))
        };
        let missing = |what: &str| format!("there is no column {what}; the header has {}", names.join(", "));
        Ok(Self {
            prompt: prompt.ok_or_else(|| missing("prompt"))?,
            models: [
                column(models[0]).ok_or_else(|| missing(models[0]))?,
                column(models[1]).ok_or_else(|| missing(models[1]))?,
            ],
        })
    }

    fn question(&self, record: &ByteRecord) -> Result<Question, String> {
        let field = |column: usize| record.get(column).ok_or_else(|| format!("has {} fields", record.len()));
        let prompt = String::from_utf8_lossy(field(self.prompt)?).into_owned();
        if prompt.trim().is_empty() {
            return Err("the prompt is empty".to_owned());
        }
        let quality = |column: usize| right_or_wrong(field(column)?.trim_ascii());
        let [strong, weak] = self.models;
        let quality = PairQuality { strong: quality(strong)?, weak: quality(weak)? };
        Ok(Question { turns: vec![prompt], quality })
    }
}

fn right_or_wrong(field: &[u8]) -> Result<f64, String> {
    match field {
        b"True" | b"true" | b"TRUE" | b"1" | b"1.0" => Ok(1.0),
        b"False" | b"false" | b"FALSE" | b"0" | b"0.0" => Ok(0.0),
        other => Err(format!("{:?} is neither True nor False", String::from_utf8_lossy(other))),
    }
}
