//! Requests that two servers would read differently are refused, and nothing of them is read as another request.

use crate::{
    answers::{answer, chat},
    client::{KEY, RawClient},
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
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
        let mut client = RawClient::connect(stand.address).await;
        client.send(bytes(&fields, &sent)).await;
        let got = client.rest().await;
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{what}: {got}");
        assert!(got.starts_with("HTTP/1.1 400 ") || got.starts_with("HTTP/1.1 501 "), "{what}: {got}");
        assert!(!got.contains("\"object\":\"list\""), "{what}: the smuggled request was answered");
        assert_eq!(stand.chat(chat("nonesuch")).await.status, 404, "{what}: the gateway goes on");
    }
    assert_eq!(upstream.requests(), 0);
}

/// The chunks count, as RFC 9112 (section 6.1) says, and whatever follows them is never read: a server before us may
/// have believed the length.
#[tokio::test]
async fn a_request_with_two_ends_is_the_last_of_its_connection() {
    let upstream = Upstream::start([Script::json(200, &answer("good"))]).await;
    let stand = stand(&upstream).await;
    let body = chat("m");
    for fields in [
        "content-length: 5\r\ntransfer-encoding: chunked".to_owned(),
        format!("transfer-encoding: chunked\r\ncontent-length: {}", chunked(&body).len()),
    ] {
        let mut client = RawClient::connect(stand.address).await;
        client.send(bytes(&fields, &chunked(&body))).await;
        let got = client.rest().await;
        assert_eq!(got.matches("HTTP/1.1 ").count(), 1, "{fields}: {got}");
        assert!(!got.contains("\"object\":\"list\""), "{fields}: the smuggled request was answered");
    }
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
    ] {
        let mut client = RawClient::connect(stand.address).await;
        client.send(rubbish).await;
        let got = client.rest().await;
        assert!(got.is_empty() || got.starts_with("HTTP/1.1 400 "), "{rubbish:?}: {got}");
    }
    let counted = || stand.metric("pointsman_connections_refused_total", &["reason=\"malformed\""]);
    stand.eventually("four refusals counted", || counted() == 4).await;
    assert_eq!(stand.chat(chat("m")).await.status, 200);
}
