//! Battle rows: one comparison of two models' answers.

use super::{
    BattleRow, Row, RowProblem, Verdict, json_lines,
    reading::model_pair,
    text::{Label, Turns},
};
use serde::Deserialize;

/// A row as written. Unknown fields are fine.
#[derive(Deserialize)]
struct Raw {
    source: Option<String>,
    prompt_id: Option<Label>,
    language: Option<String>,
    prompt: Option<Turns>,
    model_a: String,
    model_b: String,
    winner: Option<String>,
    judge: Option<String>,
}

/// Parses one line.
pub(super) fn parse(line: &[u8], default_source: &str) -> Result<Row, RowProblem> {
    let raw: Raw = json_lines::shape(line)?;
    let (model_a, model_b) = model_pair(&raw.model_a, &raw.model_b)?;
    Ok(Row::Battle(BattleRow {
        source: raw.source.unwrap_or_else(|| default_source.to_owned()),
        prompt_id: raw.prompt_id.map(|id| id.0),
        language: raw.language,
        turns: raw.prompt.unwrap_or_default().0,
        model_a,
        model_b,
        verdict: verdict(raw.winner.as_deref())?,
        judge: raw.judge,
    }))
}

/// The verdict that a `winner` field spells.
pub(super) fn verdict(winner: Option<&str>) -> Result<Verdict, RowProblem> {
    let winner = winner.ok_or_else(|| RowProblem::NoWinner("missing".to_owned()))?;
    Verdict::parse(winner).ok_or_else(|| RowProblem::NoWinner(format!("{winner:?}")))
}
