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
    let even = &found["routers"]["mf"]["sources"]["even"];
    assert_eq!((number(&even["label_scale"]), even["label_scale_of"].as_str()), (1.0, Some("as served")));
    // Of the even numbers the strong model wins every other one: the mean loss of the ratings' one probability.
    let global = number(&even["global"]["log_loss"]);
    assert!(global > std::f64::consts::LN_2, "the labels are even, and the ratings are not: {even}");
    for baseline in ["knn", "kmeans"] {
        let of_baseline = number(&found["routers"][baseline]["sources"]["even"]["global"]["log_loss"]);
        assert!((of_baseline - global).abs() < 1e-9, "{baseline} has the same ratings: {of_baseline}");
    }
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
    assert!(found["battle_weights"].as_str().unwrap().contains("2/k"), "{found}");
    let table = stdout(&run(&arguments));
    assert!(
        table.contains("as `route` serves them") && table.contains("2/k") && table.contains("1.000"),
        "{table}"
    );
    assert!(table.contains("40 battles of 1 models that a router does not know"), "{table}");
    assert!(table.contains("even") && table.contains("odd") && table.contains("calibration"), "{table}");
}

/// Of a source that the artefact was not trained on, the log-loss is that of the probability that `route` gives.
#[test]
fn what_is_measured_is_what_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("battle.jsonl");
    let (a, b, prompt) =
        ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1", "Why is the sky blue, and not green?");
    let battle = serde_json::json!({"source": "mine", "prompt": [prompt], "model_a": a, "model_b": b, "winner": "model_b"});
    fs::write(&data, battle.to_string() + "\n").unwrap();
    for router in ["mf", "blend"] {
        let found = json(&[
            "eval",
            "--benchmark",
            "battles",
            "--data",
            data.to_str().unwrap(),
            "--routers",
            router,
            "--format",
            "json",
        ]);
        let models = [a, b].join(",");
        let routed = json(&["route", "--router", router, "--models", &models, "--format", "json", prompt]);
        let served = number(&routed["win_rates"][b][a]);
        let measured = number(&found["routers"][router]["overall"]["log_loss"]);
        assert!((measured + served.ln()).abs() < 1e-9, "{measured} {served}");
    }
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
