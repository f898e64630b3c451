//! Outcome rows: the scores that models reached on a prompt.

use super::{
    OutcomeRow, Row, RowProblem, Run, json_lines,
    reading::model_name,
    text::{Label, Turns},
};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use std::{collections::HashMap, fmt};

/// A row as written. Unknown fields are fine.
#[derive(Deserialize)]
struct Raw {
    id: Option<Label>,
    source: Option<String>,
    category: Option<String>,
    language: Option<String>,
    prompt: Turns,
    scores: Entries,
    out_chars: Option<Entries>,
}

/// Parses one line.
pub(super) fn parse(line: &[u8], default_source: &str) -> Result<Row, RowProblem> {
    let raw: Raw = json_lines::shape(line)?;
    if raw.prompt.0.is_empty() {
        return Err(RowProblem::NoPrompt);
    }
    if raw.scores.0.is_empty() {
        return Err(RowProblem::NoScores);
    }
    // Lengths belong to spellings, not to models: two providers' runs of a model have each their own.
    let lengths: HashMap<String, f64> = raw.out_chars.unwrap_or_default().0.into_iter().collect();
    let runs =
        raw.scores.0.into_iter().map(|(spelling, score)| run(&spelling, score, lengths.get(&spelling)));
    Ok(Row::Outcome(OutcomeRow {
        id: raw.id.unwrap_or_default().0,
        source: raw.source.unwrap_or_else(|| default_source.to_owned()),
        category: raw.category,
        language: raw.language,
        turns: raw.prompt.0,
        runs: runs.collect::<Result<_, _>>()?,
    }))
}

/// One run, if its score is one.
fn run(spelling: &str, score: f64, out_chars: Option<&f64>) -> Result<Run, RowProblem> {
    let model = model_name(spelling)?;
    if !(0.0..=1.0).contains(&score) {
        return Err(RowProblem::Score { model, score: score.to_string() });
    }
    // Adding zero turns -0 into 0: the two are one score.
    Ok(Run { model, score: score + 0.0, out_chars: out_chars.copied() })
}

/// The entries of a JSON object from names to numbers, in order; a name may occur twice.
#[derive(Default)]
struct Entries(Vec<(String, f64)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor)
    }
}

struct EntriesVisitor;

impl<'de> Visitor<'de> for EntriesVisitor {
    type Value = Entries;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object from model names to numbers")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}
