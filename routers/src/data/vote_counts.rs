//! Arena votes as counts per pair of models.

use super::{
    DataError, Row, RowProblem, VoteRow,
    reading::{Reading, model_pair},
};
use crate::json;
use serde::Deserialize;
use std::io::BufRead;

/// The largest file accepted, in bytes: every pair of ten thousand models would fit.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// The shape, for messages.
const EXPECTED: &str = "an object with models: [names], pairs: [[index, index], …] and, of the same length, \
                        counts: [[first wins, second wins, tie, tie (bothbad)], …]";

/// The file. Unknown fields are fine.
#[derive(Deserialize)]
struct Raw {
    models: Vec<String>,
    pairs: Vec<[usize; 2]>,
    counts: Vec<[u64; 4]>,
}

/// Reads the whole file; a pair is a row.
pub(super) fn read(input: impl BufRead, reading: &mut Reading<'_>) -> Result<(), DataError> {
    let raw: Raw = serde_json::from_reader(input.take(FILE_BYTES_MAX)).map_err(|error| {
        if error.is_io() {
            return reading.failed(error.into());
        }
        let place = format!("line {}, column {}", error.line(), error.column());
        reading.broken(place, json::problem(&error), EXPECTED)
    })?;
    if raw.pairs.len() != raw.counts.len() {
        let problem = format!("{} pairs, but {} counts", raw.pairs.len(), raw.counts.len());
        return Err(reading.broken("at its end".to_owned(), problem, EXPECTED));
    }
    for (row, (&pair, &counts)) in (1..).zip(raw.pairs.iter().zip(&raw.counts)) {
        let votes = votes(&raw.models, pair, counts);
        reading.take(row, votes)?;
    }
    Ok(())
}

/// The votes of one pair.
fn votes(models: &[String], pair: [usize; 2], counts: [u64; 4]) -> Result<Row, RowProblem> {
    let [a, b] = pair.map(|index| {
        models.get(index).ok_or_else(|| RowProblem::Shape(format!("no model has the index {index}")))
    });
    let (model_a, model_b) = model_pair(a?, b?)?;
    Ok(Row::Votes(VoteRow { model_a, model_b, counts }))
}
