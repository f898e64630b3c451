//! The published CSV in miniature, and what spreadsheets make of it.

use crate::data::{BattleRow, DataError, Format, LoadReport, ReadOptions, Row, Verdict, read};
use std::{io::Read as _, path::Path};

const HEADER: &str =
    "id,model_a,model_b,prompt,response_a,response_b,winner_model_a,winner_model_b,winner_tie\n";

fn read_csv(content: &str) -> Result<(Vec<BattleRow>, LoadReport), DataError> {
    let mut battles = Vec::new();
    let options = ReadOptions { format: Some(Format::ArenaCsv), ..ReadOptions::default() };
    let report = read(content.as_bytes(), Path::new("train.csv"), &options, &mut |row| {
        battles.extend(if let Row::Battle(battle) = row { Some(battle) } else { None });
        Ok(())
    })?;
    Ok((battles, report))
}

#[test]
fn prompts_are_lists_of_turns_over_several_lines() {
    let content = format!(
        "\u{feff}{HEADER}{}",
        "30192,gpt-4-1106-preview,claude-2,\"[\"\"Is it\\nright \\ud83d?\"\",null,\"\"And \\u00fc?\"\"]\",\"[\"\"x\"\"]\",\"[\"\"y\"\"]\",1,0,0\r\n\
         7,koala-13b,gpt-4-0613,plain,x,y,0,0,1\n"
    );
    let (battles, report) = read_csv(&content).unwrap();
    assert_eq!((battles.len(), report.rows), (2, 2));
    assert!(battles[0].turns[0].starts_with("Is it\nright \u{fffd}") && battles[0].turns[1] == "And ü?");
    assert_eq!((battles[0].model_b.as_str(), battles[0].verdict), ("claude-2.0", Verdict::A));
    assert_eq!((battles[1].turns[0].as_str(), battles[1].verdict), ("plain", Verdict::Tie));
}

#[test]
fn bad_records_are_counted_with_the_line_they_start_on() {
    let good = "1,gpt-4,koala-13b,\"[\"\"two\"\",\n\"\"lines\"\"]\",x,y,0,1,0\n".repeat(500);
    let bad = "2,gpt-4,koala-13b,\"[\"\"a\"\"]\",x,y,1,1,0\n\
               3,gpt-4,koala-13b,\"[\"\"a\"\"]\",x,y,0,0,0\n\
               4,gpt-4,koala-13b,\"[broken\",x,y,1,0,0\n\
               5,too,short\n\
               6,gpt-4,koala-13b,\"[\"\"a\"\"]\",x,y,maybe,0,0\n";
    let text = format!("{HEADER}{good}{bad}");
    for text in [text.replace('\n', "\r\n"), text] {
        let (battles, report) = read_csv(&text).unwrap();
        assert_eq!((battles.len(), report.rows, report.rejected_total()), (500, 505, 5));
        let examples: Vec<_> =
            report.examples.iter().map(|of| format!("{}: {}", of.line, of.problem)).collect();
        for (example, expected) in examples.iter().zip([
            "1002: winner is set in 2 of its 3 columns",
            "1003: winner is set in 0 of its 3 columns",
            "1004: expected value",
            "1005: 3 fields where the header has 9",
            "1006: winner is \"maybe\"",
        ]) {
            assert!(example.starts_with(expected), "{examples:?}");
        }
    }
}

#[test]
fn a_missing_column_is_named() {
    let error = read_csv("id,model_a,model_b,prompt,winner\n1,a,b,c,d\n").unwrap_err().to_string();
    assert!(
        error.contains("train.csv, line 1: there is no column winner_model_a; expected CSV with"),
        "{error}"
    );
}

#[test]
fn an_endless_quotation_is_cut_off() {
    let endless = HEADER.as_bytes().chain(&b"1,\""[..]).chain(std::io::repeat(b'x'));
    let options = ReadOptions::default();
    let error = read(endless, Path::new("train.csv"), &options, &mut |_| Ok(())).unwrap_err().to_string();
    assert!(error.contains("a row is longer than"), "{error}");
}
