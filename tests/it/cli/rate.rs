//! `rate`: ratings for people and for programs, from every format of votes.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{run, status, stderr, stdout};

const MIXTRAL: &str = "mixtral-8x7b-instruct-v0.1";

/// Runs `rate … --format json`.
fn ratings(arguments: &[&str]) -> Vec<Value> {
    let output = run(&[&["rate", "--format", "json"], arguments].concat());
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn elo(ratings: &[Value], model: &str) -> f64 {
    ratings.iter().find(|rating| rating["model"] == model).unwrap()["elo"].as_f64().unwrap()
}

/// Votes of three models as pair counts, under names that are not the canonical ones.
fn counts(file: &Path) {
    let counts = json!({
        "models": ["gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1", "dolly-v2-12b"],
        "pairs": [[0, 1], [2, 1], [0, 2]],
        "counts": [[70, 20, 5, 5], [10, 80, 4, 6], [95, 3, 1, 1]],
    });
    fs::write(file, counts.to_string()).unwrap();
}

/// The same votes as `clean_battle` has them, among others that the leaderboard does not count.
fn clean_battle(file: &Path) {
    let mut rows = Vec::new();
    let mut add = |model_a: &str, model_b: &str, winner: &str, times: usize| {
        let row = json!({"model_a": model_a, "model_b": model_b, "winner": winner, "anony": true,
            "dedup_tag": {"high_freq": false, "sampled": true}});
        rows.extend(std::iter::repeat_n(row, times));
    };
    let (gpt, dolly) = ("gpt-4-1106-preview", "dolly-v2-12b");
    for (pair, wins) in
        [((MIXTRAL, gpt), [20, 70, 10]), ((MIXTRAL, dolly), [80, 10, 10]), ((gpt, dolly), [95, 3, 2])]
    {
        for (winner, times) in ["model_a", "model_b", "tie"].into_iter().zip(wins) {
            add(pair.0, pair.1, winner, times);
        }
    }
    let mut shown = rows[0].clone();
    shown["anony"] = json!(false);
    let mut repeated = rows[0].clone();
    repeated["dedup_tag"]["sampled"] = json!(false);
    rows.extend([shown.clone(), shown, repeated]);
    rows.reverse();
    fs::write(file, Value::from(rows).to_string()).unwrap();
}

#[test]
fn counts_and_battles_give_the_same_ratings() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    counts(Path::new(&at("votes.json")));
    clean_battle(Path::new(&at("clean_battle_1.json")));
    let found = ratings(&[&at("votes.json")]);
    let keys: Vec<&String> = found[0].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["battles", "ci95", "elo", "group", "model", "placed_by_prior", "theta"]);
    let names: Vec<_> = found.iter().map(|rating| rating["model"].as_str().unwrap()).collect();
    assert_eq!(names, ["gpt-4-1106-preview", MIXTRAL, "dolly-v2-12b"]);
    assert!((elo(&found, MIXTRAL) - 1114.0).abs() < 1e-9);
    for rating in &found {
        let gap = rating["theta"].as_f64().unwrap() - found[1]["theta"].as_f64().unwrap();
        let expected = 1114.0 + 400.0 / std::f64::consts::LN_10 * gap;
        assert!((rating["elo"].as_f64().unwrap() - expected).abs() < 1e-9);
        let [low, high] = [0, 1].map(|end| rating["ci95"][end].as_f64().unwrap());
        assert!(low <= expected + 1e-9 && expected <= high + 1e-9, "{rating}");
        assert_eq!(rating["battles"], 200);
    }
    assert_eq!(ratings(&[&at("clean_battle_1.json")]), found);
    let unfiltered = ratings(&["--unfiltered", &at("clean_battle_1.json")]);
    assert_eq!(unfiltered[1]["battles"], 203);

    let table = run(&["rate", &at("clean_battle_1.json")]);
    assert_eq!((status(&table), stderr(&table).as_str()), (0, ""));
    assert!(
        stdout(&table).contains("303 battles, of these 301 with anony, of these 300 sampled"),
        "{}",
        stdout(&table)
    );
}

#[test]
fn an_anchor_moves_all_ratings_alike() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    counts(Path::new(&at("votes.json")));
    let standard = ratings(&["--resamples", "0", &at("votes.json")]);
    assert_eq!(standard[0]["ci95"], json!([null, null]));
    let moved = ratings(&["--resamples", "0", "--anchor", "dolly-v2-12b=500", &at("votes.json")]);
    assert!((elo(&moved, "dolly-v2-12b") - 500.0).abs() < 1e-9);
    let gap = |ratings| elo(ratings, "gpt-4-1106-preview") - elo(ratings, "dolly-v2-12b");
    assert!((gap(&standard) - gap(&moved)).abs() < 1e-9);

    let unknown = run(&["rate", "--anchor", "gpt-5=1500", &at("votes.json")]);
    assert_eq!(status(&unknown), 1);
    assert!(stderr(&unknown).contains("gpt-5"), "{}", stderr(&unknown));
    for wrong in ["gpt-4", "gpt-4=high", "gpt-4=inf"] {
        assert_eq!(status(&run(&["rate", "--anchor", wrong, &at("votes.json")])), 2, "{wrong}");
    }
}

#[test]
fn what_votes_do_not_determine_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("votes.json");
    let counts = json!({
        "models": ["best", "b", "c", "x", "y"],
        "pairs": [[0, 1], [1, 2], [3, 4]],
        "counts": [[5, 0, 0, 0], [3, 2, 0, 0], [1, 1, 0, 0]],
    });
    fs::write(&file, counts.to_string()).unwrap();
    let table = run(&["rate", file.to_str().unwrap()]);
    assert_eq!(status(&table), 0);
    let table = stdout(&table);
    for said in [
        "finite rating to 1 of the models: best.",
        "No battle links 2 groups",
        "no anchor in group 0",
        "won all *",
    ] {
        assert!(table.contains(said), "{said}: {table}");
    }
    let found = ratings(&[file.to_str().unwrap()]);
    let placed: Vec<_> = found.iter().map(|rating| rating["placed_by_prior"].as_bool().unwrap()).collect();
    assert_eq!(placed, [true, false, false, false, false]);
    assert!(found.iter().all(|rating| rating["elo"].is_f64()));
}

#[test]
fn the_plot_shows_every_model() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    counts(Path::new(&at("votes.json")));
    let found = ratings(&["--plot", &at("out.svg"), &at("votes.json")]);
    let svg = fs::read_to_string(at("out.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("Elo, mixtral-8x7b-instruct-v0.1 = 1114"));
    for rating in found {
        assert!(svg.contains(rating["model"].as_str().unwrap()), "{svg}");
    }
    assert_eq!(svg.matches("<circle").count(), 3);
}

#[test]
fn bad_files_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("battles.jsonl");
    let row = |winner: &str| json!({"model_a": "a", "model_b": "b", "winner": winner}).to_string();
    fs::write(&file, [row("model_a"), row("nobody")].join("\n")).unwrap();
    let output = run(&["rate", file.to_str().unwrap()]);
    assert_eq!((status(&output), stdout(&output).as_str()), (1, ""));
    assert!(stderr(&output).contains("line 2: winner is \"nobody\""), "{}", stderr(&output));
    assert_eq!(status(&run(&["rate", "no/such.json"])), 1);
    for wrong in [&["rate"][..], &["rate", "x", "--resamples", "-1"], &["rate", "x", "--resamples", "100000"]]
    {
        assert_eq!(status(&run(wrong)), 2, "{wrong:?}");
    }
}
