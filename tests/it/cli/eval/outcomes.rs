//! Rows of scores: any number of models, with and without prices.

use serde_json::Value;

use super::json;
use crate::cli::{run, stderr, stdout};

fn row(number: usize, category: &str, scores: &str) -> String {
    format!(
        "{{\"id\":\"{number}\",\"source\":\"mine\",\"category\":\"{category}\",\"prompt\":\"question {number}\",\"scores\":{{{scores}}}}}\n"
    )
}

/// The best model of one category is the first, of the other the second.
fn rows() -> String {
    let scores = |number: usize| match number % 4 {
        0 => ("one", "\"gpt-4-1106-preview\":1,\"claude-2.0\":0,\"llama-3.1-8b-instruct\":1"),
        1 => ("two", "\"gpt-4-1106-preview\":0,\"claude-2.0\":1,\"llama-3.1-8b-instruct\":0"),
        _ => ("one", "\"gpt-4-1106-preview\":1,\"claude-2.0\":0,\"llama-3.1-8b-instruct\":0"),
    };
    (0..40).map(|number| row(number, scores(number).0, scores(number).1)).collect()
}

#[test]
fn outcomes_are_measured_for_any_number_of_models() {
    let folder = tempfile::tempdir().unwrap();
    let rows = rows();
    let lacking = row(99, "one", "\"gpt-4-1106-preview\":1");
    let (data, prices) = (folder.path().join("rows.jsonl"), folder.path().join("prices.json"));
    std::fs::write(&data, rows + &lacking).unwrap();
    let usd = "{\"gpt-4-1106-preview\":{\"input\":30,\"output\":60},\"claude-2\":{\"input\":8,\"output\":24},\"llama-3.1-8b-instruct\":{\"input\":0.1,\"output\":0.1}}";
    std::fs::write(&prices, usd).unwrap();
    let plot = folder.path().join("costs.svg");
    let (data, prices, plot) = (data.to_str().unwrap(), prices.to_str().unwrap(), plot.to_str().unwrap());
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
        "--plot",
        plot,
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
    assert!(number(&single["gain"]).abs() < 1e-9, "{single}");
    // Lots reach the mean of all models, whichever they fall on.
    let random = &found["routers"]["random"];
    assert!((number(&random["quality"]) - number(&found["random"])).abs() < 1e-9, "{random}");
    let gain = random["gain_ci95"].as_array().unwrap();
    assert!(
        number(&gain[0]) < number(&random["gain"]) && number(&random["gain"]) < number(&gain[1]),
        "{random}"
    );
    assert_eq!(random["costs"]["curve"].as_array().unwrap().len(), 1);
    let svg = std::fs::read_to_string(plot).unwrap();
    for label in [
        "USD per thousand requests",
        "mean score",
        "oracle 1.000",
        "dataset oracle 1.000",
        "best single 0.750",
    ] {
        assert!(svg.contains(label), "{label}");
    }
    let unpriced = run(&["eval", "--benchmark", "outcomes", "--data", data, "--plot", plot]);
    assert_eq!(unpriced.status.code(), Some(2));
    assert!(stderr(&unpriced).contains("give --prices"), "{}", stderr(&unpriced));
}

/// What the table says beside its numbers, and what is said of prices that cannot be used.
#[test]
fn the_table_explains_itself_and_prices_that_lack_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("rows.jsonl");
    std::fs::write(&data, rows()).unwrap();
    let priced = |prices: &str| {
        let file = folder.path().join("prices.json");
        std::fs::write(&file, prices).unwrap();
        let arguments = ["eval", "--benchmark", "outcomes", "--data", data.to_str().unwrap(), "--prices"];
        run(&[&arguments[..], &[file.to_str().unwrap()]].concat())
    };
    let all = "{\"gpt-4-1106-preview\":{\"input\":30,\"output\":60},\"claude-2\":{\"input\":8,\"output\":24},\"llama-3.1-8b-instruct\":{\"input\":0.1,\"output\":0.1}}";
    let said = stdout(&priced(all));
    assert!(said.contains("needs --train") && said.contains("mixing two settings by lot"), "{said}");
    assert!(said.contains("knn ") && said.contains("kmeans "), "{said}");
    let few = stderr(&priced(r#"{"claude-2": {"input": 1, "output": 1}}"#));
    let expected = "has no price of gpt-4-1106-preview, llama-3.1-8b-instruct: add what is missing, or name the other models with --pool";
    assert!(few.contains(expected), "{few}");
    let odd = stderr(&priced(r#"{"claude-2": {"input": "1", "output": 1}}"#));
    assert!(odd.contains("expected a number at line 1 column"), "{odd}");
}

/// A model named twice, by two spellings, is one; a router that is as good by two models is worth their mean.
#[test]
fn ties_are_averaged_and_spellings_joined() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("rows.jsonl");
    let row = |number: usize| {
        let scores = serde_json::json!({"mixtral-8x7b-instruct-v0.1": number % 2, "gpt-4-1106-preview": 1});
        serde_json::json!({"prompt": format!("question {number}"), "scores": scores}).to_string() + "\n"
    };
    std::fs::write(&data, (0..20).map(row).collect::<String>()).unwrap();
    let pool = "gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1,mistralai/Mixtral-8x7B-Instruct-v0.1";
    let data = data.to_str().unwrap();
    let found =
        json(&["eval", "--benchmark", "outcomes", "--data", data, "--pool", pool, "--format", "json"]);
    assert_eq!(found["pool"].as_array().unwrap().len(), 2);
    assert!((found["random"].as_f64().unwrap() - 0.75).abs() < 1e-9);
    let lone = run(&["eval", "--benchmark", "outcomes", "--data", data, "--pool", "gpt-4-1106-preview"]);
    assert_eq!(lone.status.code(), Some(1));
    assert!(stderr(&lone).contains("two are needed"), "{}", stderr(&lone));
    let unknown =
        |pool: &str| stderr(&run(&["eval", "--benchmark", "outcomes", "--data", data, "--pool", pool]));
    let near = unknown("gpt-4-1106-preveiw,mixtral-8x7b-instruct-v0.1");
    let expected = "no row has a score of gpt-4-1106-preveiw; did you mean `gpt-4-1106-preview`?";
    assert!(near.contains(expected), "{near}");
    let far = unknown("claude-2.0,mixtral-8x7b-instruct-v0.1");
    assert!(far.contains("no row has a score of claude-2.0") && !far.contains("mean"), "{far}");
}
