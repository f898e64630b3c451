//! The Arena's 55k rows: CSV with the prompt as a JSON list of the user's turns and the winner in three columns.

use super::{
    BattleRow, DataError, Row, RowProblem, Verdict, json_lines,
    metered::Metered,
    reading::{Reading, model_pair},
    text::Turns,
};
use crate::csv_lines::CsvLines;
use csv::{ByteRecord, ErrorKind, ReaderBuilder};
use std::io::BufRead;

/// The shape, for messages.
const EXPECTED: &str =
    "CSV with a header line of model_a, model_b, prompt, winner_model_a, winner_model_b, winner_tie";

/// Where the columns are that matter.
struct Columns {
    prompt: usize,
    models: [usize; 2],
    winners: [(Verdict, usize); 3],
}

/// Reads every record.
pub(super) fn read(input: impl BufRead, reading: &mut Reading<'_>) -> Result<(), DataError> {
    let (metered, row_start) = Metered::new(input);
    let mut csv = ReaderBuilder::new().from_reader(metered);
    let header = csv.byte_headers().map_err(|error| failure(error, reading))?;
    let columns = match Columns::find(header) {
        Ok(columns) => columns,
        Err(column) => {
            let problem = format!("there is no column {column}");
            return Err(reading.broken("line 1".to_owned(), problem, EXPECTED));
        }
    };
    let header = header.clone();
    let lines = CsvLines::after(&header, csv.position());
    let mut record = ByteRecord::new();
    loop {
        row_start.here();
        match csv.read_byte_record(&mut record) {
            Ok(false) => return Ok(()),
            Ok(true) => {
                let line = lines.of(&record, csv.position());
                let row = columns.battle(&record, &reading.source);
                reading.take(line, row)?;
            }
            Err(error) if matches!(error.kind(), ErrorKind::UnequalLengths { .. }) => {
                let line = lines.of(&record, csv.position());
                reading.take(line, Err(RowProblem::Shape(unequal(&error))))?;
            }
            Err(error) => return Err(failure(error, reading)),
        }
    }
}

/// The message of a record with too many or too few fields.
fn unequal(error: &csv::Error) -> String {
    match error.kind() {
        ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("{len} fields where the header has {expected_len}")
        }
        _ => error.to_string(),
    }
}

/// An error beyond a record.
fn failure(error: csv::Error, reading: &Reading<'_>) -> DataError {
    let problem = error.to_string();
    match error.into_kind() {
        ErrorKind::Io(error) => reading.failed(error),
        _ => reading.broken(format!("row {}", reading.report.rows + 1), problem, EXPECTED),
    }
}

impl Columns {
    /// Finds the columns by their names; else, the name of one that is not there.
    fn find(header: &ByteRecord) -> Result<Self, &'static str> {
        let place = |name: &'static str| {
            let mut columns = header.iter().map(|column| super::format::without_mark(column).trim_ascii());
            columns.position(|column| column == name.as_bytes()).ok_or(name)
        };
        Ok(Self {
            prompt: place("prompt")?,
            models: [place("model_a")?, place("model_b")?],
            winners: [
                (Verdict::A, place("winner_model_a")?),
                (Verdict::B, place("winner_model_b")?),
                (Verdict::Tie, place("winner_tie")?),
            ],
        })
    }

    /// The battle that a record tells of.
    fn battle(&self, record: &ByteRecord, source: &str) -> Result<Row, RowProblem> {
        let field = |column: usize| record.get(column).unwrap_or_default().trim_ascii();
        let [model_a, model_b] = self.models.map(|column| String::from_utf8_lossy(field(column)));
        let (model_a, model_b) = model_pair(&model_a, &model_b)?;
        let turns = turns(field(self.prompt))?;
        Ok(Row::Battle(BattleRow {
            source: source.to_owned(),
            prompt_id: None,
            language: None,
            turns,
            model_a,
            model_b,
            verdict: self.verdict(record)?,
            judge: None,
        }))
    }

    /// The one verdict whose column is set.
    fn verdict(&self, record: &ByteRecord) -> Result<Verdict, RowProblem> {
        let mut set = Vec::new();
        for (verdict, column) in self.winners {
            match record.get(column).unwrap_or_default().trim_ascii() {
                b"1" | b"1.0" | b"True" | b"true" => set.push(verdict),
                b"0" | b"0.0" | b"False" | b"false" => {}
                other => return Err(RowProblem::NoWinner(format!("{:?}", String::from_utf8_lossy(other)))),
            }
        }
        match set[..] {
            [verdict] => Ok(verdict),
            _ => Err(RowProblem::NoWinner(format!("set in {} of its 3 columns", set.len()))),
        }
    }
}

/// The user's turns: a JSON list, or plain text.
fn turns(prompt: &[u8]) -> Result<Vec<String>, RowProblem> {
    let turns = match prompt {
        [] => Vec::new(),
        [b'[', ..] => json_lines::shape::<Turns>(prompt)?.0,
        _ => vec![String::from_utf8_lossy(prompt).into_owned()],
    };
    if turns.is_empty() { Err(RowProblem::NoPrompt) } else { Ok(turns) }
}

#[cfg(test)]
mod tests;
