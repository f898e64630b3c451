//! Routers whose texts another process reads: a language model that says labels, an encoder that says vectors.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use faer::Mat;
use pointsman::gateway::snapshot;
use pointsman_routers::{
    artifact::{Anchor, Artifact, Body, CalibrationSample, Provenance, Ratings},
    causal::{CausalWeights, Head, Template},
    encoder::Encoder,
};
use serde_json::{Value, json};

use super::ask;
use crate::{
    answers::answer,
    encoder::{MODELS, Trained},
    stand::{Setup, Stand},
    upstream::{Gate, Received, Script, Upstream},
};

/// The strong model's labels and the weak one's.
const LABELS: [[f64; 5]; 2] = [[-9.0, -8.0, -7.0, -1.0, -0.5], [-0.25, -2.0, -3.0, -6.0, -7.0]];

fn artifact(head: Option<Head>) -> Vec<u8> {
    let weights = CausalWeights {
        template: Template::CURRENT.version().to_owned(),
        width: 8,
        question_tokens_max: 64,
        asked: vec![0, 1],
        levels: vec![0.0; 2],
        references: vec![0, 1],
        slope: 1.0,
        head,
    };
    let provenance = Provenance {
        embedder: "a decoder that is trained whole".to_owned(),
        anchor: Anchor::arena(),
        sources: Vec::new(),
        training_prompts: Vec::new(),
        seed: 0,
        metrics: BTreeMap::new(),
    };
    let sample = CalibrationSample::quantise(&Mat::from_fn(2, 2, |row, _| [0.5, -0.5][row]), &[1, 2]);
    let ratings =
        Ratings { models: MODELS.map(str::to_owned).to_vec(), prior: vec![0.0; 2], components: vec![0; 2] };
    Artifact::new(ratings, Body::Causal(weights), provenance, sample).unwrap().to_bytes().unwrap()
}

/// Two models behind a router that `server` reads texts for; `read` says how.
fn setup(answers: &Upstream, route: &str) -> Setup {
    MODELS
        .iter()
        .zip([("strong", 10), ("weak", 1)])
        .fold(Setup::new(), |setup, (model, (name, price))| {
            let fields = format!("rated_as: {model}, price: {{input: {price}, output: {price}}}");
            setup.model(name, &answers.base_url(), &fields)
        })
        .routes(&format!("{{auto: {{{route}, threshold: 0.5}}}}"))
        .tenants("{t: {keys: [{key: tenant-key}], pool: [strong, weak], default_route: auto, default_model: weak}}")
}

fn served(folder: &Path, server: &Upstream, fields: &str) -> String {
    let file = folder.join("causal.safetensors");
    format!("router: causal, artifact: {file:?}, served: {{base_url: \"{}\", {fields}}}", server.base_url())
}

async fn answers() -> Upstream {
    Upstream::start([Script::json(200, &answer("x"))]).await
}

/// By which model a prompt is about.
fn labels_for(prompt: &str) -> BTreeMap<String, f64> {
    let of = MODELS.iter().position(|name| prompt.ends_with(&format!("Model: {name}\nRating:"))).unwrap();
    let named = (1..).zip(LABELS[of]).map(|(label, logprob)| (format!("[[{label}]]"), logprob));
    named.chain([("The".to_owned(), -12.0)]).collect()
}

fn skill(labels: [f64; 5]) -> f64 {
    let sum = |labels: &[f64]| labels.iter().map(|logit| logit.exp()).sum::<f64>().ln();
    sum(&labels[3..]) - sum(&labels[..3])
}

async fn explained(stand: &Stand) -> Value {
    let mut reply = stand.post("/v1/route", ask("auto", "Why is the sky blue?")).await;
    assert_eq!(reply.status, 200);
    reply.json().await
}

#[tokio::test]
async fn the_labels_of_a_served_model_decide() {
    let (folder, answers) = (tempfile::tempdir().unwrap(), answers().await);
    fs::write(folder.path().join("causal.safetensors"), artifact(None)).unwrap();
    for api in ["completions", "chat"] {
        // Nobody is answered before both are asked about.
        let (both, asked) = (Gate::default(), Arc::new(AtomicUsize::new(0)));
        let (open, count) = (both.clone(), Arc::clone(&asked));
        let server = Upstream::playing(move |received: Received| {
            if count.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
                open.open();
            }
            assert_eq!(received.header("authorization"), Some("Bearer sesame"));
            let question: Value = serde_json::from_slice(&received.body).unwrap();
            assert_eq!((&question["model"], &question["max_tokens"]), (&json!("judge"), &json!(1)));
            let body = if received.target() == "/v1/completions" {
                assert_eq!(question["logprobs"], 20);
                let top = labels_for(question["prompt"].as_str().unwrap());
                json!({"choices": [{"text": "[[5]]", "logprobs": {"top_logprobs": [top]}}]})
            } else {
                assert_eq!(
                    (received.target(), &question["top_logprobs"]),
                    ("/v1/chat/completions", &json!(20))
                );
                let top = labels_for(question["messages"][0]["content"].as_str().unwrap());
                let top: Vec<Value> =
                    top.iter().map(|(token, logprob)| json!({"token": token, "logprob": logprob})).collect();
                json!({"choices": [{"logprobs": {"content": [{"token": "[[5]]", "top_logprobs": top}]}}]})
            };
            let body = body.to_string();
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            Script::empty().wait(&both).write(head).write(body)
        })
        .await;
        let route = served(folder.path(), &server, &format!("model: judge, api: {api}, api_key: sesame"));
        let stand = setup(&answers, &format!("{route}, timeout: 20s")).start().await;
        let told = explained(&stand).await;
        assert_eq!(
            (&told["model"], &told["router"], &told["fail_open"]),
            (&json!("strong"), &json!("causal"), &Value::Null)
        );
        for (name, labels) in ["strong", "weak"].into_iter().zip(LABELS) {
            let found = told["skills"][name].as_f64().unwrap();
            assert!((found - skill(labels)).abs() < 1e-5, "{name}: {found}, not {}", skill(labels));
        }
        let reply = stand.chat(ask("auto", "Why is the sky blue?")).await;
        assert_eq!(reply.header("x-pointsman-model"), Some("strong"), "{api}");
        assert_eq!(asked.load(Ordering::Relaxed), 4);
    }
}

#[tokio::test]
async fn with_its_tokenizer_a_server_is_given_tokens() {
    let (trained, answers) = (Trained::new(), answers().await);
    fs::write(trained.path().join("causal.safetensors"), artifact(None)).unwrap();
    let top = json!({"[[1]]": -1.0, "[[5]]": -1.0});
    let server = Upstream::start([Script::json(
        200,
        &json!({"choices": [{"logprobs": {"top_logprobs": [top]}}]}).to_string(),
    )])
    .await;
    let tokenizer = format!("model: judge, tokenizer: {:?}", trained.encoder());
    let stand = setup(&answers, &served(trained.path(), &server, &tokenizer)).start().await;
    assert_eq!(explained(&stand).await["fail_open"], Value::Null);
    let question: Value = serde_json::from_slice(&server.request(0).await.body).unwrap();
    let tokens = question["prompt"].as_array().unwrap();
    assert!(tokens.len() > 3 && tokens.iter().all(Value::is_u64), "{question}");
}

/// The default model answers, and one counter says why.
async fn opens(server: &Upstream, fields: &str, reason: &str) -> Stand {
    let (folder, answers) = (tempfile::tempdir().unwrap(), answers().await);
    fs::write(folder.path().join("causal.safetensors"), artifact(None)).unwrap();
    let route = served(folder.path(), server, &format!("model: judge, {fields}"));
    let stand = setup(&answers, &format!("{route}, timeout: 200ms")).start().await;
    let reply = stand.chat(ask("auto", "hi")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-pointsman-model")), (200, Some("weak")), "{reason}");
    assert_eq!(reply.header("x-pointsman-fail-open"), Some(reason));
    let labels = ["router=\"causal\"", &format!("reason=\"{reason}\"")];
    assert_eq!(stand.metric("pointsman_fail_open_total", &labels), 1);
    stand
}

#[tokio::test]
async fn a_served_model_that_does_not_say_labels_fails_open() {
    let prose = json!({"choices": [{"text": "Well", "logprobs": {"top_logprobs": [{"Well": -0.1}]}}]});
    for script in [
        Script::json(200, &json!({"choices": [{"text": "[[5]]", "logprobs": null}]}).to_string()),
        Script::json(200, &prose.to_string()),
        Script::json(404, "{\"error\": \"no such model\"}"),
        Script::json(503, "{}"),
        Script::json(200, "<html>"),
        Script::json(200, &" ".repeat(5 << 20)),
        Script::empty().reset(),
    ] {
        opens(&Upstream::start([script]).await, "api: completions", "error").await;
    }
    let server = Upstream::start([Script::empty().silence()]).await;
    let stand = opens(&server, "breaker: {failures: 1}", "timeout").await;
    // It is left alone then, and nobody waits for it.
    let asked = server.requests();
    let reply = stand.chat(ask("auto", "hi")).await;
    assert_eq!(reply.header("x-pointsman-fail-open"), Some("error"));
    assert_eq!(server.requests(), asked);
}

#[tokio::test]
async fn more_questions_than_may_be_asked_at_once_fail_open() {
    let server = Upstream::start([Script::empty().silence()]).await;
    let (folder, answers) = (tempfile::tempdir().unwrap(), answers().await);
    fs::write(folder.path().join("causal.safetensors"), artifact(None)).unwrap();
    let route = served(folder.path(), &server, "model: judge");
    let stand = setup(&answers, &route).server("router_queue: 1").start().await;
    let reply = stand.chat(ask("auto", "hi")).await;
    assert_eq!(reply.header("x-pointsman-fail-open"), Some("overloaded"), "two questions for one place");
}

/// Decides by the vectors of a server as by those of the same encoder in this process.
#[tokio::test]
async fn the_vectors_of_a_served_encoder_decide() {
    let (trained, answers) = (Trained::new(), answers().await);
    let encoder = Arc::new(Encoder::load(&trained.encoder()).unwrap());
    let server = Upstream::playing(move |received: Received| {
        let question: Value = serde_json::from_slice(&received.body).unwrap();
        let is_openai = received.target() == "/v1/embeddings";
        let text = question[if is_openai { "input" } else { "inputs" }].as_str().unwrap();
        let row = encoder.embed_batch(&[text]).unwrap();
        // Not of unit length: not every server sees to that.
        let row: Vec<f32> = (0..row.ncols()).map(|column| 3.0 * row[(0, column)]).collect();
        let body = if is_openai { json!({"data": [{"index": 0, "embedding": row}]}) } else { json!([row]) };
        assert!(is_openai || received.target() == "/v1/embed", "{}", received.target());
        Script::json(200, &body.to_string())
    })
    .await;
    let file = trained.artifact();
    let here = format!(
        "router: mf, artifact: {file:?}, timeout: 20s, embedder: {{encoder: {:?}}}",
        trained.encoder()
    );
    let skills = async |stand: Stand| explained(&stand).await["skills"].clone();
    let expected = skills(setup(&answers, &here).start_shipped().await).await;
    assert_ne!(expected["strong"], expected["weak"]);
    for fields in ["model: tiny", "api: embed"] {
        let there = format!(
            "router: mf, artifact: {file:?}, timeout: 20s, served: {{base_url: \"{}\", {fields}}}",
            server.base_url()
        );
        let found = skills(setup(&answers, &there).start().await).await;
        for name in ["strong", "weak"] {
            let difference = found[name].as_f64().unwrap() - expected[name].as_f64().unwrap();
            assert!(difference.abs() < 1e-6, "{fields}: {found}, not {expected}");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_told_at_the_start() {
    let (folder, upstream) = (tempfile::tempdir().unwrap(), answers().await);
    let refused = |route: &str| snapshot(&setup(&upstream, route).config()).unwrap_err().to_string();
    let head = Head { labels: Mat::zeros(5, 8), down: Mat::zeros(2, 8), up: Mat::zeros(8, 2) };
    fs::write(folder.path().join("causal.safetensors"), artifact(Some(head))).unwrap();
    let told = refused(&served(folder.path(), &upstream, "model: m"));
    assert!(told.contains("auto.artifact: its labels are read off hidden states"), "{told}");
    fs::write(folder.path().join("causal.safetensors"), artifact(None)).unwrap();
    let told = refused(&served(folder.path(), &upstream, "model: m, tokenizer: /nowhere"));
    assert!(told.contains("auto.served: /nowhere holds no tokenizer that can be used"), "{told}");
    let told = refused(&format!("router: mf, served: {{base_url: \"{}\", model: m}}", upstream.base_url()));
    assert!(told.contains("auto.served: needs an artefact; name its file by `artifact:`"), "{told}");
}
