//! `train`: an artefact that `route` takes, the same for the same files in any order.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use super::{run, status, stderr, stdout};
use crate::hub::encoder;

/// The model that ratings are anchored to, a better one and a worse one.
const MODELS: [&str; 3] = ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1", "dolly-v2-12b"];

/// Battles on arithmetic, which the first wins, and on greetings, which are ties.
fn battles() -> Vec<String> {
    let mut rows = Vec::new();
    for number in 0..60 {
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            let (prompt, winner) = match number % 2 {
                0 => (format!("What is {number} times {}?", number + 7), "model_a"),
                _ => (format!("Say hello to visitor {number}."), "tie"),
            };
            rows.push(
                serde_json::json!({
                    "source": "test", "prompt": [prompt], "model_a": MODELS[a], "model_b": MODELS[b], "winner": winner,
                })
                .to_string(),
            );
        }
    }
    rows
}

fn write(file: &Path, rows: &[String]) {
    let mut text = String::new();
    rows.iter().for_each(|row| writeln!(text, "{row}").unwrap());
    fs::write(file, text).unwrap();
}

fn train(data: &Path, out: &Path, more: &[&str]) -> std::process::Output {
    let arguments =
        ["train", "mf", "--rank", "2", "--data", data.to_str().unwrap(), "--out", out.to_str().unwrap()];
    run(&[&arguments, more].concat())
}

#[test]
fn it_trains_what_route_takes() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    write(&at("battles.jsonl"), &battles());
    let output =
        train(&at("battles.jsonl"), &at("one"), &["--format", "json", "--licence", "battles.jsonl=MIT"]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(told["metrics"]["dev_log_loss"]["test"]["log_loss"].is_f64(), "{told}");

    let bytes = fs::read(at("one")).unwrap();
    assert!(String::from_utf8_lossy(&bytes).contains("MIT"));

    let one = at("one");
    let route = run(&[
        "route",
        "--models",
        &MODELS.join(","),
        "--artifact",
        one.to_str().unwrap(),
        "What is 6 times 7?",
    ]);
    assert_eq!(status(&route), 0, "{}", stderr(&route));
    assert!(stdout(&route).contains("mixtral-8x7b-instruct-v0.1"));
}

#[test]
fn routers_that_remember_prompts_are_trained_and_route() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    write(Path::new(&at("battles.jsonl")), &battles());
    for (kind, more) in [("sw", &[][..]), ("knn", &["--neighbours", "20"]), ("kmeans", &["--clusters", "3"])]
    {
        let (data, out) = (at("battles.jsonl"), at(kind));
        let arguments = ["train", kind, "--format", "json", "--data", &data, "--out", &out];
        let output = run(&[&arguments, more].concat());
        assert_eq!(status(&output), 0, "{kind}: {}", stderr(&output));
        let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["router"], kind);
        assert!(told["metrics"]["dev_log_loss"]["test"]["log_loss"].is_f64(), "{told}");
        let pool = MODELS.join(",");
        let route =
            run(&["route", "--router", kind, "--models", &pool, "--artifact", &out, "What is 6 times 7?"]);
        assert_eq!(status(&route), 0, "{kind}: {}", stderr(&route));
        assert!(stdout(&route).contains(&format!("router {kind}")), "{}", stdout(&route));
    }
    for none in [
        ["knn", "--neighbours", "0"],
        ["kmeans", "--clusters", "0"],
        ["mf", "--rank", "0"],
        ["mf", "--threads", "0"],
    ] {
        let refused = run(&[&["train"][..], &none, &["--data", "x", "--out", "y"]].concat());
        assert_eq!(status(&refused), 2);
    }
}

/// Data without the Arena's anchor: the Elo scale hangs on the model of most battles, and the report says so.
#[test]
fn data_without_the_anchor_is_trained_on() {
    let directory = tempfile::tempdir().unwrap();
    let (data, out) = (directory.path().join("battles.jsonl"), directory.path().join("out"));
    let renamed: Vec<String> =
        battles().iter().map(|row| row.replace("mixtral-8x7b-instruct-v0.1", "my-own-model")).collect();
    write(&data, &renamed);
    let told = train(&data, &out, &[]);
    assert_eq!(status(&told), 0, "{}", stderr(&told));
    // All three fought as often: the first by name.
    let said = stdout(&told);
    assert!(said.contains("Elo ratings are relative to dolly-v2-12b = 1114"), "{said}");
    assert!(said.contains("mixtral-8x7b-instruct-v0.1, the Arena's anchor, is not in the data"), "{said}");
    let told = train(&data, &out, &["--format", "json"]);
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["anchor"], serde_json::json!({"model": "dolly-v2-12b", "elo": 1114.0}));
    let route =
        ["route", "--models", "my-own-model,gpt-4-1106-preview", "--artifact", out.to_str().unwrap(), "x"];
    assert_eq!(status(&run(&route)), 0);
}

#[test]
fn the_seed_decides_and_not_the_order_of_files() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let rows = battles();
    let (first, second) = rows.split_at(90);
    write(&at("first.jsonl"), first);
    write(&at("second.jsonl"), second);
    let trained = |data: [&str; 2], seed: &str| {
        let [one, two] = data.map(|name| at(name).to_str().unwrap().to_owned());
        let output = train(Path::new(&one), &at("out"), &["--seed", seed, "--data", &two]);
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        fs::read(at("out")).unwrap()
    };
    let one = trained(["first.jsonl", "second.jsonl"], "1");
    assert_eq!(one, trained(["second.jsonl", "first.jsonl"], "1"));
    assert_ne!(one, trained(["first.jsonl", "second.jsonl"], "2"));
}

#[test]
fn an_encoder_gives_the_vectors_on_any_number_of_threads() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    write(&at("battles.jsonl"), &battles());
    fs::create_dir(at("encoder")).unwrap();
    encoder::write(&at("encoder"));
    let trained = |threads: &str| {
        let more = ["--encoder", at("encoder").to_str().unwrap(), "--threads", threads].map(str::to_owned);
        let output = train(&at("battles.jsonl"), &at("out"), &more.each_ref().map(String::as_str));
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        fs::read(at("out")).unwrap()
    };
    let one = trained("1");
    assert_eq!(one, trained("3"));
    let manifest = String::from_utf8_lossy(&one).into_owned();
    assert!(manifest.contains("\\\"dim\\\":4") || manifest.contains("\"dim\":4"), "the encoder's dimensions");
    let route =
        run(&["route", "--models", &MODELS.join(","), "--artifact", at("out").to_str().unwrap(), "a"]);
    assert_eq!(status(&route), 1, "the binary's embedder is another");
    assert!(stderr(&route).contains("embedder"), "{}", stderr(&route));
}

#[test]
fn refused_rows_are_counted_and_told_by_their_lines() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("battles.jsonl");
    let mut rows = battles();
    rows.extend(battles());
    let itself = r#"{"prompt": ["x"], "model_a": "claude-1", "model_b": "claude-1", "winner": "tie"}"#;
    rows.insert(4, itself.to_owned());
    rows.insert(6, r#"{"prompt": ["x"], "model_a": "claude-1", "model_b": "claude-2"}"#.to_owned());
    write(&data, &rows);
    let out = directory.path().join("out");
    let told = train(&data, &out, &[]);
    assert_eq!(status(&told), 0, "{}", stderr(&told));
    let told = stderr(&told);
    assert!(told.contains("battles.jsonl: line 5: claude-1 is compared with itself"), "{told}");
    assert!(told.contains("battles.jsonl: line 7: winner is missing"), "{told}");
    assert!(told.contains("362 rows, 2 refused (1 model against itself, 1 no winner)"), "{told}");

    rows.extend([r#"{"prompt": ["x"], "scores": {"claude-1": NaN}}"#; 2].map(str::to_owned));
    write(&data, &rows);
    let refused = train(&data, &out, &[]);
    assert_eq!(status(&refused), 1);
    let said = stderr(&refused);
    assert!(
        said.contains("4 of 364 rows refused, more than 1 %") && said.contains("Mend these rows"),
        "{said}"
    );

    write(&data, &[r#"{"prompt": "x", "scores": {"claude-1": "good"}}"#.to_owned(), "[1]".to_owned()]);
    let said = stderr(&train(&data, &out, &[]));
    assert!(
        said.contains("expected a number") && !said.contains("f64") && !said.contains("struct"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("out");
    let missing = train(Path::new("no/such.jsonl"), &out, &[]);
    assert_eq!((status(&missing), out.exists()), (1, false));
    let expected =
        "--data no/such.jsonl: there is no such file; expected a file of outcomes, battles or votes";
    assert!(stderr(&missing).contains(expected), "{}", stderr(&missing));
    let foreign = directory.path().join("foreign.jsonl");
    fs::write(&foreign, "{\"a\": 1}\n").unwrap();
    let output = train(&foreign, &out, &[]);
    assert_eq!((status(&output), out.exists()), (1, false));
    assert!(stderr(&output).contains("foreign.jsonl"), "{}", stderr(&output));
    let nowhere = train(Path::new("no/such.jsonl"), &directory.path().join("no/out"), &[]);
    assert!(stderr(&nowhere).contains("there is no folder"), "{}", stderr(&nowhere));
    assert_eq!(status(&run(&["train", "mf", "--data", "x"])), 2);
    assert_eq!(status(&run(&["train"])), 2);
}
