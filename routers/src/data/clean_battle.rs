//! `clean_battle_*.json`: the Arena's battles without prompts, one JSON array of some two gigabytes.
//!
//! Elements are parsed one by one from the stream, and only the fields that matter are kept of them.

mod element;

use super::{
    BattleRow, DataError, FilterCounts, Row, RowProblem,
    battle_rows::verdict,
    metered::Metered,
    reading::{Reading, model_pair},
};
use crate::json;
use element::{Element, Scalar};
use serde::{
    Deserializer as _,
    de::{Error as _, SeqAccess, Visitor},
};
use std::{
    fmt,
    io::{BufRead, BufReader},
};

/// The shape, for messages.
const EXPECTED: &str =
    "a JSON array of objects with model_a, model_b, winner, anony and dedup_tag: {sampled}";

/// Reads the whole array, with only what the leaderboard counts if `filtered`.
pub(super) fn read(input: impl BufRead, reading: &mut Reading<'_>, filtered: bool) -> Result<(), DataError> {
    reading.report.filter = Some(FilterCounts::default());
    let (metered, row_start) = Metered::new(input);
    // serde_json takes byte by byte; the buffer spares it a call through the layers below for each.
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(1 << 16, metered));
    let mut failure = None;
    let mut take = |row: u64, element| {
        row_start.here();
        let taken = take_element(row, element, reading, filtered);
        taken.map_err(|error| failure = Some(error)).is_ok()
    };
    let outcome = json.deserialize_seq(Elements(&mut take)).and_then(|()| json.end());
    match (failure, outcome) {
        (Some(error), _) => Err(error),
        (None, Err(error)) if error.is_io() => Err(reading.failed(error.into())),
        (None, Err(error)) => {
            let row = reading.report.rows + 1;
            let place = format!("line {}, column {}, row {row}", error.line(), error.column());
            Err(reading.broken(place, json::problem(&error), EXPECTED))
        }
        (None, Ok(())) => Ok(()),
    }
}

/// Takes one element of the array; `row` counts from 1.
fn take_element(
    row: u64,
    element: Option<Element>,
    reading: &mut Reading<'_>,
    filtered: bool,
) -> Result<(), DataError> {
    let shape = || RowProblem::Shape("it is no object".to_owned());
    let parsed = element.ok_or_else(shape).and_then(|element| {
        let anonymous = element.anony == Scalar::Flag(true);
        let sampled = anonymous && element.tag_sampled == Scalar::Flag(true);
        Ok((battle(element, &reading.source)?, anonymous, sampled))
    });
    let (battle, anonymous, sampled) = match parsed {
        Ok(parsed) => parsed,
        Err(problem) => return reading.take(row, Err(problem)),
    };
    let counts = reading.report.filter.get_or_insert_default();
    counts.before += 1;
    counts.anonymous += u64::from(anonymous);
    counts.sampled += u64::from(sampled);
    if filtered && !sampled {
        reading.pass_over();
        return Ok(());
    }
    reading.take(row, Ok(battle))
}

/// The battle that an element tells of.
fn battle(element: Element, source: &str) -> Result<Row, RowProblem> {
    let (model_a, model_b) = (element.model_a.text("model_a")?, element.model_b.text("model_b")?);
    let (model_a, model_b) = model_pair(&model_a, &model_b)?;
    let winner = match &element.winner {
        Scalar::Text(winner) => Some(winner.as_str()),
        Scalar::Missing => None,
        _ => return Err(RowProblem::NoWinner("no string".to_owned())),
    };
    let language = match element.language {
        Scalar::Text(language) => Some(language),
        _ => None,
    };
    Ok(Row::Battle(BattleRow {
        source: source.to_owned(),
        prompt_id: None,
        language,
        turns: Vec::new(),
        model_a,
        model_b,
        verdict: verdict(winner)?,
        judge: None,
    }))
}

/// Hands each element to a function, until that says no.
struct Elements<'a, F>(&'a mut F);

impl<'de, F: FnMut(u64, Option<Element>) -> bool> Visitor<'de> for Elements<'_, F> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of battles")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        let mut row = 0;
        while let Some(element) = array.next_element::<element::Slot>()? {
            row += 1;
            if !(self.0)(row, element.0) {
                return Err(A::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
