//! `usage`.

use std::{fs, path::Path};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::{ledger::written, program, run, status, stderr, stdout};

fn report(path: &Path, more: &[&str]) -> String {
    let arguments = [&["usage", "--database", path.to_str().unwrap()], more].concat();
    let output = run(&arguments);
    assert_eq!((status(&output), stderr(&output)), (0, String::new()), "{more:?}");
    stdout(&output)
}

fn json_of(path: &Path, more: &[&str]) -> Value {
    serde_json::from_str(&report(path, &[&["--format", "json"], more].concat())).unwrap()
}

#[test]
fn a_table_for_people() {
    let (_folder, path) = written();
    let shown = report(&path, &["--from", "2026-11-01", "--to", "2026-11-03"]);
    assert_eq!(
        shown,
        "Usage from 2026-11-01 to 2026-11-02 (UTC)\n\n\
         tenant       model  calls  estimated  prompt  cached  completion  reasoning                cost USD\n\
         =t           m          1          0      10       0           3          0          0.000005000000\n\
         =t           n          2          0      20       0           6          0  9,223,372.036855775807\n\
         ü\\u{1b}[31m  m          1          0      10       0           3          0          0.000005000000\n\
         total                   4          0      40       0          12          0  9,223,372.036865775807\n"
    );
    let one = report(&path, &["--by", "day", "--tenant", "=t", "--from", "2026-11-02"]);
    assert!(one.starts_with("Usage of =t from 2026-11-02 on (UTC)\n\nday "), "{one}");
    assert_eq!(one.lines().count(), 5, "{one}");
    let none = report(&path, &["--tenant", "nobody", "--to", "2027-01-01"]);
    assert_eq!(none, "Usage of nobody to 2026-12-31 (UTC)\n\nNothing was used.\n");
}

#[test]
fn for_programs() {
    let (_folder, path) = written();
    let all = json_of(&path, &["--by", "key,day", "--to", "2027-01-01"]);
    assert_eq!(
        (&all["by"], &all["from"], &all["to"]),
        (&json!(["key", "day"]), &Value::Null, &json!("2027-01-01"))
    );
    let groups = all["usage"].as_array().unwrap();
    let named = |place: usize| (groups[place]["key"].clone(), groups[place]["day"].clone());
    assert_eq!(named(0), (Value::Null, json!("2026-10-31")), "no key comes first");
    assert_eq!(groups.len(), 4);
    let expected = json!({"calls": 1, "estimated_calls": 1, "prompt_tokens": 10, "cached_tokens": 4, "completion_tokens": 3,
        "reasoning_tokens": 1, "cost_usd": 0.000_005, "cost_pico_usd": 5_000_000, "key": null, "day": "2026-10-31"});
    assert_eq!(groups[0], expected);
    assert_eq!(all["total"]["calls"], 5);
    let text =
        report(&path, &["--format", "json", "--by", "model", "--from", "2026-11-01", "--to", "2026-11-03"]);
    // More than 64 bits of 10⁻¹² USD hold, and exact.
    assert!(text.contains("\"cost_usd\": 9223372.036855775807"), "{text}");
    assert!(text.contains("\"cost_pico_usd\": 9223372036855775807"), "{text}");
    // Without days, the month that it is.
    let month = json_of(&path, &[]);
    assert!(month["from"].as_str().unwrap().ends_with("-01"), "{month}");
}

#[test]
fn for_spreadsheets() {
    let (_folder, path) = written();
    let text = report(&path, &["--format", "csv", "--by", "tenant,project", "--to", "2027-01-01"]);
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some(
            "tenant,project,calls,estimated_calls,prompt_tokens,cached_tokens,completion_tokens,reasoning_tokens,cost_usd,cost_pico_usd"
        )
    );
    assert!(lines.next().unwrap().starts_with("'=t,,1,1,"), "{text}");
    assert!(lines.next().unwrap().starts_with("'=t,\"p,1\",3,0,"), "{text}");
}

#[test]
fn a_configuration_names_the_ledger() {
    let (folder, path) = written();
    let config = folder.path().join("config.yaml");
    let usage = |database: &str| {
        let yaml = format!(
            "models: {{a: {{price: {{input: 1, output: 1}}, rated_as: gpt-4-0613}}}}\ntenants: {{t: {{keys: [{{key: '${{CI_KEY}}'}}], pool: [a]}}}}\n{database}"
        );
        fs::write(&config, yaml).unwrap();
        run(&["usage", "--config", config.to_str().unwrap(), "--format", "csv", "--to", "2027-01-01"])
    };
    // Beside it, unless it says otherwise.
    assert_eq!(stdout(&usage("")).lines().count(), 4);
    fs::rename(&path, folder.path().join("other.db")).unwrap();
    assert_eq!(stdout(&usage("database: sqlite:other.db\n")).lines().count(), 4);
    let off = usage("database: none\n");
    assert!(stderr(&off).contains("`database: none`"), "{}", stderr(&off));
    let invalid = usage("nonsense: 1\n");
    assert_eq!(status(&invalid), 1);
    assert!(stderr(&invalid).contains("--database needs no configuration"), "{}", stderr(&invalid));
    // In the folder where one is.
    let missing = program(&["usage"]).current_dir(folder.path()).output().unwrap();
    assert!(stderr(&missing).contains("there is no ledger at pointsman.db"), "{}", stderr(&missing));
    assert!(stderr(&missing).contains("--config or --database says where it is"));
}

#[test]
fn what_is_no_ledger_is_told() {
    let (folder, path) = written();
    let told = |file: &Path| {
        let output = run(&["usage", "--database", file.to_str().unwrap()]);
        assert_eq!((status(&output), stdout(&output)), (1, String::new()));
        stderr(&output)
    };
    assert!(told(&folder.path().join("none.db")).contains("there is no ledger at"));
    assert!(told(folder.path()).contains("is no ledger: expected the database"));
    let other = folder.path().join("a file?mode=rwc#%20.db");
    for content in ["", "no database at all", &"longer than a header of SQLite's ".repeat(40)] {
        fs::write(&other, content).unwrap();
        assert!(told(&other).contains("is no ledger: expected the database"), "{content}");
        assert_eq!(fs::read_to_string(&other).unwrap(), content);
    }
    fs::remove_file(&other).unwrap();
    let foreign = Connection::open(&other).unwrap();
    foreign.execute_batch("CREATE TABLE usage (day); PRAGMA user_version = 1").unwrap();
    drop(foreign);
    assert!(told(&other).contains("is no ledger"));
    for (version, word) in [(99, "is of a newer version (99; this program knows "), (-1, "is no ledger")] {
        Connection::open(&path).unwrap().pragma_update(None, "user_version", version).unwrap();
        assert!(told(&path).contains(word), "{}", told(&path));
    }
    // Damaged past its beginning: an error, whatever it is.
    let mut bytes = fs::read(&path).unwrap();
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 1).unwrap();
    bytes[100..].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    assert!(told(&path).contains("pointsman.db"));
}

#[test]
fn a_wrong_command_line() {
    for (arguments, word) in [
        (&["--from", "2026-11-31"][..], "is no day such as 2026-11-01"),
        (&["--from", "2026-11-02", "--to", "2026-11-02"], "--from must be before --to"),
        (&["--by", "tenant,user"], "takes day, tenant, project, key and model"),
        (&["--by", "day,day"], "twice"),
        (&["--database", "a", "--config", "b"], "cannot be used with"),
        (&["--format", "parquet"], "possible values: table, json, csv"),
    ] {
        let output = run(&[&["usage"], arguments].concat());
        assert_eq!((status(&output), stdout(&output)), (2, String::new()), "{arguments:?}");
        assert!(stderr(&output).contains(word), "{arguments:?}: {}", stderr(&output));
    }
}
