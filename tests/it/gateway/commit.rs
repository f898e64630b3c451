//! Law 4: before the first content a failure goes on to the next model and leaves no trace; after it, nothing is
//! retried.

use crate::{
    answers::{answer, chat, chat_stream, done, event, finish, role, stream, word},
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream},
};

/// A header and an id that must not be seen of an attempt that failed.
const LEAK: &str = "x-leak: leaked";

/// Two models in this order; silence is noticed after a second.
async fn pair(first: &str, second: &Upstream) -> Stand {
    Setup::new()
        .model(
            "first",
            first,
            "timeouts: {connect: 1s, response_headers: 1s, first_token: 2s, between_tokens: 1s}",
        )
        .model(
            "second",
            &second.base_url(),
            "timeouts: {response_headers: 1s, first_token: 2s, between_tokens: 1s}",
        )
        .start()
        .await
}

async fn good() -> Upstream {
    Upstream::start([Script::json(200, &answer("good"))]).await
}

async fn good_stream() -> Upstream {
    Upstream::start([Script::events(&stream("good"))]).await
}

fn json_with_leak(status: u16, body: &str) -> Script {
    Script::whole(status, &format!("content-type: application/json\r\n{LEAK}"), body.as_bytes())
}

fn stream_with_leak() -> Script {
    Script::stream_with(&format!("content-type: text/event-stream\r\n{LEAK}"))
}

fn leaked_role() -> String {
    role().replace("c1", "leaked")
}

/// What both kinds of answers can break by, and what the attempt is counted as.
fn failures() -> Vec<(&'static str, Script, &'static str)> {
    let error = r#"{"error":{"message":"leaked","type":"server_error"}}"#;
    vec![
        ("reset before the head", Script::empty().reset(), "upstream_closed"),
        ("closed before the head", Script::empty().close(), "upstream_closed"),
        ("not HTTP", Script::empty().write("leaked\r\n\r\n").close(), "upstream_closed"),
        ("a head cut", Script::empty().write("HTTP/1.1 200 OK\r\nx-leak: lea").reset(), "upstream_closed"),
        ("silence", Script::empty().silence(), "upstream_headers_timeout"),
        ("401", json_with_leak(401, error), "upstream_misconfigured"),
        ("403", json_with_leak(403, error), "upstream_misconfigured"),
        ("404", json_with_leak(404, error), "upstream_misconfigured"),
        ("408", json_with_leak(408, error), "upstream_failed"),
        ("429", json_with_leak(429, error), "rate_limit_exceeded"),
        ("500", json_with_leak(500, error), "upstream_failed"),
        ("502", json_with_leak(502, "<html>leaked"), "upstream_failed"),
        ("503", json_with_leak(503, error), "upstream_unavailable"),
        ("529", json_with_leak(529, error), "upstream_failed"),
        (
            "302",
            Script::whole(302, &format!("location: http://127.0.0.1:9/v1\r\n{LEAK}"), b""),
            "upstream_failed",
        ),
        (
            "HTML",
            Script::whole(200, &format!("content-type: text/html\r\n{LEAK}"), b"<html>leaked</html>"),
            "upstream_not_an_answer",
        ),
        ("an error with status 200", json_with_leak(200, error), "upstream_not_an_answer"),
        (
            "encoded",
            Script::whole(200, &format!("content-encoding: gzip\r\n{LEAK}"), b"\x1f\x8bleaked"),
            "upstream_not_an_answer",
        ),
    ]
}

/// What whole answers alone can break by.
fn whole_failures() -> Vec<(&'static str, Script, &'static str)> {
    let cut = answer("leaked");
    let head = |length: usize| format!("HTTP/1.1 200 OK\r\n{LEAK}\r\ncontent-length: {length}\r\n\r\n");
    vec![
        ("not JSON", json_with_leak(200, "leaked"), "upstream_not_an_answer"),
        ("half of the JSON", json_with_leak(200, &cut[..60]), "upstream_not_an_answer"),
        ("no choices", json_with_leak(200, r#"{"id":"leaked"}"#), "upstream_not_an_answer"),
        ("nothing", json_with_leak(200, ""), "upstream_not_an_answer"),
        (
            "more announced than sent",
            Script::empty().write(head(cut.len() + 9)).write(&cut).close(),
            "upstream_truncated",
        ),
        (
            "reset in the body",
            Script::empty().write(head(cut.len())).write(&cut[..40]).reset(),
            "upstream_truncated",
        ),
        (
            "silence in the body",
            Script::empty().write(head(cut.len())).write(&cut[..40]).silence(),
            "upstream_between_tokens_timeout",
        ),
        ("a broken chunk", Script::stream_with(LEAK).write("zz\r\n").close(), "upstream_truncated"),
        ("events in place of an answer", Script::events(&stream("leaked")), "upstream_not_an_answer"),
    ]
}

/// What streams alone can break by, before their first content.
fn stream_failures() -> Vec<(&'static str, Script, &'static str)> {
    let error = event(r#"{"error":{"message":"leaked"}}"#);
    vec![
        ("an end at once", stream_with_leak().end(), "upstream_truncated"),
        ("a cut at once", stream_with_leak().close(), "upstream_truncated"),
        ("a reset after the role", stream_with_leak().chunk(leaked_role()).reset(), "upstream_truncated"),
        ("an end after the role", stream_with_leak().chunk(leaked_role()).end(), "upstream_truncated"),
        (
            "done after the role",
            stream_with_leak().chunk(leaked_role()).chunk(done()).end(),
            "upstream_truncated",
        ),
        ("half an event", stream_with_leak().chunk(&word("leaked")[..40]).close(), "upstream_truncated"),
        (
            "silence after the role",
            stream_with_leak().chunk(leaked_role()).silence(),
            "upstream_first_token_timeout",
        ),
        (
            "an error event",
            stream_with_leak().chunk(leaked_role()).chunk(error).end(),
            "upstream_reported_error",
        ),
        ("no JSON", stream_with_leak().chunk("data: leaked\n\n").end(), "upstream_malformed"),
        ("a whole answer", json_with_leak(200, &answer("leaked")), "upstream_not_an_answer"),
        ("unnamed HTML", stream_with_leak().chunk("<html>leaked</html>\n\n").end(), "upstream_truncated"),
    ]
}

async fn falls_back(what: &str, script: Script, code: &str, request: String, second: &Upstream) {
    let first = Upstream::start([script]).await;
    let stand = pair(&first.base_url(), second).await;
    let mut reply = stand.chat(request).await;
    assert_eq!(reply.status, 200, "{what}");
    assert_eq!(reply.header("x-pointsman-model"), Some("second"), "{what}");
    assert_eq!(reply.header("x-pointsman-attempts"), Some("2"), "{what}");
    assert_eq!(reply.header("x-leak"), None, "{what}");
    let body = reply.text().await;
    assert!(body.contains("good") && !body.contains("leaked"), "{what}: {body}");
    assert_eq!(first.requests(), 1, "{what}: one attempt per model");
    let labels = ["model=\"first\"", &format!("result=\"{code}\"")];
    assert_eq!(stand.metric("pointsman_attempts_total", &labels), 1, "{what}: {}", stand.metrics());
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)], "{what}");
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_that_fails_goes_to_the_next_model() {
    let second = good().await;
    for (what, script, code) in failures().into_iter().chain(whole_failures()) {
        falls_back(what, script, code, chat("auto"), &second).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_before_its_first_content_goes_to_the_next_model() {
    let second = good_stream().await;
    for (what, script, code) in failures().into_iter().chain(stream_failures()) {
        falls_back(what, script, code, chat_stream("auto"), &second).await;
    }
}

#[tokio::test]
async fn nobody_at_the_address_goes_to_the_next_model() {
    let second = good().await;
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let stand = pair(&format!("http://{nobody}/v1"), &second).await;
    let mut reply = stand.chat(chat("auto")).await;
    assert_eq!(reply.header("x-pointsman-attempts"), Some("2"));
    assert!(reply.text().await.contains("good"));
    let labels = ["model=\"first\"", "result=\"upstream_unreachable\""];
    assert_eq!(stand.metric("pointsman_attempts_total", &labels), 1);
}

/// A redirect could lead anywhere, our key with it.
#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = good().await;
    let location = format!("location: {}/chat/completions", elsewhere.base_url());
    let first = Upstream::start([Script::whole(307, &location, b"")]).await;
    let stand = Setup::new().model("first", &first.base_url(), "").start().await;
    let mut reply = stand.chat(chat("auto")).await;
    assert_eq!(reply.status, 502);
    reply.error().await;
    assert_eq!(reply.header("location"), None);
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn every_kind_of_content_commits() {
    for delta in [
        r#"{"content":"x"}"#,
        r#"{"reasoning_content":"x"}"#,
        r#"{"refusal":"x"}"#,
        r#"{"audio":{"id":"x"}}"#,
        r#"{"tool_calls":[{"index":0,"function":{"name":"x"}}]}"#,
    ] {
        let second = good_stream().await;
        let gate = Gate::default();
        let content = event(&format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#));
        let first =
            Upstream::start([stream_with_leak().chunk(role()).chunk(&content).wait(&gate).reset()]).await;
        let stand = pair(&first.base_url(), &second).await;
        // The head and both events come while the upstream still waits: flushed at once.
        let mut reply = stand.chat(chat_stream("auto")).await;
        assert_eq!(reply.header("x-pointsman-model"), Some("first"), "{delta}");
        assert!(reply.until(&content).await.contains("assistant"), "{delta}");
        gate.open();
        let rest = reply.text().await;
        assert!(rest.contains("upstream_truncated") && !rest.contains("[DONE]"), "{delta}: {rest}");
        assert_eq!(second.requests(), 0, "{delta}: nothing is retried after the commit");
    }
}

#[tokio::test]
async fn after_the_commit_every_event_is_flushed_at_once() {
    let gates: Vec<Gate> = (0..5).map(|_| Gate::default()).collect();
    let mut script = Script::stream().chunk(role());
    for (place, gate) in gates.iter().enumerate() {
        script = script.chunk(word(&format!("w{place}"))).wait(gate);
    }
    let upstream = Upstream::start([script.chunk(finish(0)).chunk(done()).end()]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    let mut reply = stand.chat(chat_stream("m")).await;
    for (place, gate) in gates.iter().enumerate() {
        let text = reply.until(&format!("w{place}")).await;
        assert!(!text.contains(&format!("w{}", place + 1)));
        gate.open();
    }
    assert!(reply.text().await.ends_with("data: [DONE]\n\n"));
}

/// What is held before the first content is bounded: past it, the answer goes on as it is.
#[tokio::test]
async fn no_more_than_a_bounded_prelude_is_held() {
    let gate = Gate::default();
    let comment = format!(": {}\n\n", "x".repeat(1022));
    let upstream = Upstream::start([Script::stream()
        .repeat(crate::upstream::chunk(comment.as_bytes()), 66)
        .wait(&gate)
        .reset()])
    .await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    let mut reply = stand.chat(chat_stream("m")).await;
    let mut got = 0;
    while got <= 64 << 10 {
        got += reply.frame().await.unwrap().unwrap().len();
    }
    gate.open();
    assert!(reply.text().await.contains("upstream_truncated"));
}

#[tokio::test]
async fn a_refusal_of_the_request_is_passed_on_and_not_retried() {
    let second = good().await;
    for status in [400, 413, 415, 422] {
        let error = r#"{"error": {"message":"filtered","type":"invalid_request_error","param":"messages","code":"content_filter"}}"#;
        let first = Upstream::start([Script::json(status, error)]).await;
        let stand = pair(&first.base_url(), &second).await;
        let mut reply = stand.chat(chat("auto")).await;
        assert_eq!(reply.status.as_u16(), status);
        assert_eq!(reply.text().await, error);
        assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("client_error", 1)]);
    }
    assert_eq!(second.requests(), 0);
}

#[tokio::test(start_paused = true)]
async fn when_every_model_fails_the_last_failure_is_told() {
    for (script, status, code) in [
        (Script::empty().reset(), 502, "upstream_closed"),
        (Script::json(500, "{}"), 502, "upstream_failed"),
        (Script::json(401, "{}"), 502, "upstream_misconfigured"),
        (Script::whole(200, "content-type: text/html", b"<html>"), 502, "upstream_not_an_answer"),
        (Script::empty().silence(), 504, "upstream_headers_timeout"),
        (Script::whole(503, "retry-after: 9", b""), 503, "upstream_unavailable"),
        (Script::whole(429, "retry-after: 9", b""), 429, "rate_limit_exceeded"),
    ] {
        let (first, second) =
            (Upstream::start([Script::json(500, "{}")]).await, Upstream::start([script]).await);
        let stand = pair(&first.base_url(), &second).await;
        let mut reply = stand.chat(chat("auto")).await;
        assert_eq!(reply.status, status, "{code}");
        // The client's SDK would multiply our attempts by its own.
        assert_eq!(reply.header("x-should-retry"), Some("false"), "{code}");
        let retry_after = matches!(status, 429 | 503).then_some("9");
        assert_eq!(reply.header("retry-after"), retry_after, "{code}");
        assert_eq!(reply.error().await["code"], code);
        let outcome = if status == 429 { "limited" } else { "upstream_error" };
        assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [(outcome, 1)], "{code}");
    }
}
