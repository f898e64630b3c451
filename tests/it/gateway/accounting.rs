//! Law 6: what was used is accounted, by estimate where the upstream never said.

use crate::{
    answers::{answer, chat, chat_stream, done, event, finish, stream, word},
    client::post,
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream},
};

async fn stand(upstream: &Upstream) -> Stand {
    let fields =
        "price: {input: 1, output: 2}, timeouts: {response_headers: 1s, first_token: 1s, between_tokens: 1s}";
    Setup::new().model("m", &upstream.base_url(), fields).server("response_buffer: 1KiB").start().await
}

/// Tokens of the prompt, of the answer, and how often they were estimated for this reason.
fn booked(stand: &Stand, reason: &str) -> (u64, u64, u64) {
    let tokens = |kind: &str| stand.metric("pointsman_tokens_total", &[&format!("kind=\"{kind}\"")]);
    let reasons = ["model=\"m\"", &format!("reason=\"{reason}\"")];
    assert_eq!(stand.values("pointsman_usage_estimated_total", &reasons).len(), 1, "shown from the start");
    (tokens("prompt"), tokens("completion"), stand.metric("pointsman_usage_estimated_total", &reasons))
}

/// "hi" and a message's framing.
const PROMPT: u64 = 5;

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_was_written() {
    let gate = Gate::default();
    let upstream =
        Upstream::start([Script::stream().chunk(word("ten chars!")).chunk(word("é")).wait(&gate).end()])
            .await;
    let stand = stand(&upstream).await;
    let mut reply = stand.chat(chat_stream("m")).await;
    reply.until("\"é\"").await;
    drop(reply);
    upstream.abandoned(0).await;
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("cancelled", 1)]);
    assert_eq!(booked(&stand, "cancelled"), (PROMPT, 3, 1));
    let cost: f64 = stand.values("pointsman_cost_usd_total", &[])[0].parse().unwrap();
    assert!((cost - 11e-6).abs() < 1e-12, "{cost}");
}

#[tokio::test]
async fn a_truncated_stream_is_accounted() {
    let upstream = Upstream::start([Script::stream().chunk(word("ten chars!")).reset()]).await;
    let stand = stand(&upstream).await;
    stand.chat(chat_stream("m")).await.text().await;
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("upstream_error", 1)]);
    assert_eq!(booked(&stand, "truncated"), (PROMPT, 3, 1));
}

#[tokio::test]
async fn answers_without_usage_are_estimated() {
    let silent = |text: &str| answer(text).replace(",\"usage\":", ",\"usage_\":");
    let long = silent(&"x".repeat(40_000));
    let call = event(
        r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_12345","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}}]}"#,
    );
    let list =
        r#"{"object":"list","data":[{"index":0,"embedding":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
    let spoken = r#"{"status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"12345678"}]}]}"#;
    for (path, request, script, prompt, completion) in [
        ("chat/completions", chat("m"), Script::json(200, &silent("12345678")), PROMPT, 2..=2),
        ("chat/completions", chat("m"), Script::json(200, &long), PROMPT, 10_000..=10_100),
        ("chat/completions", chat_stream("m"), Script::events(&stream("12345678")), PROMPT, 2..=2),
        ("chat/completions", chat_stream("m"), Script::events(&[call, finish(0), done()]), PROMPT, 2..=2),
        ("embeddings", r#"{"model":"m","input":"123456"}"#.to_owned(), Script::json(200, list), 2, 0..=0),
        ("responses", r#"{"model":"m","input":"123456"}"#.to_owned(), Script::json(200, spoken), 2, 2..=2),
    ] {
        let upstream = Upstream::start([script]).await;
        let stand = stand(&upstream).await;
        stand.post(&format!("/v1/{path}"), request.clone()).await.text().await;
        assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)], "{request}");
        let (read, written, estimated) = booked(&stand, "missing");
        assert_eq!((read, estimated), (prompt, 1), "{request}");
        assert!(completion.contains(&written), "{request}: {written}");
    }
}

#[tokio::test]
async fn what_was_reported_is_not_estimated() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream).await;
    stand.chat(chat("m")).await.text().await;
    assert_eq!(booked(&stand, "missing"), (7, 3, 0));
}

#[tokio::test]
async fn a_call_that_is_given_up_before_its_answer_pays_for_its_prompt() {
    let upstream = Upstream::start([Script::empty().silence()]).await;
    let stand = stand(&upstream).await;
    let mut asking = tokio::task::JoinSet::new();
    let client = stand.client().await;
    asking.spawn(async move { client.last(post("/v1/chat/completions", chat("m"))).await.status });
    upstream.request(0).await;
    asking.shutdown().await;
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("cancelled", 1)]);
    assert_eq!(booked(&stand, "cancelled"), (PROMPT, 0, 1));
}

#[tokio::test]
async fn a_call_that_fails_before_its_answer_pays_for_nothing() {
    let refuses = Script::json(400, r#"{"error":{"message":"no"}}"#);
    for (script, outcome) in [(Script::json(500, "{}"), "upstream_error"), (refuses, "client_error")] {
        let upstream = Upstream::start([script]).await;
        let stand = stand(&upstream).await;
        stand.chat(chat("m")).await.text().await;
        assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [(outcome, 1)]);
        assert_eq!(booked(&stand, "missing"), (0, 0, 0));
    }
}
