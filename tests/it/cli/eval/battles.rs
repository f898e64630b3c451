//! Battles: log-loss, accuracy, calibration, beside the global ratings.

use std::fs;
use std::path::Path;

use serde_json::Value;

use super::json;
use crate::cli::{run, stderr, stdout};

/// The strong model wins three battles of four against the weak one; one battle in ten is of a model nobody knows.
fn battles(file: &Path, prompts: usize) {
    let row = |number: usize| {
        let winner = if number.is_multiple_of(4) {
            "model_b"
        } else if number % 8 == 3 {
            "tie"
        } else {
            "model_a"
        };
        let weak = if number % 10 == 9 { "nobody-knows-13b" } else { "mixtral-8x7b-instruct-v0.1" };
        serde_json::json!({
            "source": if number.is_multiple_of(2) { "even" } else { "odd" }, "prompt": [format!("What is {number} times {number}?")],
            "model_a": "gpt-4-1106-preview", "model_b": weak, "winner": winner,
        })
        .to_string() + "\n"
    };
    fs::write(file, (0..prompts).map(row).collect::<String>()).unwrap();
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

#[test]
fn probabilities_are_held_against_battles() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    battles(Path::new(&at("battles.jsonl")), 400);
    let (data, plot) = (at("battles.jsonl"), at("plot.svg"));
    let arguments = ["eval", "--benchmark", "battles", "--data", &data];
    let found = json(&[&arguments[..], &["--format", "json", "--plot", &plot]].concat());
    assert_eq!((found["battles"].as_u64(), found["prompts"].as_u64()), (Some(360), Some(360)));
    assert_eq!((found["dropped_trained"].as_u64(), found["dropped_unknown"].as_u64()), (Some(0), Some(40)));
    assert_eq!(found["unknown_models"], serde_json::json!(["nobody-knows-13b"]));
    let overall = &found["routers"]["mf"]["overall"];
    // Two models: the ratings give one probability, which the fitted scale makes that of the labels.
    let even = &found["routers"]["mf"]["sources"]["even"];
    let share = 0.5;
    let entropy = -(share * f64::ln(share) + (1.0 - share) * f64::ln(1.0 - share));
    assert!((number(&even["global"]["log_loss"]) - entropy).abs() < 1e-3, "{even}");
    assert_eq!(even["label_scale_of"], "these battles");
    assert!(number(&overall["global"]["accuracy"]) > 0.5, "the strong model is the favourite");
    let difference = &overall["log_loss_difference"];
    let expected = number(&overall["log_loss"]) - number(&overall["global"]["log_loss"]);
    assert!((number(&difference["mean"]) - expected).abs() < 1e-9);
    assert!(number(&difference["ci95"][0]) <= expected && expected <= number(&difference["ci95"][1]));
    let bins = overall["calibration"].as_array().unwrap();
    let weight: f64 = bins.iter().map(|bin| number(&bin["weight"])).sum();
    assert!((weight - 360.0).abs() < 1e-6 && bins.len() > 5, "{bins:?}");
    let svg = fs::read_to_string(plot).unwrap();
    for label in
        ["predicted win probability", "observed share of wins", "mf, log-loss", "global ratings, log-loss"]
    {
        assert!(svg.contains(label), "{label}");
    }
    let table = stdout(&run(&arguments));
    assert!(table.contains("40 battles of 1 models that a router does not know"), "{table}");
    assert!(table.contains("even") && table.contains("odd") && table.contains("calibration"), "{table}");
}

#[test]
fn prompts_that_were_trained_on_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    battles(Path::new(&at("battles.jsonl")), 200);
    let (data, artifact) = (at("battles.jsonl"), at("mf.safetensors"));
    let trained = run(&["train", "mf", "--data", &data, "--out", &artifact]);
    assert_eq!(trained.status.code(), Some(0), "{}", stderr(&trained));
    let arguments =
        ["eval", "--benchmark", "battles", "--data", &data, "--artifact", &artifact, "--format", "json"];
    let found = json(&arguments);
    let (left, dropped) = (found["prompts"].as_u64().unwrap(), found["dropped_trained"].as_u64().unwrap());
    assert_eq!((left + dropped, found["dropped_unknown"].as_u64()), (200, Some(0)));
    assert!((150..195).contains(&dropped), "{dropped}");
    let even = &found["routers"]["mf"]["sources"]["even"];
    assert_eq!(even["label_scale_of"], "artefact");
}

#[test]
fn what_holds_no_battles_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let votes = folder.path().join("votes.json");
    fs::write(&votes, r#"{"models": ["a", "b"], "pairs": [[0, 1]], "counts": [[1, 2, 3, 4]]}"#).unwrap();
    let output = run(&["eval", "--benchmark", "battles", "--data", votes.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("holds no battles with prompts"), "{}", stderr(&output));
}
