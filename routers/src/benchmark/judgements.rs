//! MT-Bench: `question.jsonl` with two turns each, `judgements.jsonl` with a judge's score of each turn.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::{BenchmarkError, Question, Reading};
use crate::benchmark::lines;
use crate::evaluate::PairQuality;
use crate::identity;

#[derive(Deserialize)]
struct QuestionRow {
    question_id: u64,
    turns: Vec<String>,
}

#[derive(Deserialize)]
struct JudgementRow {
    question_id: u64,
    model: String,
    turn: u32,
    score: f64,
}

/// The sum and the number of a turn's scores.
type Scores = BTreeMap<(u64, usize, u32), (f64, f64)>;

pub(super) fn read(folder: &Path, reading: &mut Reading<'_>) -> Result<(), BenchmarkError> {
    let (questions, judgements) = (folder.join("question.jsonl"), folder.join("judgements.jsonl"));
    for (file, expected) in [(&questions, "question.jsonl"), (&judgements, "judgements.jsonl")] {
        if !file.exists() {
            return Err(BenchmarkError::Missing { folder: folder.to_owned(), expected });
        }
    }
    let scores = read_scores(&judgements, reading)?;
    lines::read(&questions, |line, row: Result<QuestionRow, String>| {
        match row.and_then(|row| question(row, &scores)) {
            Ok(question) => reading.take(question),
            Err(problem) => reading.reject(&questions, line, problem),
        }
        Ok(())
    })
}

/// The scores of the two models' turns; those of other models are passed over.
fn read_scores(file: &Path, reading: &mut Reading<'_>) -> Result<Scores, BenchmarkError> {
    let wanted = reading.models.map(identity::canonical);
    let mut scores = Scores::new();
    lines::read(file, |line, row: Result<JudgementRow, String>| {
        let problem = match row {
            Ok(row) => {
                let Some(model) = wanted.iter().position(|name| *name == identity::canonical(&row.model))
                else {
                    return Ok(());
                };
                // A judge whose answer could not be read is noted as −1.
                if (0.0..=10.0).contains(&row.score) {
                    let (sum, count) = scores.entry((row.question_id, model, row.turn)).or_default();
                    *sum += row.score;
                    *count += 1.0;
                    return Ok(());
                }
                format!("the score is {}, expected 0 to 10", row.score)
            }
            Err(problem) => problem,
        };
        reading.reject(file, line, problem);
        Ok(())
    })?;
    Ok(scores)
}

fn question(row: QuestionRow, scores: &Scores) -> Result<Question, String> {
    if row.turns.first().is_none_or(|turn| turn.trim().is_empty()) {
        return Err("the question has no first turn".to_owned());
    }
    let quality = |model: usize, name: &str| {
        let of_turns = scores.range((row.question_id, model, 0)..=(row.question_id, model, u32::MAX));
        let means: Vec<f64> = of_turns.map(|(_, (sum, count))| sum / count).collect();
        if means.len() == row.turns.len() {
            return Ok(means.iter().sum::<f64>() / means.len() as f64);
        }
        let (found, turns) = (means.len(), row.turns.len());
        Err(format!("{found} of the {turns} turns of the {name} model are judged"))
    };
    let quality = PairQuality { strong: quality(0, "strong")?, weak: quality(1, "weak")? };
    Ok(Question { turns: row.turns, quality })
}
