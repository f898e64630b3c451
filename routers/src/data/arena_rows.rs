//! The Arena's rows with conversations: 33k, 100k and 140k, as a JSON object a line.
//!
//! Of a conversation only the user's turns are kept; both models were given the same.

use super::{
    BattleRow, Row, RowProblem,
    battle_rows::verdict,
    json_lines,
    reading::model_pair,
    text::{Joined, Label},
};
use serde::Deserialize;

/// A row as written. Unknown fields are fine.
#[derive(Deserialize)]
pub(super) struct Raw {
    /// The prompt's name in its source.
    pub question_id: Option<Label>,
    pub language: Option<String>,
    pub model_a: String,
    pub model_b: String,
    pub winner: Option<String>,
    pub conversation_a: Vec<Message>,
}

/// One message of a conversation.
#[derive(Deserialize)]
pub(super) struct Message {
    pub role: String,
    /// A string, or a list of parts of which the texts matter.
    pub content: Option<Joined>,
}

/// Parses one line.
pub(super) fn parse(line: &[u8], default_source: &str) -> Result<Row, RowProblem> {
    battle(json_lines::shape(line)?, default_source)
}

/// The battle that a row tells of.
pub(super) fn battle(raw: Raw, source: &str) -> Result<Row, RowProblem> {
    let (model_a, model_b) = model_pair(&raw.model_a, &raw.model_b)?;
    let of_user = raw.conversation_a.into_iter().filter(|message| message.role == "user");
    let turns: Vec<String> = of_user.filter_map(|message| Some(message.content?.0)).collect();
    if turns.is_empty() {
        return Err(RowProblem::NoPrompt);
    }
    Ok(Row::Battle(BattleRow {
        source: source.to_owned(),
        prompt_id: raw.question_id.map(|id| id.0),
        language: raw.language,
        turns,
        model_a,
        model_b,
        verdict: verdict(raw.winner.as_deref())?,
        // `judge` names one of the people here.
        judge: None,
    }))
}

#[cfg(test)]
mod tests;
