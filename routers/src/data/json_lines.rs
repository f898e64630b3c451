//! Rows that are a JSON object a line.

use super::{DataError, Row, RowProblem, format, read::Reading};
use std::io::{BufRead, Read};

/// The longest line accepted, in bytes: far above any prompt, far below the memory.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// How a line becomes a row, given the source of rows that name none.
type Parse = fn(&[u8], &str) -> Result<Row, RowProblem>;

/// Reads every line that isn't blank.
pub(super) fn read(
    mut input: impl BufRead,
    reading: &mut Reading<'_>,
    parse: Parse,
) -> Result<(), DataError> {
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        bytes.clear();
        line += 1;
        let count = input
            .by_ref()
            .take(LINE_BYTES_MAX + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| reading.failed(error))?;
        if count == 0 {
            return Ok(());
        }
        if count as u64 > LINE_BYTES_MAX {
            let problem = format!("the line is longer than {LINE_BYTES_MAX} bytes");
            return Err(reading.broken(format!("line {line}"), problem, "a JSON object a line"));
        }
        let text = if line == 1 { format::without_mark(&bytes) } else { &bytes };
        if !text.trim_ascii().is_empty() {
            let row = parse(text, &reading.source);
            reading.take(line, row)?;
        }
    }
}

/// Parses a line as JSON of some shape.
pub(super) fn shape<'a, T: serde::Deserialize<'a>>(text: &'a [u8]) -> Result<T, RowProblem> {
    serde_json::from_slice(text).map_err(|error| RowProblem::Shape(without_line(&error)))
}

/// serde_json's message; its line number counts from the row's own start and would mislead.
fn without_line(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match message.rsplit_once(" at line 1 column ") {
        Some((problem, column)) => format!("{problem} at column {column}"),
        None => message,
    }
}
