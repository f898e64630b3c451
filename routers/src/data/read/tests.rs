//! Files as people have them: blank, wrong, half good, gzipped.

use super::*;
use crate::data::{BattleRow, OutcomeRow, Verdict, VoteRow};
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use std::io::Write as _;

type Rows = Result<(Vec<Row>, LoadReport), DataError>;

fn rows_as(content: &[u8], format: Option<Format>) -> Rows {
    let mut rows = Vec::new();
    let options = ReadOptions { format, ..ReadOptions::default() };
    let report = read(content, Path::new("some/file"), &options, &mut |row| {
        rows.push(row);
        Ok(())
    })?;
    Ok((rows, report))
}

fn rows(content: &str) -> Rows {
    rows_as(content.as_bytes(), None)
}

fn outcome_of(row: &Row) -> &OutcomeRow {
    let Row::Outcome(outcome) = row else { panic!("{row:?}") };
    outcome
}

fn battle_of(row: &Row) -> &BattleRow {
    let Row::Battle(battle) = row else { panic!("{row:?}") };
    battle
}

#[test]
fn outcome_rows_are_read_with_canonical_names_and_lengths_of_each_run() {
    let line = r#"{"id":7,"category":"math","prompt":"1+1?\ud83d","new":{"x":[null]},
        "scores":{"Llama-3.1-405B-Inst@sambanova":1,"Meta-Llama-3.1-405B-Instruct@hyperbolic":0.5, "claude-2":0},
        "out_chars":{"claude-2":12,"Llama-3.1-405B-Inst@sambanova":7,"other":1}}"#;
    let (rows, report) = rows(&line.replace('\n', " ")).unwrap();
    let row = outcome_of(&rows[0]);
    assert_eq!(
        (row.id.as_str(), row.source.as_str(), row.category.as_deref()),
        ("7", "outcomes", Some("math"))
    );
    assert!(row.turns[0].starts_with("1+1?\u{fffd}"), "half a surrogate pair is replaced");
    let runs: Vec<_> = row.runs.iter().map(|run| (run.model.as_str(), run.score, run.out_chars)).collect();
    let model = "llama-3.1-405b-instruct";
    assert_eq!(runs, [(model, 1.0, Some(7.0)), (model, 0.5, None), ("claude-2.0", 0.0, Some(12.0))]);
    assert_eq!((report.format, report.rows), (Format::OutcomeLines, 1));
}

#[test]
fn battle_rows_take_a_prompt_as_text_or_turns_or_not_at_all() {
    let content = r#"
        {"prompt":["a",null,"b"],"model_a":"30b-guanaco","model_b":"gpt-4","winner":"tie (bothbad)","judge":"gpt-4","prompt_id":3}
        {"prompt":"a","model_a":"gpt-4","model_b":"claude-2","winner":"model_b","source":"mine","language":"en"}

        {"model_a":"gpt-4","model_b":"claude-2","winner":"tie"}"#;
    let (rows, report) = rows(content).unwrap();
    let [first, second, third] = [0, 1, 2].map(|row| battle_of(&rows[row]));
    assert_eq!(
        (first.turns.as_slice(), first.verdict),
        (&["a".to_owned(), "b".to_owned()][..], Verdict::TieBothBad)
    );
    assert_eq!((first.model_a.as_str(), first.judge.as_deref()), ("guanaco-33b", Some("gpt-4")));
    assert_eq!((first.source.as_str(), first.prompt_id.as_deref()), ("battles", Some("3")));
    assert_eq!((second.turns[0].as_str(), second.verdict, second.source.as_str()), ("a", Verdict::B, "mine"));
    assert_eq!((third.turns.len(), third.model_b.as_str()), (0, "claude-2.0"));
    assert_eq!(report.rows, 3, "blank lines are no rows");
}

#[test]
fn vote_counts_are_read_by_pair() {
    let content = r#"{"source":"x","models":["claude-2","gpt-4"],"pairs":[[1,0]],"counts":[[1,2,3,4]]}"#;
    let (rows, _) = rows(content).unwrap();
    let expected = VoteRow { model_a: "gpt-4".into(), model_b: "claude-2.0".into(), counts: [1, 2, 3, 4] };
    assert_eq!(rows, [Row::Votes(expected)]);
}

/// A good line, for files that shall stay below one bad row in a hundred.
const GOOD: &str = r#"{"prompt":"a","model_a":"gpt-4","model_b":"claude-2","winner":"tie"}"#;

#[test]
fn bad_rows_are_counted_with_their_lines_and_refused_past_one_in_a_hundred() {
    let bad = [
        r#"{"prompt":"a","model_a":"gpt-4","model_b":"gpt-4","winner":"tie"}"#,
        r#"{"prompt":"a","model_a":"claude-2","model_b":"claude-2.0","winner":"tie"}"#,
        r#"{"prompt":"a","model_a":"gpt-4","model_b":"claude-2","winner":"nobody"}"#,
        r#"{"prompt":"a","model_a":"gpt-4","model_b":"claude-2"}"#,
        r#"{"prompt":"a","model_a":"gpt-4","model_b":" ","winner":"tie"}"#,
        r#"{"prompt":7,"model_a":"gpt-4","model_b":"claude-2","winner":"tie"}"#,
        r#"{"prompt":"a","model_a":"gpt-4","#,
    ];
    let file = |good: usize| format!("{}\n{}", vec![GOOD; good].join("\n"), bad.join("\n"));
    let (rows, report) = rows(&file(693)).unwrap();
    assert_eq!((rows.len(), report.rows, report.rejected_total()), (693, 700, 7));
    let kinds: Vec<_> = report.rejected.into_iter().collect();
    let expected =
        [("model against itself", 2), ("model without a name", 1), ("no winner", 2), ("wrong shape", 2)];
    assert_eq!(kinds, expected);
    assert_eq!(
        report.examples.iter().map(|example| example.line).collect::<Vec<_>>(),
        [694, 695, 696, 697, 698]
    );

    let error = rows_as(file(692).as_bytes(), None).unwrap_err().to_string();
    for part in [
        "some/file: 7 of 699 rows refused",
        "line 693: gpt-4 is compared with itself",
        "line 695: winner is \"nobody\"",
    ] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn scores_that_are_none_are_refused_by_name() {
    for (score, expected) in [
        ("1.5", "the score of claude-2.0 is 1.5, expected a number from 0 to 1"),
        ("-0.1", "-0.1"),
        ("NaN", "expected"),
        ("1e999", "number out of range"),
        ("null", "null"),
        ("\"1\"", "string"),
        ("true", "boolean"),
    ] {
        let line = format!(r#"{{"prompt":"a","scores":{{"claude-2":{score}}}}}"#);
        let error = rows(&line).unwrap_err().to_string();
        assert!(
            error.starts_with("some/file: 1 of 1 rows refused, more than 1 %\n  line 1: ")
                && error.contains(expected),
            "{error}"
        );
    }
    for (line, expected) in [
        (r#"{"prompt":"a","scores":{}}"#, "no scores"),
        (r#"{"prompt":[],"scores":{"gpt-4":1}}"#, "no prompt"),
        (r#"{"scores":{"gpt-4":1}}"#, "missing field `prompt`"),
    ] {
        let error = rows(line).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn blank_wrong_and_broken_files_say_what_was_expected() {
    for (content, parts) in [
        ("", &["some/file: the file is blank; expected outcome rows"][..]),
        ("\u{feff} \n\t", &["blank"]),
        ("prompt,a,b\n1,2,3", &["some/file", "prompt,a,b", "clean_battle"]),
        (
            r#"{"models":["a","b"],"pairs":[[0,1]],"counts":[[1,2,3]]}"#,
            &["some/file, line 1, column 5", "invalid length 3", "pairs: ["],
        ),
        (r#"{"models":["a","b"],"pairs":[[0,1]],"counts":[]}"#, &["1 pairs, but 0 counts"]),
        (r#"{"models":["a","b"],"pairs":[[0,2]],"counts":[[1,2,3,4]]}"#, &["no model has the index 2"]),
        (r#"{"models":["a","b"],"pairs":[[0"#, &["EOF"]),
    ] {
        let error = rows(content).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{content}: {error}");
    }
    assert!(matches!(
        rows_as(GOOD.as_bytes(), Some(Format::OutcomeLines)),
        Err(DataError::TooManyRejected { .. })
    ));
    let missing = read_file(Path::new("no/such/file"), &ReadOptions::default(), &mut |_| (), &mut |_| Ok(()));
    assert!(missing.unwrap_err().to_string().starts_with("no/such/file: "));
}

#[test]
fn gzipped_content_is_read_and_damage_to_it_is_an_error() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(vec![GOOD; 1000].join("\n").as_bytes()).unwrap();
    let packed = encoder.finish().unwrap();
    assert_eq!(rows_as(&packed, None).unwrap().0.len(), 1000);
    // Two members in one file are one content, as gzip itself has it.
    let twice = [&packed[..], &packed].concat();
    assert!(rows_as(&twice, None).is_ok_and(|(rows, _)| rows.len() > 1000));
    let error = rows_as(&packed[..packed.len() - 20], None).unwrap_err();
    assert!(matches!(error, DataError::Io { .. }), "{error}");
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(
        format in prop::option::of(prop::sample::select(&Format::ALL[..])),
        start in "(|\\{|\\[\\{|PAR1|\u{1f}\u{8b})",
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = rows_as(&[start.as_bytes(), &bytes].concat(), format);
    }

    #[test]
    fn mangled_rows_never_panic(
        line in prop::sample::select(vec![GOOD, r#"{"prompt":["a"],"scores":{"gpt-4":1},"out_chars":{"gpt-4":3}}"#]),
        place in any::<prop::sample::Index>(),
        byte: u8,
        format in prop::sample::select(&Format::ALL[..]),
    ) {
        let mut bytes = line.as_bytes().to_vec();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        let _ = rows_as(&bytes, None);
        let _ = rows_as(&bytes, Some(format));
    }
}
