//! Rows that are a JSON object a line.

use super::{DataError, Row, RowProblem, format, metered::ROW_BYTES_MAX, reading::Reading};
use crate::json;
use std::io::{BufRead, Read};

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
            .take(ROW_BYTES_MAX + 1)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| reading.failed(error))?;
        if count == 0 {
            return Ok(());
        }
        if count as u64 > ROW_BYTES_MAX {
            let problem = format!("the line is longer than {ROW_BYTES_MAX} bytes");
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
    // The line that serde_json counts is the row's own first, and would mislead.
    let problem =
        |error| RowProblem::Shape(format!("{} at column {}", json::problem(&error), error.column()));
    serde_json::from_slice(text).map_err(problem)
}
