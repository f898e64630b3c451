//! `route`: what it prints, and that it decides as the rules say.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::{run, run_with, status, stderr, stdout};

const MODELS: [&str; 3] = ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1", "claude-2.0"];

/// Runs `route … --format json`.
fn decisions(arguments: &[&str]) -> Vec<Value> {
    let output = run(&[&["route", "--format", "json"], arguments].concat());
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
    stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn decision(arguments: &[&str]) -> Value {
    let found = decisions(arguments);
    assert_eq!(found.len(), 1);
    found.into_iter().next().unwrap()
}

fn names(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// P(a beats b).
fn rate(decision: &Value, a: &str, b: &str) -> f64 {
    decision["win_rates"][a][b].as_f64().unwrap()
}

#[test]
fn every_key_is_there() {
    for router in ["mf", "random", "best_single"] {
        let decision = decision(&["--router", router, "--models", &MODELS.join(","), "What is 2 + 2?"]);
        let keys: Vec<&String> = decision.as_object().unwrap().keys().collect();
        let always =
            ["decision_us", "excluded", "id", "model", "ranking", "router", "rule", "skills", "win_rates"];
        // Baselines are made of no artefact, and one of them takes all models to be alike.
        let sometimes = ["artifact", "win_rate"];
        let (more, rest): (Vec<&str>, Vec<&str>) =
            keys.iter().map(|key| key.as_str()).partition(|key| sometimes.contains(key));
        assert_eq!(rest, always);
        assert!(router != "mf" || more == sometimes, "{decision}");
        assert_eq!((&decision["id"], decision["router"].as_str()), (&Value::Null, Some(router)));
        let mut ranking = names(&decision["ranking"]);
        assert_eq!(ranking.first().copied(), decision["model"].as_str());
        ranking.sort_unstable();
        assert_eq!(ranking, ["claude-2.0", "gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"]);
        for a in MODELS {
            assert!(decision["skills"][a].is_f64(), "{decision}");
            for b in MODELS.into_iter().filter(|b| *b != a) {
                assert!((rate(&decision, a, b) + rate(&decision, b, a) - 1.0).abs() < 1e-12);
            }
        }
    }
}

/// The dearest model that beats every cheaper one, by the printed win rates and the prices given.
fn expected_choice(decision: &Value, prices: &BTreeMap<&str, f64>, alpha: f64) -> String {
    let earns = |name: &&str| {
        let mut cheaper = prices.iter().filter(|(_, price)| **price < prices[name]);
        cheaper.all(|(other, _)| rate(decision, name, other) >= alpha)
    };
    let mut dearest_first: Vec<&str> = prices.keys().copied().collect();
    dearest_first.sort_by(|a, b| prices[b].total_cmp(&prices[a]));
    dearest_first.into_iter().find(earns).unwrap().to_owned()
}

#[test]
fn prices_and_threshold_decide() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.json");
    let file = file.to_str().unwrap();
    // The second set turns the order of the models around.
    for dear in [[30.0, 0.5, 8.0], [0.5, 8.0, 30.0]] {
        let prices: BTreeMap<&str, f64> = MODELS.into_iter().zip(dear).collect();
        let json: BTreeMap<_, _> = prices
            .iter()
            .map(|(name, price)| (name, serde_json::json!({"input": price, "output": price})))
            .collect();
        fs::write(file, serde_json::to_string(&json).unwrap()).unwrap();
        for alpha in ["0", "0.4", "0.6", "1"] {
            let models = MODELS.join(",");
            let found = decision(&["--models", &models, "--threshold", alpha, "--prices", file, "hello"]);
            let expected = expected_choice(&found, &prices, alpha.parse().unwrap());
            assert_eq!(found["model"].as_str(), Some(&*expected), "{alpha} {dear:?}: {found}");
        }
    }
}

#[test]
fn a_utility_of_zero_takes_the_best_and_a_high_one_the_cheapest() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.json");
    fs::write(
        &file,
        r#"{"gpt-4-1106-preview": {"input": 10, "output": 30}, "claude-1": {"input": 0.1, "output": 0.1}}"#,
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let chosen = |lambda| {
        let models = "gpt-4-1106-preview,claude-1";
        decision(&[
            "--router",
            "best_single",
            "--models",
            models,
            "--utility",
            lambda,
            "--prices",
            file,
            "hi",
        ])["model"]
            .clone()
    };
    assert_eq!((chosen("0"), chosen("1000000")), ("gpt-4-1106-preview".into(), "claude-1".into()));
}

#[test]
fn a_share_of_none_and_of_all() {
    let chosen = |share| {
        let models = "gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1";
        decision(&["--models", models, "--strong-share", share, "hi"])["model"].clone()
    };
    assert_eq!((chosen("0"), chosen("1")), (MODELS[1].into(), MODELS[0].into()));
}

#[test]
fn unknown_models_are_excluded() {
    let decision = decision(&["--models", "gpt-4-1106-preview,nonesuch-9b", "hi"]);
    assert_eq!(decision["excluded"], serde_json::json!({"nonesuch-9b": "is unknown to router mf"}));
    assert_eq!(names(&decision["ranking"]), ["gpt-4-1106-preview"]);

    let output = run(&["route", "--models", "gpt-4-1106-previw", "hi"]);
    let expected = "gpt-4-1106-previw is unknown to router mf; did you mean `gpt-4-1106-preview`?";
    assert!(stderr(&output).contains(expected), "{}", stderr(&output));

    let output = run(&["route", "--models", "nonesuch-9b,another", "hi"]);
    assert_eq!((status(&output), stdout(&output)), (1, String::new()));
    let expected = "error: no model can be chosen: another is unknown to router mf; nonesuch-9b is unknown to router mf\n";
    assert_eq!(stderr(&output), expected);
}

#[test]
fn prompts_from_a_file_and_from_stdin() {
    let rows = "{\"id\": \"a\", \"prompt\": \"hello\"}\n\n{\"prompt\": [\"first\", \"second\"], \"more\": 1}\n{\"id\": 7, \"prompt\": \"\"}";
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prompts.jsonl");
    fs::write(&file, rows).unwrap();
    let models = MODELS.join(",");
    let from_file = decisions(&["--models", &models, "--input", file.to_str().unwrap()]);
    let ids: Vec<&Value> = from_file.iter().map(|decision| &decision["id"]).collect();
    assert_eq!(ids, [&Value::from("a"), &Value::Null, &Value::from(7)]);
    let output = run_with(&["route", "--format", "json", "--models", &models, "--input", "-"], rows);
    assert_eq!(stdout(&output).lines().count(), 3);
}

#[test]
fn a_wrong_row_is_named() {
    let output = run_with(
        &["route", "--models", "gpt-4-0613", "--input", "-"],
        "{\"prompt\":\"a\"}\n{\"prompt\":4}\n",
    );
    assert_eq!(status(&output), 1);
    assert!(stdout(&output).contains("prompt  a"), "what came before is shown");
    assert_eq!(stderr(&output), "error: stdin:2:12: `prompt` must be a text or a list of texts\n");
}

#[test]
fn a_table_for_people() {
    let output =
        run(&["route", "--models", "gpt-4-1106-preview,nonesuch", "--threshold", "0.3", "a\nb", "second"]);
    let said = stdout(&output);
    assert_eq!(said.matches("prompt  ").count(), 2);
    assert!(
        said.starts_with("prompt  a b\nchosen  gpt-4-1106-preview  (router mf, threshold 0.3, "),
        "{said}"
    );
    assert!(said.contains("nonesuch is unknown to router mf"), "{said}");
}

#[test]
fn wrong_command_lines() {
    let wrong: [&[&str]; 9] = [
        &["route", "hi"],
        &["route", "--models", "gpt-4-0613"],
        &["route", "--models", "gpt-4-0613,gpt-4-0613", "hi"],
        &["route", "--models", "gpt-4-0613,", "hi"],
        &["route", "--models", "gpt-4-0613", "--router", "mff", "hi"],
        &["route", "--models", "gpt-4-0613", "--threshold", "1.1", "hi"],
        &["route", "--models", "gpt-4-0613", "--threshold", "NaN", "hi"],
        &["route", "--models", "gpt-4-0613", "--utility", "inf", "hi"],
        &["route", "--models", "gpt-4-0613", "--threshold", "0.3", "--strong-share", "0.3", "hi"],
    ];
    for arguments in wrong {
        let output = run(arguments);
        assert_eq!((status(&output), stdout(&output)), (2, String::new()), "{arguments:?}");
    }
}

#[test]
fn files_that_are_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("prices.json");
    let file = file.to_str().unwrap();
    let failed = |arguments: &[&str]| {
        let output = run(&[&["route", "--models", "gpt-4-0613"], arguments, &["hi"]].concat());
        assert_eq!((status(&output), stdout(&output)), (1, String::new()), "{arguments:?}");
        stderr(&output)
    };
    for (prices, message) in [
        ("{}", "has no price of gpt-4-0613"),
        ("[]", "invalid type"),
        (r#"{"gpt-4-0613": {"input": 1}}"#, "missing field `output`"),
        (r#"{"gpt-4-0613": {"input": -1, "output": 1}}"#, "the input price of gpt-4-0613 is negative"),
    ] {
        fs::write(file, prices).unwrap();
        let said = failed(&["--prices", file]);
        assert!(said.starts_with(&format!("error: {file}: ")) && said.contains(message), "{said}");
    }
    assert!(failed(&["--artifact", file]).contains(file));
    assert!(failed(&["--router", "random", "--artifact", file]).contains("reads no artefact"));
}

#[test]
fn an_artefact_says_which_router_it_is_and_a_blend_serves_as_its_parts() {
    let routed = |arguments: &[&str]| {
        let file = ["--artifact", "routers/artifacts/blend-default.safetensors"];
        let models = ["route", "--models", "gpt-4-0613,claude-1", "--format", "json", "hi"];
        let output = run(&[&models[..], &file, arguments].concat());
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let row: Value = serde_json::from_slice(&output.stdout).unwrap();
        row["router"].as_str().unwrap().to_owned()
    };
    assert_eq!(routed(&[]), "blend");
    assert_eq!(routed(&["--router", "sw"]), "sw");
}

#[test]
fn the_order_of_the_models_changes_nothing() {
    for router in ["mf", "random", "best_single"] {
        let told = |models: &[&str]| {
            let mut told = decision(&["--router", router, "--models", &models.join(","), "--", "-x 🚂"]);
            told.as_object_mut().unwrap().remove("decision_us");
            told
        };
        let mut reversed = MODELS;
        reversed.reverse();
        assert_eq!(told(&MODELS), told(&reversed));
    }
}
