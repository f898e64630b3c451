//! `pointsman eval`, as a script sees it.

mod battles;
mod outcomes;

use std::path::Path;

use serde_json::Value;

use super::{program, run, stderr, stdout};
use crate::encoder::Trained;

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
    for label in [
        "share of questions answered by gpt-4-1106-preview",
        "random, APGR 0.500",
        "length, APGR",
        "oracle, APGR",
    ] {
        assert!(svg.contains(label), "{label}");
    }
    assert_eq!(svg.matches("<polygon").count(), 1, "the interval of mf");
    // Right on all where the weak model is right on a third: the oracle recovers all with two thirds of the calls.
    let oracle = &found["routers"]["oracle"];
    assert!((oracle["cpt80"].as_f64().unwrap() - 0.8 * 2.0 / 3.0).abs() < 1e-9, "{oracle}");
    assert!((oracle["apgr"].as_f64().unwrap() - 2.0 / 3.0).abs() < 1e-9, "{oracle}");
    assert!(oracle["apgr"].as_f64().unwrap() >= found["routers"]["length"]["apgr"].as_f64().unwrap());
    let exchanged =
        ["--strong", "mixtral-8x7b-instruct-v0.1", "--weak", "gpt-4-1106-preview", "--format", "json"];
    let exchanged = json(&[&arguments[..], &exchanged].concat());
    assert_eq!(exchanged["strong_is_weaker"].as_bool(), Some(true));
    assert!((exchanged["routers"]["mf"]["apgr"].as_f64().unwrap() - (1.0 - apgr)).abs() < 1e-9);
}

/// APGR(b, a) = 1 − APGR(a, b), of everything that is printed; and `knn` and `kmeans` are, whatever is asked for.
#[test]
fn exchanged_models_add_up_to_one_for_all_that_is_printed() {
    let folder = tempfile::tempdir().unwrap();
    let answer = |row: usize, step: usize| title((row * row + row / step) % 5 < 3);
    for (step, row_count) in [(2, 40), (3, 61), (7, 83)] {
        let rows: String = (0..row_count)
            .map(|row| {
                format!(
                    "\"{}?\",{},{}\n",
                    "Why so ".repeat(row * step % 11),
                    answer(row, step),
                    title(row % step != 1)
                )
            })
            .collect();
        let table = format!("prompt,mixtral-8x7b-instruct-v0.1,gpt-4-1106-preview\n{rows}");
        std::fs::write(folder.path().join("mmlu_whys.csv"), table).unwrap();
        let measured = |strong: &str, weak: &str| {
            let data = folder.path().to_str().unwrap();
            let arguments = ["eval", "--benchmark", "routellm-mmlu", "--data", data, "--format", "json"];
            json(
                &[
                    &arguments[..],
                    &["--routers", "mf,sw,blend,best_single", "--strong", strong, "--weak", weak],
                ]
                .concat(),
            )
        };
        let one = measured("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1");
        let other = measured("mixtral-8x7b-instruct-v0.1", "gpt-4-1106-preview");
        let routers = one["routers"].as_object().unwrap();
        let names: Vec<&str> = routers.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            ["best_single", "blend", "kmeans", "knn", "length", "mf", "oracle", "random", "sw"]
        );
        for name in names {
            let [one, other] = [&one, &other].map(|found| found["routers"][name]["apgr"].as_f64().unwrap());
            assert!((one + other - 1.0).abs() < 1e-9, "{name}: {one} and {other}");
        }
    }
}

/// A baseline does not choose what is measured: where it was trained on a prompt, it goes, and the prompt stays.
#[test]
fn a_baseline_that_knows_a_prompt_is_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    mmlu(folder.path(), 40);
    let battle = |row: usize| {
        let prompt = format!("What is {row} + {row}?\nA. this\nB. that\nAnswer:");
        let (a, b) = ("gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1");
        let winner = if row.is_multiple_of(2) { "model_a" } else { "tie" };
        serde_json::json!({"prompt": [prompt], "model_a": a, "model_b": b, "winner": winner}).to_string()
            + "\n"
    };
    std::fs::write(at("battles.jsonl"), (0..40).map(battle).collect::<String>()).unwrap();
    let [data, battles, knn] =
        ["", "battles.jsonl", "knn.safetensors"].map(|name| at(name).to_str().unwrap().to_owned());
    let trained = run(&["train", "knn", "--data", &battles, "--out", &knn]);
    assert_eq!(trained.status.code(), Some(0), "{}", stderr(&trained));
    let arguments = ["eval", "--benchmark", "routellm-mmlu", "--data", &data, "--artifact", &knn];
    let output = run(&[&arguments[..], &["--routers", "mf", "--format", "json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("the baseline knn is left out: knn was trained on"),
        "{}",
        stderr(&output)
    );
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!((found["questions"].as_u64(), found["routers"].get("knn")), (Some(40), None));
    let found = json(&[&arguments[..], &["--routers", "mf,knn", "--format", "json"]].concat());
    assert!(found["questions"].as_u64().unwrap() < 10 && found["routers"].get("knn").is_some(), "{found}");
}

/// Two turns; quality is the mean of both, a question goes when either turn is contaminated, prompts trained on go.
#[test]
fn mt_bench_is_measured_by_both_turns() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let models = ["gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1", "vicuna-13b"];
    let (mut questions, mut judgements) = (String::new(), String::new());
    for id in 0..30 {
        let turns = [format!("Tell me of island {id}."), format!("Now in verse, {id}.")];
        questions +=
            &serde_json::json!({"question_id": id, "category": "writing", "turns": turns}).to_string();
        questions.push('\n');
        for (model, scores) in
            models.iter().zip([[9.0, 8.0], [if id < 10 { 9.0 } else { 5.0 }, 6.0], [1.0, 1.0]])
        {
            for (turn, score) in (1..).zip(scores) {
                let row = serde_json::json!({"question_id": id, "model": model, "judge": ["gpt-4", "pair"], "turn": turn, "score": score, "tstamp": 1.5});
                judgements += &format!("{row}\n");
            }
        }
    }
    std::fs::write(at("question.jsonl"), questions).unwrap();
    std::fs::write(at("judgements.jsonl"), judgements).unwrap();
    let contaminated = "{\"eval_prompt\": \"now in verse, 29.\", \"train_prompt\": \"x\", \"score\": 0.97}\n";
    std::fs::write(at("contaminated_prompts.jsonl"), contaminated).unwrap();
    let data = folder.path().to_str().unwrap();
    let found = json(&["eval", "--benchmark", "routellm-mt-bench", "--data", data, "--format", "json"]);
    assert_eq!((found["questions"].as_u64(), found["dropped_contaminated"].as_u64()), (Some(29), Some(1)));
    let number = |key: &str| found[key].as_f64().unwrap();
    assert!((number("strong_quality") - 8.5).abs() < 1e-9, "{found}");
    assert!((number("weak_quality") - (10.0 * 7.5 + 19.0 * 5.5) / 29.0).abs() < 1e-9, "{found}");
    let mf = &found["routers"]["mf"];
    assert_eq!(mf["curve"].as_array().unwrap().len(), 30);
    assert!((mf["curve"][29][1].as_f64().unwrap() - 8.5).abs() < 1e-9 && mf["curve"][29][0] == 1.0);
    let table = run(&["eval", "--benchmark", "routellm-mt-bench", "--data", data]);
    let table = stdout(&table);
    assert!(["mf ", "random ", "length ", "oracle "].iter().all(|name| table.contains(name)), "{table}");
}

/// With --encoder, a router of the files beside the binary that was trained with it goes before the one in the binary.
#[test]
fn routers_of_an_encoder_are_found_beside_the_binary() {
    let folder = tempfile::tempdir().unwrap();
    mmlu(folder.path(), 10);
    let trained = Trained::new();
    let (data, encoder) = (folder.path().to_str().unwrap(), trained.encoder());
    let arguments =
        ["eval", "--benchmark", "routellm-mmlu", "--data", data, "--encoder", encoder.to_str().unwrap()];
    let with = |routers: &str| {
        let mut command = program(&[&arguments[..], &["--routers", routers]].concat());
        command.env("POINTSMAN_ARTIFACTS", trained.path()).output().unwrap()
    };
    let found = with("mf");
    assert_eq!(found.status.code(), Some(0), "{}", stderr(&found));
    assert!(
        stderr(&found).contains(&format!("mf is {}", trained.artifact().display())),
        "{}",
        stderr(&found)
    );
    assert_eq!(with("bert").status.code(), Some(2), "none was trained with it");
    let file = run(&[&arguments[..], &["--artifact", trained.artifact().to_str().unwrap()]].concat());
    assert_eq!(file.status.code(), Some(0), "{}", stderr(&file));
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
    let untrained = fails(&["--benchmark", "routellm-mmlu", "--routers", "mf,bert"], 2);
    for part in
        ["a `bert` router that reads this embedder", "--artifact", "POINTSMAN_ARTIFACTS", "routers/artifacts"]
    {
        assert!(untrained.contains(part), "{part}: {untrained}");
    }
    let elsewhere = folder.path().join("artifacts");
    let arguments = ["eval", "--data", data, "--benchmark", "routellm-mmlu", "--routers", "bert"];
    let looked = program(&arguments).env("POINTSMAN_ARTIFACTS", &elsewhere).output().unwrap();
    assert!(
        stderr(&looked).contains(elsewhere.to_str().unwrap()),
        "it says where it looked: {}",
        stderr(&looked)
    );
    let same = ["--strong", "mixtral-8x7b-instruct-v0.1", "--weak", "mistralai/Mixtral-8x7B-Instruct-v0.1"];
    let same = fails(&[&["--benchmark", "routellm-mmlu"][..], &same].concat(), 2);
    assert!(same.contains("--strong and --weak are one model"), "{same}");
    let absent = run(&["eval", "--benchmark", "routellm-mmlu", "--data", "no/such"]);
    let expected = "--data no/such: there is no such file; expected the folder of the benchmark's files";
    assert!(stderr(&absent).contains(expected), "{}", stderr(&absent));
    let absent = fails(&["--benchmark", "routellm-mmlu", "--artifact", "no/such"], 1);
    assert!(absent.contains("--artifact no/such: there is no such file; expected the artefact"), "{absent}");
    assert!(
        fails(&["--benchmark", "routellm-mmlu", "--threads", "0"], 2)
            .contains("expected a whole number, 1 or more")
    );
    let both = [
        "--artifact",
        "routers/artifacts/blend-default.safetensors",
        "routers/artifacts/blend-default.safetensors",
    ];
    let both = run(&[&["eval", "--benchmark", "routellm-mmlu", "--data", data][..], &both].concat());
    assert!(
        stdout(&both).contains("routers/artifacts/blend-default.safetensors "),
        "two of a kind go by their files"
    );
    let foreign = folder.path().join("mmlu_sums.csv");
    let foreign = fails(&["--benchmark", "routellm-mmlu", "--artifact", foreign.to_str().unwrap()], 1);
    assert!(foreign.contains("mmlu_sums.csv"), "{foreign}");
    assert!(fails(&["--benchmark", "routellm-gsm8k"], 1).contains("there is no gsm8k_responses.csv"));
    let missing = fails(&["--benchmark", "routellm-mmlu", "--strong", "gpt-4o-2024-05-13"], 1);
    assert!(missing.contains("there is no column gpt-4o-2024-05-13; the header has prompt"), "{missing}");
}
