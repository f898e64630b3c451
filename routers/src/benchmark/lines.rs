//! JSON lines.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::de::DeserializeOwned;

use super::BenchmarkError;
use crate::json;

/// The longest line read, in bytes.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// Calls `visit` with the number of each line that is not blank, and its row or what is wrong with it.
pub(super) fn read<Row: DeserializeOwned>(
    file: &Path,
    mut visit: impl FnMut(u64, Result<Row, String>) -> Result<(), BenchmarkError>,
) -> Result<(), BenchmarkError> {
    let failed = |source| BenchmarkError::Io { file: file.to_owned(), source };
    let mut reader = BufReader::new(File::open(file).map_err(failed)?);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        let length = reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).map_err(failed)?;
        if length == 0 {
            break;
        }
        if length as u64 == LINE_BYTES_MAX {
            let problem = format!("line {line} is over {LINE_BYTES_MAX} bytes");
            return Err(BenchmarkError::Foreign { file: file.to_owned(), problem });
        }
        if !bytes.trim_ascii().is_empty() {
            visit(line, serde_json::from_slice(&bytes).map_err(problem))?;
        }
    }
    Ok(())
}

/// Of the row: the line that serde_json counts is the row's own first.
fn problem(error: serde_json::Error) -> String {
    format!("{} at column {}", json::problem(&error), error.column())
}
