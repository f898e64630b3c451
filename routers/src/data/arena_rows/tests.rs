//! Rows of the three published sets, in miniature.

use crate::data::{DataError, Format, ReadOptions, Row, Verdict, read};
use std::path::Path;

fn rows(content: &str) -> Result<Vec<Row>, DataError> {
    let mut rows = Vec::new();
    let report = read(content.as_bytes(), Path::new("rows.jsonl"), &ReadOptions::default(), &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    assert_eq!(report.format, Format::ArenaLines);
    Ok(rows)
}

#[test]
fn only_the_users_turns_are_kept() {
    let row = r#"{"question_id":"q","model_a":"claude-v1","model_b":"gpt-4","winner":"tie (bothbad)","judge":"arena_user_9",
        "conversation_a":[{"content":"be brief","role":"system"},{"content":"hi","role":"user"},{"content":"hello","role":"assistant"},
        {"content":"more","role":"user"}],"conversation_b":[{"content":"other"}],"turn":2,"language":"English","tstamp":1.5}"#;
    let rows = rows(&row.replace('\n', " ")).unwrap();
    let Row::Battle(battle) = &rows[0] else { panic!("{rows:?}") };
    assert_eq!(battle.turns, ["hi", "more"]);
    assert_eq!((battle.model_a.as_str(), battle.verdict), ("claude-1", Verdict::TieBothBad));
    assert_eq!((battle.language.as_deref(), battle.prompt_id.as_deref()), (Some("English"), Some("q")));
    assert_eq!((battle.judge.as_deref(), battle.source.as_str()), (None, "chatbot_arena"), "people judged");
}

#[test]
fn content_may_come_in_parts() {
    let row = r#"{"model_a":"a","model_b":"b","winner":"both_bad","conversation_a":[{"role":"user","content":
        [{"type":"image","text":null,"image":"x"},{"type":"text","text":"what"},{"type":"text","text":"is it?"}]}]}"#;
    let rows = rows(&row.replace('\n', " ")).unwrap();
    let Row::Battle(battle) = &rows[0] else { panic!("{rows:?}") };
    assert_eq!(battle.turns, ["what\nis it?"]);
}

#[test]
fn a_conversation_without_a_user_is_no_prompt() {
    let row = r#"{"model_a":"a","model_b":"b","winner":"tie","conversation_a":[{"role":"assistant","content":"hi"}]}"#;
    assert!(rows(row).unwrap_err().to_string().contains("line 1: no prompt"));
}
