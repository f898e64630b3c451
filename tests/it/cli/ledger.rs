//! `ledger export`, and ledgers to read.

use std::{
    fs::{self, Permissions},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::Field,
};
use pointsman::{
    config::Database,
    ledger::{
        Ledger,
        row::{Call, Row, UsedRow},
    },
    openai::usage::Usage,
    telemetry::metrics::Metrics,
};
use rusqlite::Connection;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{program, run, status, stderr, stdout};

/// The first of November 2026.
const NOVEMBER: i64 = 20_758;

/// A ledger of some requests, of the last day of October 2026 and the first two of November.
pub(super) fn written() -> (tempfile::TempDir, PathBuf) {
    let used = |pico| Some(UsedRow { cost_pico_usd: Some(pico), ..UsedRow::of(Usage::of(10, 3)) });
    let estimated =
        UsedRow { cached_tokens: 4, reasoning_tokens: 1, estimated: true, ..used(5_000_000).unwrap() };
    let (project, key) = (Some("p,1"), Some("k"));
    ledger_of([
        request(NOVEMBER - 1, "=1+1", ("=t", None, None), &[("n", None), ("m", Some(estimated))]),
        request(NOVEMBER, "req_2", ("=t", project, key), &[("n", used(i64::MAX))]),
        request(
            NOVEMBER + 1,
            "a\"b,c",
            ("=t", project, key),
            &[("m", used(5_000_000)), ("n", used(1_000_000))],
        ),
        request(NOVEMBER + 1, "req_4", ("ü\u{1b}[31m", None, Some("@k")), &[("m", used(5_000_000))]),
        request(NOVEMBER + 1, "refused", ("=t", None, None), &[]),
    ])
}

fn request(
    day: i64,
    name: &str,
    (tenant, project, key): (&str, Option<&str>, Option<&str>),
    calls: &[(&str, Option<UsedRow>)],
) -> Row {
    Row {
        id: Uuid::now_v7(),
        arrived_ms: day * 86_400_000 + 5,
        request_id: name.to_owned(),
        tenant: tenant.to_owned(),
        project: project.map(str::to_owned),
        key: key.map(str::to_owned),
        route: Some("auto".to_owned()),
        router: Some("mf".to_owned()),
        decision_us: Some(11),
        candidates: vec![("m".to_owned(), 0.5), ("n".to_owned(), -1.25)],
        model: calls.last().map(|(model, _)| (*model).to_owned()),
        outcome: "ok".to_owned(),
        code: None,
        answer_us: Some(1500),
        duration_us: 20_000,
        artifact: Some("0123456789ab".to_owned()),
        cache: Some("miss".to_owned()),
        tags: Some(r#"{"team":"search"}"#.to_owned()),
        prompt: Some("=what?\n".to_owned()),
        calls: calls.iter().map(|(model, used)| Call { model: (*model).to_owned(), used: *used }).collect(),
    }
}

/// A ledger into which a gateway took these from where they waited.
fn ledger_of(rows: impl IntoIterator<Item = Row>) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pointsman.db");
    let lines = rows.into_iter().map(|row| format!("{}\n", json!({"Request": row})));
    fs::write(folder.path().join("pointsman.db.spill"), lines.collect::<String>()).unwrap();
    Ledger::open(&Database::Sqlite(path.clone()), None, Arc::new(Metrics::new().unwrap())).unwrap().end();
    (folder, path)
}

fn export(path: &Path, more: &[&str]) -> String {
    let output = run(&[&["ledger", "export", "--database", path.to_str().unwrap()], more].concat());
    assert_eq!((status(&output), stderr(&output)), (0, String::new()), "{more:?}");
    stdout(&output)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn json_lines() {
    let (_folder, path) = written();
    let text = export(&path, &["--format", "jsonl"]);
    let all = lines(&text);
    let names: Vec<&str> = all.iter().map(|line| line["request_id"].as_str().unwrap()).collect();
    assert_eq!(names, ["=1+1", "req_2", "a\"b,c", "req_4", "refused"]);
    let mut third = all[2].clone();
    assert!(Uuid::parse_str(third["id"].take().as_str().unwrap()).is_ok());
    let tokens = json!({"prompt_tokens": 10, "cached_tokens": 0, "audio_prompt_tokens": 0, "completion_tokens": 3,
        "reasoning_tokens": 0, "audio_completion_tokens": 0, "estimated": false});
    let call = |model: &str, usd: f64, pico: i64| {
        let mut call = tokens.clone();
        call["model"] = json!(model);
        call["cost_usd"] = json!(usd);
        call["cost_pico_usd"] = json!(pico);
        call
    };
    assert_eq!(
        third,
        json!({"id": null, "arrived": "2026-11-02T00:00:00.005Z", "request_id": "a\"b,c", "tenant": "=t", "project": "p,1",
            "key": "k", "route": "auto", "router": "mf",
            "artifact": "0123456789ab", "cache": "miss", "tags": {"team": "search"}, "prompt": "=what?\n", "decision_us": 11, "model": "n", "outcome": "ok", "code": null,
            "answer_us": 1500, "duration_us": 20_000, "call_count": 2, "estimated_calls": 0, "prompt_tokens": 20,
            "cached_tokens": 0, "completion_tokens": 6, "reasoning_tokens": 0, "cost_usd": 0.000_006, "cost_pico_usd": 6_000_000,
            "candidates": [{"model": "m", "skill": 0.5}, {"model": "n", "skill": -1.25}],
            "calls": [call("m", 0.000_005, 5_000_000), call("n", 0.000_001, 1_000_000)]})
    );
    assert_eq!(all[0]["calls"][0], json!({"model": "n"}), "nothing is known to have been used");
    assert!(text.contains("\"cost_usd\":9223372.036854775807,"), "exact");
    assert_eq!((&all[4]["calls"], &all[4]["cost_usd"]), (&json!([]), &Value::Null));
    let few =
        export(&path, &["--format", "jsonl", "--from", "2026-11-01", "--to", "2026-11-03", "--tenant", "=t"]);
    assert_eq!(lines(&few), [&all[1..3], &all[4..]].concat());
}

#[test]
fn comma_separated_values() {
    let (folder, path) = written();
    let file = folder.path().join("requests.csv");
    fs::write(&file, "what was there before").unwrap();
    assert_eq!(export(&path, &["--out", file.to_str().unwrap()]), "");
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(text, export(&path, &["--format", "csv", "--out", "-"]));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names = reader.headers().unwrap().clone();
    let objects = lines(&export(&path, &["--format", "jsonl"]));
    let records: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), objects.len());
    for (record, object) in records.iter().zip(&objects) {
        assert_eq!(names.len(), object.as_object().unwrap().len());
        for (name, field) in names.iter().zip(record) {
            let plain = field.strip_prefix('\'').unwrap_or(field);
            match &object[name] {
                Value::Null => assert_eq!(field, ""),
                Value::String(text) => assert_eq!(plain, text),
                other => assert_eq!(&serde_json::from_str::<Value>(field).unwrap(), other),
            }
        }
    }
    // What a spreadsheet would run begins with '.
    let field = |row: usize, name: &str| &records[row][names.iter().position(|known| known == name).unwrap()];
    assert_eq!((field(0, "request_id"), field(0, "tenant"), field(3, "key")), ("'=1+1", "'=t", "'@k"));
    assert_eq!((field(1, "request_id"), field(1, "cost_usd")), ("req_2", "9223372.036854775807"));
    assert!(!folder.path().join("requests.csv.unfinished").exists());
}

#[test]
fn parquet_files() {
    // More than are written together.
    let rows = (0..20_003).map(|number| {
        let used =
            UsedRow { cost_pico_usd: (number % 2 == 0).then_some(number), ..UsedRow::of(Usage::of(10, 3)) };
        let key = (number % 3 == 0).then_some("k");
        request(NOVEMBER, &format!("req_{number}"), ("t", None, key), &[("m", Some(used))])
    });
    let (folder, path) = ledger_of(rows);
    let file = folder.path().join("requests.parquet");
    assert_eq!(export(&path, &["--out", file.to_str().unwrap()]), "");
    let reader = SerializedFileReader::new(fs::File::open(&file).unwrap()).unwrap();
    assert_eq!((reader.metadata().file_metadata().num_rows(), reader.num_row_groups()), (20_003, 2));
    let mut seen = vec![false; 20_003];
    for row in reader.get_row_iter(None).unwrap() {
        let fields: Vec<(String, Field)> = row.unwrap().into_columns();
        let field = |name: &str| &fields.iter().find(|(known, _)| known == name).unwrap().1;
        let text = |name: &str| match field(name) {
            Field::Str(text) => text.clone(),
            other => panic!("{name}: {other:?}"),
        };
        let number: i64 = text("request_id")[4..].parse().unwrap();
        seen[usize::try_from(number).unwrap()] = true;
        assert_eq!(*field("arrived"), Field::TimestampMillis(NOVEMBER * 86_400_000 + 5));
        assert_eq!((field("prompt_tokens"), field("project")), (&Field::Long(10), &Field::Null));
        assert_eq!(matches!(field("key"), Field::Null), number % 3 != 0);
        let cost = if number % 2 == 0 { Field::Long(number) } else { Field::Null };
        assert_eq!(*field("cost_pico_usd"), cost);
        assert_eq!(matches!(field("cost_usd"), Field::Double(_)), number % 2 == 0);
        let calls: Value = serde_json::from_str(&text("calls")).unwrap();
        assert_eq!((&calls[0]["model"], &calls[0]["completion_tokens"]), (&json!("m"), &json!(3)));
    }
    assert!(seen.iter().all(|seen| *seen));
}

#[test]
fn an_empty_ledger_is_exported_too() {
    let (folder, path) = ledger_of([]);
    assert_eq!(export(&path, &["--format", "jsonl"]), "");
    assert_eq!(export(&path, &["--format", "csv"]).lines().count(), 1);
    let file = folder.path().join("none.parquet");
    export(&path, &["--out", file.to_str().unwrap()]);
    let reader = SerializedFileReader::new(fs::File::open(&file).unwrap()).unwrap();
    assert_eq!(reader.metadata().file_metadata().num_rows(), 0);
}

#[test]
fn what_cannot_be_written_is_told() {
    let (folder, path) = written();
    let database = path.to_str().unwrap();
    let tell = |more: &[&str]| {
        let output = run(&[&["ledger", "export", "--database", database], more].concat());
        (status(&output), stderr(&output))
    };
    let before = fs::read(&path).unwrap();
    for (more, code, word) in [
        (&["--out", "x.txt"][..], 2, "--format jsonl, csv or parquet"),
        (&[], 2, "which format?"),
        (&["--format", "parquet"], 2, "--format parquet needs --out FILE"),
        (&["--format", "xml"], 2, "possible values: jsonl, csv, parquet"),
        (&["--format", "csv", "--out", database], 2, "is the ledger itself"),
        (&["--out", "/nonesuch/x.csv"], 1, "cannot write /nonesuch/x.csv"),
        (&["--format", "jsonl", "--out", "/dev/full"], 1, "No space left"),
        (&["--format", "csv", "--out", "/dev/full"], 1, "No space left"),
        (&["--format", "parquet", "--out", "/dev/full"], 1, "No space left"),
    ] {
        let (status, said) = tell(more);
        assert_eq!(status, code, "{more:?}: {said}");
        assert!(said.contains(word), "{more:?}: {said}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(Path::new("/dev/full").exists(), "a device is no file to be replaced");
    // A file is as it was when the ledger cannot be read to its end.
    let file = folder.path().join("kept.jsonl");
    fs::write(&file, "kept").unwrap();
    Connection::open(&path)
        .unwrap()
        .execute_batch("UPDATE requests SET outcome = x'FF' WHERE request_id = 'refused'")
        .unwrap();
    let (status, said) = tell(&["--out", file.to_str().unwrap()]);
    assert_eq!(status, 1);
    assert!(said.contains("cannot be read"), "{said}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3, "the ledger, its spill file and the export");
}

/// Whoever may only read the file and its folder reads the ledger, and leaves nothing there.
#[test]
fn a_ledger_that_may_only_be_read() {
    let (folder, path) = written();
    let entries =
        |at: &Path| fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>();
    let before = (entries(folder.path()), fs::metadata(&path).unwrap().modified().unwrap());
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o555)).unwrap();
    for arguments in [&["usage", "--to", "2027-01-01"][..], &["ledger", "export", "--format", "csv"]] {
        let mut command = program(&[arguments, &["--database", path.to_str().unwrap()]].concat());
        // Root may write anywhere.
        if fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
            command.uid(65_534).gid(65_534);
        }
        let output = command.output().unwrap();
        assert_eq!((status(&output), stderr(&output)), (0, String::new()));
    }
    assert_eq!((entries(folder.path()), fs::metadata(&path).unwrap().modified().unwrap()), before);
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
}

/// A killed gateway leaves a log beside its file: what is in it counts.
#[test]
fn a_log_that_was_left_behind_is_read() {
    let (folder, path) = written();
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("UPDATE usage SET calls = calls + 100").unwrap();
    let other = folder.path().join("copy.db");
    for ending in ["", "-wal"] {
        fs::copy(format!("{}{ending}", path.display()), format!("{}{ending}", other.display())).unwrap();
    }
    drop(connection);
    let output =
        run(&["usage", "--database", other.to_str().unwrap(), "--to", "2027-01-01", "--format", "json"]);
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["total"]["calls"], 505, "{}", stderr(&output));
}
