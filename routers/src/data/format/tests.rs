//! Formats are told by content, from whatever beginning there is.

use super::*;
use proptest::prelude::*;

#[test]
fn formats_are_told_by_their_first_row() {
    for (content, expected) in [
        (r#"{"id":"1","source":"s","prompt":"p","scores":{"a":1}}"#, Format::OutcomeLines),
        (
            r#"{"prompt":"a \"scores\" {[ \\","model_a":"a","model_b":"b","winner":"tie"}"#,
            Format::BattleLines,
        ),
        ("\u{feff}\n{\"source\":\"x\",\n \"models\":[\"a\",\"{\"],\"pairs\":[[0,1]],", Format::VoteCounts),
        ("[\n{\"model_a\": \"a\", \"model_b\": \"b\", \"winner\":", Format::CleanBattle),
        ("[]", Format::CleanBattle),
        (
            "id,model_a,model_b,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\r\n",
            Format::ArenaCsv,
        ),
        ("\"id\",\"model_a\",\"model_b\",\"prompt\",\"winner_model_a\"", Format::ArenaCsv),
        (
            r#"{"model_a":"a","model_b":"b","winner":"tie","conversation_a":[{"content":"hi","role":"user"}]}"#,
            Format::ArenaLines,
        ),
        ("PAR1\u{15}\u{4}", Format::ArenaParquet),
    ] {
        assert_eq!(Format::detect(content.as_bytes()), Ok(expected), "{content}");
    }
}

#[test]
fn what_is_no_format_is_described() {
    for (content, expected) in [
        (
            r#"{"question_id":81,"category":"writing","turns":[{"scores":1}]}"#,
            "[question_id, category, turns]",
        ),
        ("prompt,mistralai/Mixtral-8x7B,gpt-4\n", "prompt,mistralai"),
        ("[1, 2]", "[\"1, 2]\""),
        (r#"[{"a":1}]"#, "array of objects with the keys [a]"),
        ("<!DOCTYPE html>", "<!DOCTYPE"),
        ("{", "keys []"),
    ] {
        let found = Format::detect(content.as_bytes()).unwrap_err();
        assert!(found.contains(expected), "{content}: {found}");
    }
}

#[test]
fn names_lead_back_to_formats() {
    for format in Format::ALL {
        assert_eq!(Format::from_name(format.name()), Some(format));
    }
    assert_eq!(Format::from_name("Outcomes"), None);
}

proptest! {
    #[test]
    fn detection_takes_any_bytes(start in "(|\\{|\\[|\\[\\{|PAR)", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Format::detect(&[start.as_bytes(), &bytes].concat());
    }

    #[test]
    fn detection_takes_any_json_like_text(text in "[\\{\\[]([\\{\\}\\[\\],:\"\\\\ab]|\"model_a\"|\"scores\"){0,60}") {
        let _ = Format::detect(text.as_bytes());
    }
}
