//! `pointsman eval`, as a script sees it.

use std::path::Path;

use serde_json::Value;

use super::{run, stderr, stdout};

/// Questions in MMLU's layout: the strong model is right on all, the weak one on every third.
fn mmlu(folder: &Path, questions: usize) {
    let rows: String = (0..questions)
        .map(|row| {
            format!("\"What is {row} + {row}?\nA. this\nB. that\nAnswer:\",{},True\n", title(row % 3 == 0))
        })
        .collect();
    let table = format!("prompt,mistralai/Mixtral-8x7B-Instruct-v0.1,gpt-4-1106-preview\n{rows}");
    std::fs::write(folder.join("mmlu_sums.csv"), table).unwrap();
}

fn title(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    serde_json::from_str(&stdout(&output)).unwrap()
}

#[test]
fn a_benchmark_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    mmlu(folder.path(), 60);
    let (data, plot) = (folder.path().to_str().unwrap(), folder.path().join("curve.svg"));
    let arguments = ["eval", "--benchmark", "routellm-mmlu", "--data", data, "--routers", "mf,random"];
    let found = json(&[&arguments[..], &["--format", "json", "--plot", plot.to_str().unwrap()]].concat());
    assert_eq!((found["questions"].as_u64(), found["dropped_trained"].as_u64()), (Some(60), Some(0)));
    assert_eq!(
        (found["strong_quality"].as_f64(), found["strong_is_weaker"].as_bool()),
        (Some(1.0), Some(false))
    );
    assert!((found["weak_quality"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-9);
    assert_eq!(found["routers"]["random"]["apgr"].as_f64(), Some(0.5));
    assert_eq!(found["routers"]["random"]["apgr_ci95"], serde_json::json!([0.5, 0.5]));
    assert!((found["routers"]["random"]["cpt80"].as_f64().unwrap() - 0.8).abs() < 1e-9);
    let mf = &found["routers"]["mf"];
    assert_eq!(mf["curve"].as_array().unwrap().len(), 61);
    let (apgr, bounds) = (mf["apgr"].as_f64().unwrap(), mf["apgr_ci95"].as_array().unwrap());
    assert!(bounds[0].as_f64().unwrap() <= apgr && apgr <= bounds[1].as_f64().unwrap());
    let svg = std::fs::read_to_string(plot).unwrap();
    assert!(
        svg.contains("share of questions answered by gpt-4-1106-preview")
            && svg.contains("random, APGR 0.500")
    );
    let exchanged =
        ["--strong", "mixtral-8x7b-instruct-v0.1", "--weak", "gpt-4-1106-preview", "--format", "json"];
    let exchanged = json(&[&arguments[..], &exchanged].concat());
    assert_eq!(exchanged["strong_is_weaker"].as_bool(), Some(true));
    assert!((exchanged["routers"]["mf"]["apgr"].as_f64().unwrap() - (1.0 - apgr)).abs() < 1e-9);
}

#[test]
fn outcomes_are_measured_for_any_number_of_models() {
    let folder = tempfile::tempdir().unwrap();
    let row = |row: usize, category: &str, scores: &str| {
        format!(
            "{{\"id\":\"{row}\",\"source\":\"mine\",\"category\":\"{category}\",\"prompt\":\"question {row}\",\"scores\":{{{scores}}}}}\n"
        )
    };
    let rows: String = (0..40)
        .map(|number| match number % 4 {
            0 => row(number, "one", "\"gpt-4-1106-preview\":1,\"claude-2.0\":0,\"llama-3.1-8b-instruct\":1"),
            1 => row(number, "two", "\"gpt-4-1106-preview\":0,\"claude-2.0\":1,\"llama-3.1-8b-instruct\":0"),
            _ => row(number, "one", "\"gpt-4-1106-preview\":1,\"claude-2.0\":0,\"llama-3.1-8b-instruct\":0"),
        })
        .collect();
    let lacking = row(99, "one", "\"gpt-4-1106-preview\":1");
    let (data, prices) = (folder.path().join("rows.jsonl"), folder.path().join("prices.json"));
    std::fs::write(&data, rows + &lacking).unwrap();
    let usd = "{\"gpt-4-1106-preview\":{\"input\":30,\"output\":60},\"claude-2\":{\"input\":8,\"output\":24},\"llama-3.1-8b-instruct\":{\"input\":0.1,\"output\":0.1}}";
    std::fs::write(&prices, usd).unwrap();
    let (data, prices) = (data.to_str().unwrap(), prices.to_str().unwrap());
    let found = json(&[
        "eval",
        "--benchmark",
        "outcomes",
        "--data",
        data,
        "--train",
        data,
        "--prices",
        prices,
        "--routers",
        "best_single,random",
        "--format",
        "json",
    ]);
    assert_eq!((found["rows"].as_u64(), found["dropped_incomplete"].as_u64()), (Some(40), Some(1)));
    assert_eq!(found["best_single"].as_str(), Some("gpt-4-1106-preview"));
    let number = |value: &Value| value.as_f64().unwrap();
    assert!((number(&found["singles"]["gpt-4-1106-preview"]["quality"]) - 0.75).abs() < 1e-9);
    assert!((number(&found["oracle"]) - 1.0).abs() < 1e-9);
    assert!((number(&found["dataset_oracle"]) - 1.0).abs() < 1e-9, "{found}");
    let single = &found["routers"]["best_single"];
    assert!((number(&single["quality"]) - 0.75).abs() < 1e-9, "{single}");
    let cost = number(&found["singles"]["gpt-4-1106-preview"]["cost_usd"]);
    assert!((number(&single["costs"]["cost_at_best_single"]) - cost).abs() < 1e-9);
    assert!(number(&single["costs"]["aiq"]) > 0.25, "{single}");
}

#[test]
fn what_cannot_be_measured_is_said() {
    let folder = tempfile::tempdir().unwrap();
    mmlu(folder.path(), 10);
    let data = folder.path().to_str().unwrap();
    let fails = |arguments: &[&str], status: i32| {
        let output = run(&[&["eval", "--data", data][..], arguments].concat());
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        stderr(&output)
    };
    let unknown = fails(&["--benchmark", "routellm-mmlu", "--routers", "augury"], 2);
    assert!(unknown.contains("there is no router of kind `augury`"), "{unknown}");
    assert!(fails(&["--benchmark", "routellm-gsm8k"], 1).contains("there is no gsm8k_responses.csv"));
    let missing = fails(&["--benchmark", "routellm-mmlu", "--strong", "gpt-4o-2024-05-13"], 1);
    assert!(missing.contains("there is no column gpt-4o-2024-05-13; the header has prompt"), "{missing}");
}
