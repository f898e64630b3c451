//! The array in miniature, with everything that real exports hold.

use crate::data::{BattleRow, DataError, FilterCounts, Format, LoadReport, ReadOptions, Row, Verdict, read};
use std::{io::Read as _, path::Path};

const ANONYMOUS: &str = r#"{"model_a":"claude-2","model_b":"gpt-4-0613","winner":"model_b","judge":"0a","turn":1,"anony":true,
    "language":"English","tstamp":1.7e9,"conv_metadata":{"sum_user_tokens":5,"x":[1,{"model_a":"no"}]},"is_code":false,
    "dedup_tag":{"high_freq":false,"sampled":true},"category_tag":{"if_v0.1":{"if":false,"score":2}}}"#;

fn read_array(content: &str, leaderboard_filter: bool) -> Result<(Vec<BattleRow>, LoadReport), DataError> {
    let mut battles = Vec::new();
    let options =
        ReadOptions { format: Some(Format::CleanBattle), leaderboard_filter, ..ReadOptions::default() };
    let report = read(content.as_bytes(), Path::new("clean_battle.json"), &options, &mut |row| {
        battles.extend(if let Row::Battle(battle) = row { Some(battle) } else { None });
        Ok(())
    })?;
    Ok((battles, report))
}

#[test]
fn a_battle_has_its_models_winner_and_language() {
    let (battles, report) = read_array(&format!("[\n{ANONYMOUS}\n]\n"), false).unwrap();
    let expected = BattleRow {
        source: "chatbot_arena".into(),
        prompt_id: None,
        language: Some("English".into()),
        turns: Vec::new(),
        model_a: "claude-2.0".into(),
        model_b: "gpt-4-0613".into(),
        verdict: Verdict::B,
        judge: None,
    };
    assert_eq!((battles, report.rows), (vec![expected], 1));
    assert_eq!(read_array("[]", true).unwrap().1.rows, 0);
}

#[test]
fn the_leaderboards_filter_is_counted_always_and_applied_when_asked() {
    let known = ANONYMOUS.replace("\"anony\":true", "\"anony\":false");
    let repeated = ANONYMOUS.replace("\"sampled\":true", "\"sampled\":false");
    let untagged = ANONYMOUS.replace("\"dedup_tag\"", "\"other_tag\"");
    let elsewhere = untagged.replace("\"turn\":1", "\"sampled\":true");
    let null_tag = r#"{"model_a":"a","model_b":"b","winner":"tie","anony":true,"dedup_tag":null}"#;
    let unsaid = r#"{"model_a":"a","model_b":"b","winner":"tie","dedup_tag":{"sampled":true}}"#;
    let array = [ANONYMOUS, &known, &repeated, &untagged, &elsewhere, null_tag, unsaid].join(",");
    let array = format!("[{array}]");
    let counts = FilterCounts { before: 7, anonymous: 5, sampled: 1 };

    let (battles, report) = read_array(&array, true).unwrap();
    assert_eq!((battles.len(), report.rows, report.filter), (1, 7, Some(counts)));
    let (battles, report) = read_array(&array, false).unwrap();
    assert_eq!((battles.len(), report.rows, report.filter), (7, 7, Some(counts)));
}

#[test]
fn elements_of_any_type_are_refused_by_number_without_stopping() {
    let bad = [
        "7",
        "null",
        "\"x\"",
        "[[]]",
        r#"{"model_a":"a","model_b":"b","winner":null}"#,
        r#"{"model_a":"a","model_b":"b","winner":{"a":1}}"#,
        r#"{"model_a":1.5,"model_b":"b","winner":"tie"}"#,
        r#"{"model_b":"b","winner":"tie"}"#,
        r#"{"model_a":"b","model_b":"b","winner":"tie","model_a":"b"}"#,
    ];
    let good = vec![ANONYMOUS; 900].join(",");
    let (battles, report) = read_array(&format!("[{good},{}]", bad.join(",")), false).unwrap();
    assert_eq!((battles.len(), report.rejected_total()), (900, 9));
    let lines: Vec<u64> = report.examples.iter().map(|example| example.line).collect();
    assert_eq!(lines, [901, 902, 903, 904, 905]);
    let error = read_array("[7]", false).unwrap_err().to_string();
    let expected =
        "clean_battle.json: 1 of 1 rows refused, more than 1 %\n  row 1: it is no object\nMend these rows";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_break_in_the_array_is_an_error_that_says_where() {
    for (content, expected) in [
        (format!("[{ANONYMOUS},\n{ANONYMOUS}"), "row 3: EOF while parsing a list"),
        (format!("[{ANONYMOUS}\n{ANONYMOUS}]"), "row 2: expected `,` or `]`"),
        (format!("[{ANONYMOUS}] trailing"), "trailing characters"),
        (
            "{\"model_a\":1}".to_owned(),
            "line 1, column 1, row 1: invalid type: map, expected an array of battles; expected a JSON",
        ),
    ] {
        let error = read_array(&content, false).unwrap_err().to_string();
        assert!(error.starts_with("clean_battle.json, line ") && error.contains(expected), "{error}");
        assert!(error.contains("expected a JSON array of objects with model_a"), "{error}");
    }
}

#[test]
fn an_endless_element_is_cut_off() {
    let endless = &b"[{\"model_a\":\"a\",\"model_b\":\"b\",\"x\":\""[..];
    let endless = endless.chain(std::io::repeat(b'x'));
    let error =
        read(endless, Path::new("x"), &ReadOptions::default(), &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("a row is longer than"), "{error}");
}

#[test]
fn an_error_of_the_visitor_stops_the_reading() {
    let mut seen = 0;
    let array = format!("[{}]", [ANONYMOUS; 9].join(","));
    let outcome = read(array.as_bytes(), Path::new("x"), &ReadOptions::default(), &mut |_| {
        seen += 1;
        if seen < 3 { Ok(()) } else { Err(DataError::TooMany { what: "models", limit: 2 }) }
    });
    assert!(matches!(outcome, Err(DataError::TooMany { .. })));
    assert_eq!(seen, 3);
}
