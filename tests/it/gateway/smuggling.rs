//! Requests that two servers would read differently are refused, and nothing of them is read as another request.

use crate::{
    answers::{answer, chat, chat_stream, done, finish, word},
    client::{KEY, RawClient},
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream},
};

async fn stand(upstream: &Upstream) -> Stand {
    Setup::new().model("m", &upstream.base_url(), "").start().await
}

/// A request with these header lines and this body, and a smuggled one behind it.
fn bytes(fields: &str, body: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\n{fields}\r\n\r\n{body}\
         GET /v1/models HTTP/1.1\r\nhost: smuggled\r\nauthorization: Bearer {KEY}\r\n\r\n"
    )
}

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

#[tokio::test]
async fn ambiguous_requests_are_refused_and_their_connection_is_closed() {
    let upstream = Upstream::start([Script::json(200, &answer("good"))]).await;
    let stand = stand(&upstream).await;
    let body = chat("m");
    let length = body.len();
    for (what, fields, sent) in [
        ("a length and chunks", "content-length: 5\r\ntransfer-encoding: chunked".to_owned(), chunked(&body)),
        (
            "chunks and a length",
            format!("transfer-encoding: chunked\r\ncontent-length: {}", chunked(&body).len()),
            chunked(&body),
        ),
        (
            "chunked twice",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked".to_owned(),
            chunked(&body),
        ),
        ("coded and chunked", "transfer-encoding: gzip, chunked".to_owned(), chunked(&body)),
        ("two lengths", format!("content-length: {length}\r\ncontent-length: 5"), body.clone()),
        ("two lengths in one", format!("content-length: {length}, 5"), body.clone()),
        ("a signed length", format!("content-length: +{length}"), body.clone()),
        ("a negative length", "content-length: -1".to_owned(), body.clone()),
        ("a hexadecimal length", format!("content-length: 0x{length:x}"), body.clone()),
        ("chunked, but not last", "transfer-encoding: chunked, identity".to_owned(), chunked(&body)),
        ("an odd encoding", "transfer-encoding: xchunked".to_owned(), chunked(&body)),
        ("a space before the colon", format!("content-length : {length}"), body.clone()),
        ("a folded line", format!("x-folded: a\r\n b\r\ncontent-length: {length}"), body.clone()),
        ("a bare CR", format!("x-odd: a\rcontent-length: 3\r\ncontent-length: {length}"), body.clone()),
        ("a NUL", format!("x-odd: a\0b\r\ncontent-length: {length}"), body.clone()),
        (
            "a chunk size of words",
            "transfer-encoding: chunked".to_owned(),
            format!("zz\r\n{body}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk size with a sign",
            "transfer-encoding: chunked".to_owned(),
            format!("+{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
        ),
        (
            "a chunk size beyond measure",
            "transfer-encoding: chunked".to_owned(),
            format!("fffffffffffffffff\r\n{body}\r\n0\r\n\r\n"),
        ),
        (
            "a chunk longer than said",
            "transfer-encoding: chunked".to_owned(),
            format!("2\r\n{body}\r\n0\r\n\r\n"),
        ),
    ] {
        let before = stand.outcomes().await.get("client_error").copied().unwrap_or(0);
        let mut client = RawClient::connect(stand.address).await;
        client.send(bytes(&fields, &sent)).await;
        let got = client.rest().await;
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{what}: {got}");
        let status = if what == "coded and chunked" { 501 } else { 400 };
        assert!(got.starts_with(&format!("HTTP/1.1 {status} ")), "{what}: {got}");
        is_refusal(&got);
        assert_eq!(stand.outcomes().await["client_error"], before + 1, "{what}: counted once");
        assert!(!got.contains("\"object\":\"list\""), "{what}: the smuggled request was answered");
        assert_eq!(stand.chat(chat("nonesuch")).await.status, 404, "{what}: the gateway goes on");
    }
    assert_eq!(upstream.requests(), 0);
}

/// What every refusal carries.
fn is_refusal(text: &str) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    for field in ["content-type: application/json", "x-request-id: req_", "connection: close"] {
        assert!(head.contains(field), "{field}: {text}");
    }
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    let error = body["error"].as_object().unwrap();
    assert!(error["message"].is_string() && error["type"] == "invalid_request_error", "{text}");
    assert!(error.contains_key("param") && error.contains_key("code"), "{text}");
}

/// A bad head waits for its turn: the answer before it goes out whole, and nothing behind it is read.
#[tokio::test]
async fn a_bad_head_behind_a_good_request_is_refused_in_its_turn() {
    let gate = Gate::default();
    let script = Script::stream().chunk(word("a")).wait(&gate).chunk(finish(0)).chunk(done()).end();
    let upstream = Upstream::start([script]).await;
    let stand = stand(&upstream).await;
    let body = chat_stream("m");
    let mut client = RawClient::connect(stand.address).await;
    let good = bytes(&format!("content-length: {}", body.len()), &body);
    let good = good.split("GET /v1/models").next().unwrap();
    client.send(format!("{good}{}", bytes("content-length: 5\r\ncontent-length: 6", "hello!"))).await;
    let first = client.until("\"a\"").await;
    gate.open();
    let rest = client.rest().await;
    assert!(first.starts_with("HTTP/1.1 200 "), "{first}");
    let (answered, refused) = rest.split_once("HTTP/1.1 ").unwrap();
    assert!(answered.contains("[DONE]"), "{rest}");
    assert!(refused.starts_with("400 "), "{rest}");
    is_refusal(refused);
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("client_error", 1), ("ok", 1)]);
}

/// The same bytes, in good form, are two requests.
#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let upstream = Upstream::start([Script::json(200, &answer("good"))]).await;
    let stand = stand(&upstream).await;
    let body = chat("m");
    for (fields, sent) in [
        (format!("content-length: {}", body.len()), body.clone()),
        ("transfer-encoding: chunked".to_owned(), chunked(&body)),
    ] {
        let mut client = RawClient::connect(stand.address).await;
        client.send(bytes(&fields, &sent)).await;
        let got = client.until("\"object\":\"list\"").await;
        assert_eq!(got.matches("HTTP/1.1 200 OK").count(), 2, "{got}");
        assert!(got.find("good").unwrap() < got.find("\"object\":\"list\"").unwrap(), "{got}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_counted() {
    let upstream = Upstream::start([Script::json(200, &answer("good"))]).await;
    let stand = stand(&upstream).await;
    for rubbish in [
        "\x16\x03\x01\x02\x00",
        "GET\r\n\r\n",
        "POST /v1/chat/completions HTTP/9.9\r\n\r\n",
        "\r\n\r\n\r\nrubbish\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSN",
    ] {
        let mut client = RawClient::connect(stand.address).await;
        client.send(rubbish).await;
        let got = client.rest().await;
        assert!(got.starts_with("HTTP/1.1 400 "), "{rubbish:?}: {got}");
        is_refusal(&got);
    }
    assert_eq!(stand.metric("pointsman_connections_refused_total", &["reason=\"malformed\""]), 5);
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("client_error", 5)]);
    assert_eq!(stand.chat(chat("m")).await.status, 200);
}
