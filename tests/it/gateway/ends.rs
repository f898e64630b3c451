//! Law 5: never a truncated success.

use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    answers::{answer, as_named, chat, chat_stream, done, event, finish, role, usage, word},
    client::{Client, RawClient, post},
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream},
};

async fn stand(upstream: &Upstream) -> Stand {
    Setup::new()
        .model(
            "m",
            &upstream.base_url(),
            "timeouts: {response_headers: 1s, first_token: 1s, between_tokens: 1s}",
        )
        .server("response_buffer: 1KiB")
        .start()
        .await
}

async fn outcome(stand: &Stand) -> Vec<(&'static str, u64)> {
    stand.outcomes().await.into_iter().collect()
}

/// The JSON of the last event, which must be an error as the official SDKs know it.
fn error_at_end(text: &str) -> Value {
    let last = text.strip_suffix("\n\n").and_then(|text| text.rsplit("\n\n").next()).unwrap_or_default();
    let json: Value = serde_json::from_str(last.strip_prefix("data: ").unwrap_or_default())
        .unwrap_or_else(|error| panic!("{error}: {text}"));
    assert!(json["error"]["message"].is_string(), "{text}");
    json["error"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_truncated_stream_ends_with_an_error_and_without_done() {
    let begun = || Script::stream().chunk(role()).chunk(word("begun"));
    for (what, script, code) in [
        ("reset", begun().reset(), "upstream_truncated"),
        ("closed", begun().close(), "upstream_truncated"),
        ("half-closed", begun().half_close(), "upstream_truncated"),
        ("ended in good form", begun().end(), "upstream_truncated"),
        ("done without a finish_reason", begun().chunk(done()).end(), "upstream_truncated"),
        ("half an event", begun().chunk(&word("half")[..50]).close(), "upstream_truncated"),
        ("a broken chunk", begun().write("zz\r\nrubbish").close(), "upstream_truncated"),
        ("silence", begun().silence(), "upstream_between_tokens_timeout"),
        ("no JSON", begun().chunk("data: {\"choices\":\n\n").end(), "upstream_malformed"),
        (
            "an error of its own",
            begun().chunk(event(r#"{"error":{"message":"overloaded"}}"#)).chunk(done()).end(),
            "upstream_reported_error",
        ),
    ] {
        let upstream = Upstream::start([script]).await;
        let stand = stand(&upstream).await;
        let mut reply = stand.chat(chat_stream("m")).await;
        assert_eq!(reply.status, 200, "{what}");
        let text = reply.text().await;
        assert!(text.starts_with(&as_named(&[role(), word("begun")].concat(), "m")), "{what}: {text}");
        assert!(!text.contains("[DONE]") && !text.contains("half"), "{what}: {text}");
        assert_eq!(error_at_end(&text)["code"], code, "{what}");
        assert_eq!(outcome(&stand).await, [("upstream_error", 1)], "{what}");
        let labels = ["model=\"m\"", &format!("result=\"{code}\"")];
        assert_eq!(stand.metric("pointsman_attempts_total", &labels), 1, "{what}: {}", stand.metrics());
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_done_is_supplied_when_every_choice_has_finished() {
    let whole = [role(), word("a"), finish(0)];
    let begun = || whole.iter().fold(Script::stream(), |script, event| script.chunk(event));
    for (what, script) in [
        ("ended", begun().end()),
        ("closed", begun().close()),
        ("half-closed", begun().half_close()),
        ("reset", begun().reset()),
        ("silent", begun().silence()),
        ("with usage", begun().chunk(usage(1, 2)).end()),
        ("without a blank line", begun().chunk("data: [DONE]").end()),
    ] {
        let upstream = Upstream::start([script]).await;
        let stand = stand(&upstream).await;
        let text = stand.chat(chat_stream("m")).await.text().await;
        let expected = as_named(&whole.concat(), "m") + &done();
        assert_eq!(text.trim_end(), expected.trim_end(), "{what}");
        assert_eq!(outcome(&stand).await, [("ok", 1)], "{what}");
    }
}

#[tokio::test]
async fn all_n_choices_must_finish() {
    let two = chat_stream("m").replace("\"stream\"", "\"n\":2,\"stream\"");
    let one_of_two = Upstream::start([Script::events(&[word("a"), finish(1), finish(1), done()])]).await;
    let stand_one = stand(&one_of_two).await;
    let text = stand_one.chat(two.clone()).await.text().await;
    assert!(!text.contains("[DONE]"), "{text}");
    assert_eq!(error_at_end(&text)["code"], "upstream_truncated");
    assert_eq!(outcome(&stand_one).await, [("upstream_error", 1)]);

    let both = Upstream::start([Script::events(&[word("a"), finish(1), word("b"), finish(0)])]).await;
    let stand_both = stand(&both).await;
    assert!(stand_both.chat(two).await.text().await.ends_with(&done()));
    assert_eq!(outcome(&stand_both).await, [("ok", 1)]);
}

#[tokio::test]
async fn other_endpoints_streams_end_honestly_too() {
    let text =
        |word: &str| event(&format!(r#"{{"choices":[{{"index":0,"text":"{word}","finish_reason":null}}]}}"#));
    let delta = event(r#"{"type":"response.output_text.delta","delta":"x"}"#);
    let completed = event(
        r#"{"type":"response.completed","response":{"model":"up","usage":{"input_tokens":1,"output_tokens":2}}}"#,
    );
    let completion = r#"{"model":"m","prompt":"hi","stream":true}"#;
    let response = r#"{"model":"m","input":"hi","stream":true}"#;
    for (path, request, events, whole) in [
        ("/v1/completions", completion, vec![text("a"), finish(0), done()], true),
        ("/v1/completions", completion, vec![text("a")], false),
        ("/v1/responses", response, vec![delta.clone(), completed], true),
        ("/v1/responses", response, vec![delta], false),
    ] {
        let upstream = Upstream::start([Script::events(&events)]).await;
        let stand = stand(&upstream).await;
        let got = stand.post(path, request).await.text().await;
        if whole {
            assert_eq!(got, as_named(&events.concat(), "m"), "{path}");
        } else {
            assert_eq!(error_at_end(&got)["code"], "upstream_truncated", "{path}");
        }
        assert_eq!(outcome(&stand).await, [(if whole { "ok" } else { "upstream_error" }, 1)], "{path}");
    }
}

fn long() -> String {
    answer(&"x".repeat(100_000))
}

/// A body that the end of its connection ends: a cut looks like an end.
fn unsized_and_cut() -> Script {
    Script::empty().write("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").write(&long()[..50_000]).close()
}

#[tokio::test]
async fn a_long_answer_without_length_is_whole_when_its_object_is() {
    let head = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let upstream = Upstream::start([Script::empty().write(head).write(long()).close()]).await;
    let stand = stand(&upstream).await;
    assert_eq!(stand.chat(chat("m")).await.text().await, as_named(&long(), "m"));
    assert_eq!(outcome(&stand).await, [("ok", 1)]);
}

#[tokio::test]
async fn a_long_answer_cut_resets_an_http2_stream_alone() {
    let upstream = Upstream::start([unsized_and_cut(), Script::json(200, &long())]).await;
    let stand = stand(&upstream).await;
    let mut client = Client::http2(TcpStream::connect(stand.address).await.unwrap()).await;
    let mut cut = client.send(post("/v1/chat/completions", chat("m"))).await;
    assert!(cut.bytes().await.is_err(), "a part was given as the whole");
    assert_eq!(outcome(&stand).await, [("upstream_error", 1)]);
    assert_eq!(
        client.send(post("/v1/chat/completions", chat("m"))).await.text().await,
        as_named(&long(), "m")
    );
}

/// Passed on as it came, and no success.
#[tokio::test]
async fn a_response_that_says_it_failed_is_an_upstreams_error() {
    let error = r#""error":{"code":"server_error","message":"no"}"#;
    let whole = format!(r#"{{"id":"r","status":"failed",{error},"output":[]}}"#);
    let failed = event(&format!(r#"{{"type":"response.failed","response":{whole}}}"#));
    let delta = event(r#"{"type":"response.output_text.delta","delta":"x"}"#);
    let streamed = r#"{"model":"m","input":"hi","stream":true}"#;
    for (request, script, expected) in [
        (r#"{"model":"m","input":"hi"}"#, Script::json(200, &whole), whole.clone()),
        (streamed, Script::events(&[delta.clone(), failed.clone()]), [delta, failed.clone()].concat()),
        (streamed, Script::events(std::slice::from_ref(&failed)), failed.clone()),
    ] {
        let upstream = Upstream::start([script]).await;
        let stand = stand(&upstream).await;
        let mut reply = stand.post("/v1/responses", request).await;
        assert_eq!((reply.status.as_u16(), reply.text().await), (200, expected));
        assert_eq!(outcome(&stand).await, [("upstream_error", 1)], "{request}");
        assert_eq!(stand.metric("pointsman_attempts_total", &["result=\"upstream_answer_failed\""]), 1);
    }
}

/// Past the buffer the status is sent, so the connection is all that can tell.
#[tokio::test]
async fn a_long_answer_cut_after_its_status_aborts_the_connection() {
    let body = long();
    let sized = |length: usize| format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n");
    for (what, script) in [
        ("shorter than announced", Script::empty().write(sized(body.len() + 1)).write(&body).close()),
        ("reset", Script::empty().write(sized(body.len())).write(&body[..50_000]).reset()),
        ("a chunk missing", Script::stream_with("x: y").chunk(&body).close()),
        ("cut where its connection's end is its own", unsized_and_cut()),
        ("half a JSON object in good form", Script::stream_with("x: y").chunk(&body[..50_000]).end()),
        ("half a JSON object of known length", Script::json(200, &body[..50_000])),
    ] {
        let upstream = Upstream::start([script]).await;
        let stand = stand(&upstream).await;
        let mut client = RawClient::connect(stand.address).await;
        let request = chat("m");
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer tenant-key\r\ncontent-length: {}\r\n\r\n",
            request.len()
        );
        client.send(head + &request).await;
        let got = client.rest().await;
        assert!(got.starts_with("HTTP/1.1 200"), "{what}");
        let (head, received) = got.split_once("\r\n\r\n").unwrap();
        let announced = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = match announced {
            Some(length) => received.len() >= length.parse::<usize>().unwrap(),
            None => received.ends_with("0\r\n\r\n"),
        };
        assert!(!whole, "{what}: a part was given as the whole: {head}");
        assert_eq!(outcome(&stand).await, [("upstream_error", 1)], "{what}");
    }
}

#[tokio::test]
async fn a_whole_stream_is_not_an_error_for_its_gates() {
    let gate = Gate::default();
    let script = Script::stream().chunk(word("a")).wait(&gate).chunk(finish(0)).chunk(done()).end();
    let upstream = Upstream::start([script]).await;
    let stand = stand(&upstream).await;
    let mut reply = stand.chat(chat_stream("m")).await;
    reply.until("\"a\"").await;
    gate.open();
    assert!(reply.text().await.ends_with(&done()));
    assert_eq!(outcome(&stand).await, [("ok", 1)]);
}

/// A long page is as little an answer as a short one.
#[tokio::test]
async fn a_long_page_is_no_answer() {
    let page = format!("<html>{}</html>", "x".repeat(10_000));
    let upstream = Upstream::start([Script::whole(200, "content-type: text/html", page.as_bytes())]).await;
    let stand = stand(&upstream).await;
    let mut reply = stand.chat(chat("m")).await;
    assert_eq!(reply.status, 502);
    assert_eq!(reply.error().await["code"], "upstream_not_an_answer");
}

/// Every wait has a limit, the one for the rest of a long answer too.
#[tokio::test(start_paused = true)]
async fn a_long_answer_that_falls_silent_is_cut() {
    let script = Script::stream_with("content-type: application/json").chunk(&long()[..50_000]).silence();
    let upstream = Upstream::start([script]).await;
    let stand = stand(&upstream).await;
    let mut reply = stand.chat(chat("m")).await;
    assert_eq!(reply.status, 200);
    assert!(reply.bytes().await.is_err(), "a part was given as the whole");
    assert_eq!(outcome(&stand).await, [("upstream_error", 1)]);
}
