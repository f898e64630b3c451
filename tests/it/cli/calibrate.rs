//! `calibrate`: what it promises on one half of some prompts is what `route` does on the other half.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{run, run_with, status, stderr, stdout};

/// Cheap to dear, with prices per million tokens, the same for prompt and answer.
const POOL: [(&str, f64); 3] =
    [("mixtral-8x7b-instruct-v0.1", 0.5), ("gpt-4o-mini-2024-07-18", 1.0), ("gpt-4-1106-preview", 20.0)];
/// The tokens that an answer is expected to have.
const ANSWER_TOKENS: f64 = 300.0;

/// A folder with a file of prices.
struct Desk(tempfile::TempDir);

impl Desk {
    fn new() -> Self {
        let desk = Self(tempfile::tempdir().unwrap());
        let prices: BTreeMap<&str, Value> =
            POOL.iter().map(|(model, usd)| (*model, json!({"input": usd, "output": usd}))).collect();
        fs::write(desk.at("prices.json"), serde_json::to_string(&prices).unwrap()).unwrap();
        desk
    }

    fn at(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    /// Two files of prompts, each prompt in one by its hash; the number in the second.
    fn halve(&self, prompts: &[String]) -> usize {
        let is_first = |text: &String| Sha256::digest(text)[0] < 128;
        let (first, second): (Vec<&String>, Vec<&String>) = prompts.iter().partition(|text| is_first(text));
        for (name, half) in [("first.jsonl", &first), ("second.jsonl", &second)] {
            let rows: Vec<String> = half.iter().map(|text| json!({"prompt": text}).to_string()).collect();
            fs::write(self.at(name), rows.join("\n")).unwrap();
        }
        second.len()
    }

    fn calibrate(&self, more: &[&str]) -> Value {
        let (first, prices) = (self.at("first.jsonl"), self.at("prices.json"));
        let arguments = ["calibrate", "--prompts", &first, "--prices", &prices, "--format", "json"];
        let output = run(&[&arguments[..], more].concat());
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// What becomes of the second half.
    fn route(&self, more: &[&str]) -> Routed {
        let models = POOL.map(|(model, _)| model).join(",");
        let (second, prices) = (self.at("second.jsonl"), self.at("prices.json"));
        let arguments =
            ["route", "--input", &second, "--prices", &prices, "--models", &models, "--format", "json"];
        let output = run(&[&arguments[..], more].concat());
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let chosen: Vec<String> = stdout(&output)
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["model"].as_str().unwrap().to_owned())
            .collect();
        let prompts = fs::read_to_string(self.at("second.jsonl")).unwrap();
        let costs = prompts.lines().zip(&chosen).map(|(row, model)| {
            let row: Value = serde_json::from_str(row).unwrap();
            let prompt_tokens = (row["prompt"].as_str().unwrap().len().div_ceil(4) + 4) as f64;
            let usd = POOL.iter().find(|(name, _)| name == model).unwrap().1;
            usd * (prompt_tokens + ANSWER_TOKENS) / 1000.0
        });
        Routed { costs_per_1k: costs.collect(), chosen }
    }
}

struct Routed {
    chosen: Vec<String>,
    costs_per_1k: Vec<f64>,
}

impl Routed {
    fn share(&self, model: &str) -> f64 {
        self.chosen.iter().filter(|chosen| *chosen == model).count() as f64 / self.chosen.len() as f64
    }

    fn mean_cost(&self) -> f64 {
        self.costs_per_1k.iter().sum::<f64>() / self.costs_per_1k.len() as f64
    }

    /// 2.6 standard deviations of the difference of two halves' mean costs.
    fn cost_tolerance(&self) -> f64 {
        let mean = self.mean_cost();
        let variance = self.costs_per_1k.iter().map(|cost| (cost - mean).powi(2)).sum::<f64>();
        let count = self.costs_per_1k.len() as f64;
        2.6 * (2.0 * variance / count / count).sqrt()
    }
}

/// The larger of two points and 2.6 standard deviations of the difference of two halves' shares.
fn tolerance(share: f64, second: usize) -> f64 {
    (2.6 * (share * (1.0 - share) * 2.0 / second as f64).sqrt()).max(0.02)
}

/// Shares and a budget solved on one half hold on the other: by threshold, and by an artefact that was given it.
fn the_promise_is_kept(prompts: &[String]) {
    let desk = Desk::new();
    let second = desk.halve(prompts);
    let artifact = desk.at("mine.safetensors");
    for share in [0.1, 0.3, 0.5, 0.8] {
        let text = share.to_string();
        let told = desk.calibrate(&["--strong-share", &text, "--out", &artifact]);
        assert!((told["expected_share"].as_f64().unwrap() - share).abs() < 1e-9, "{told}");
        let threshold = told["threshold"].as_f64().unwrap().to_string();
        let strong = POOL[2].0;
        for arguments in
            [&["--threshold", &threshold][..], &["--strong-share", &text, "--artifact", &artifact]]
        {
            let met = desk.route(arguments).share(strong);
            assert!((met - share).abs() < tolerance(share, second), "{arguments:?}: {met} of {told}");
        }
    }
    let told = desk.calibrate(&["--budget-usd-per-1k", "2.5"]);
    assert!((told["mean_cost_usd_per_1k"].as_f64().unwrap() - 2.5).abs() < 1e-6, "{told}");
    let threshold = told["threshold"].as_f64().unwrap().to_string();
    for arguments in
        [&["--threshold", &threshold][..], &["--budget-usd-per-1k", "2.5", "--artifact", &artifact]]
    {
        let routed = desk.route(arguments);
        let (spent, tolerance) = (routed.mean_cost(), routed.cost_tolerance());
        assert!((spent - 2.5).abs() < tolerance, "{arguments:?}: {spent} ± {tolerance}, {told}");
    }
}

/// Prompts of several kinds and lengths, no two alike.
fn synthetic() -> Vec<String> {
    let kinds = [
        "What is {} plus {}?",
        "Write a short poem about the number {} and the colour of {} autumn leaves.",
        "Prove that {} divides n to the power of {} minus n for every whole number n.",
        "Say hello to visitor {} of room {}.",
        "Debug this Rust code: let values = vec![{}; {}]; println!(\"{}\", values[values.len()]);",
    ];
    let prompt = |number: usize| {
        let (first, second) = (number * 7919 % 1009, number * 104_729 % 977);
        let kind = kinds[number % kinds.len()].replacen("{}", &first.to_string(), 1);
        kind.replacen("{}", &second.to_string(), 1)
    };
    (0..1600).map(prompt).collect()
}

#[test]
fn a_share_and_a_budget_hold_on_other_prompts() {
    the_promise_is_kept(&synthetic());
}

#[test]
fn a_share_and_a_budget_hold_on_the_published_prompts() {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data"));
    let folder = std::env::var_os("POINTSMAN_DATA").map_or_else(beside, PathBuf::from);
    let Ok(text) = fs::read_to_string(folder.join("outcomes_llmrouter.jsonl")) else {
        eprintln!("SKIPPED: no data in {}; set POINTSMAN_DATA", folder.display());
        return;
    };
    let prompts: Vec<String> = text
        .lines()
        .map(|row| serde_json::from_str::<Value>(row).unwrap()["prompt"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(prompts.len(), 5398);
    the_promise_is_kept(&prompts);
}

#[test]
fn every_key_is_there() {
    let models = "gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1";
    let told = |more: &[&str]| -> Value {
        let output = run(&[&["calibrate", "--models", models, "--format", "json"], more].concat());
        assert_eq!((status(&output), stderr(&output).as_str()), (0, ""));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let one = told(&["--strong-share", "0.3"]);
    let keys: Vec<&String> = one.as_object().unwrap().keys().collect();
    let expected = [
        "expected_share",
        "mean_cost_usd_per_1k",
        "models",
        "prompts",
        "router",
        "share_by_model",
        "split",
        "threshold",
    ];
    assert_eq!(keys, expected);
    assert_eq!((&one["router"], &one["mean_cost_usd_per_1k"]), (&json!("mf"), &Value::Null));
    assert!(one["prompts"].as_u64().unwrap() >= 4096);
    let shares: f64 =
        one["share_by_model"].as_object().unwrap().values().map(|share| share.as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 1e-9);

    let eleven = told(&[]);
    let points = eleven["points"].as_array().unwrap();
    assert_eq!((points.len(), &points[3]["threshold"]), (11, &one["threshold"]));
    let output = run(&["calibrate", "--models", models]);
    assert_eq!(
        stdout(&output).lines().filter(|line| line.starts_with("0.")).count(),
        10,
        "{}",
        stdout(&output)
    );
}

#[test]
fn prompts_come_from_stdin_too_and_only_replace_the_sample_without_models() {
    let desk = Desk::new();
    let artifact = desk.at("mine.safetensors");
    let input = "{\"prompt\": \"What is 2 + 2?\"}\n{\"prompt\": [\"Hi\", \"Bye\"]}\n";
    let output = run_with(&["calibrate", "--prompts", "-", "--out", &artifact, "--format", "json"], input);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told, json!({"router": "mf", "prompts": 2, "out": artifact}));
    let told =
        run(&["calibrate", "--artifact", &artifact, "--models", "gpt-4-0613,claude-1", "--format", "json"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["prompts"], 2);
    assert!(!fs::read(&artifact).unwrap().windows(14).any(|bytes| bytes == b"What is 2 + 2?"));
}

#[test]
fn a_line_in_a_hundred_may_hold_no_prompt() {
    let row = |number: usize| json!({"prompt": format!("What is {number} + {number}?")}).to_string();
    let mut lines: Vec<String> = (0..200).map(row).collect();
    lines.insert(7, "{\"prompt\": 1}".to_owned());
    let arguments = ["calibrate", "--router", "knn", "--models", "gpt-4-0613,claude-1", "--prompts", "-"];
    let output = run_with(&[&arguments[..], &["--format", "json"]].concat(), &lines.join("\n"));
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["router"], &told["prompts"]), (&json!("knn"), &json!(200)));
    let said = stderr(&output);
    assert!(said.contains("stdin:8:") && said.contains("1 of 201 lines hold no prompt"), "{said}");
}

#[test]
fn what_cannot_be_solved_is_said() {
    let desk = Desk::new();
    let prices = desk.at("prices.json");
    fs::write(desk.at("empty.jsonl"), "\n").unwrap();
    fs::write(desk.at("bad.jsonl"), "{\"prompt\": \"a\"}\n{\"prompt\": 1}\n").unwrap();
    let failing: [(&[&str], &str); 8] = [
        (
            &["--models", "nonesuch,claude-1,gpt-4-1106-previw"],
            "nonesuch is unknown to router mf\ngpt-4-1106-previw is unknown to router mf; did you mean `gpt-4-1106-preview`?",
        ),
        (
            &["--models", "gpt-4-0613,claude-1", "--prices", &prices],
            "has no price of gpt-4-0613, claude-1: add what is missing, or name the other models with --models",
        ),
        (&["--prices", &prices, "--budget-usd-per-1k", "0.01"], "even the cheapest models cost"),
        (&["--prices", &prices, "--prompts", &desk.at("empty.jsonl")], "holds no prompts"),
        (
            &["--prices", &prices, "--prompts", &desk.at("bad.jsonl")],
            "1 of 2 lines hold no prompt, more than 1 %",
        ),
        (&["--prices", &prices, "--artifact", &prices], "prices.json"),
        (&["--prices", &prices, "--artifact", "no/such"], "--artifact no/such: there is no such file"),
        (&["--prices", "no/such"], "--prices no/such: there is no such file; expected a JSON file of USD"),
    ];
    for (arguments, said) in failing {
        let output = run(&[&["calibrate"], arguments].concat());
        assert_eq!((status(&output), stdout(&output).as_str()), (1, ""), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
    let wrong: [&[&str]; 10] = [
        &[],
        &["--models", "gpt-4-0613,claude-1", "--router", "augury"],
        &["--models", "gpt-4-0613,claude-1", "--router", "random"],
        &["--models", "a,a"],
        &["--models", "claude-1"],
        &["--models", "gpt-4-0613,claude-1", "--out", "x"],
        &["--models", "gpt-4-0613,claude-1", "--budget-usd-per-1k", "1"],
        &["--prices", &prices, "--budget-usd-per-1k", "0"],
        &["--prices", &prices, "--strong-share", "1.5"],
        &["--prices", &prices, "--strong-share", "0.5", "--budget-usd-per-1k", "1"],
    ];
    for arguments in wrong {
        let output = run(&[&["calibrate"], arguments].concat());
        assert_eq!((status(&output), stdout(&output).as_str()), (2, ""), "{arguments:?}");
    }
}

#[test]
fn a_budget_that_is_too_large_is_told() {
    let desk = Desk::new();
    let prices: &Path = &PathBuf::from(desk.at("prices.json"));
    let output = run(&[
        "calibrate",
        "--prices",
        prices.to_str().unwrap(),
        "--budget-usd-per-1k",
        "1000",
        "--format",
        "json",
    ]);
    assert_eq!(status(&output), 0);
    assert!(stderr(&output).contains("the budget is not used up"), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["expected_share"], 1.0);
}
