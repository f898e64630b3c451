//! Law 2: the headers of requests and answers.

use http::Request;
use http_body_util::Full;

use crate::{
    answers::{answer, chat, chat_stream, stream},
    client::{KEY, post},
    logs::Logs,
    stand::Setup,
    upstream::{Received, Script, Upstream},
};

const OWN_KEY: &str = "sk-own-upstream-key";

/// What the upstream gets of a request with headers of every kind.
async fn received(fields: &str) -> Received {
    let upstream = Upstream::start([Script::json(200, &answer("hi"))]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), fields).start().await;
    let request = Request::post("/v1/chat/completions?client=query")
        .header("host", "gateway.example")
        .header("authorization", format!("Bearer {KEY}"))
        .header("content-type", "application/json")
        .header("cookie", "session=client-cookie")
        .header("accept-encoding", "gzip, br")
        .header("api-key", "client-api-key")
        .header("x-api-key", "client-x-api-key")
        .header("proxy-authorization", "Basic client")
        .header("connection", "x-hop, keep-alive")
        .header("x-hop", "hop")
        .header("keep-alive", "timeout=5")
        .header("te", "trailers")
        .header("trailer", "x-checksum")
        .header("upgrade", "websocket")
        .header("x-pointsman-model", "forged")
        .header("openai-beta", "assistants=v2")
        .header("x-custom", "one")
        .header("x-custom", "two")
        .body(Full::from(chat("m")))
        .unwrap();
    assert_eq!(stand.client().await.last(request).await.status, 200);
    upstream.request(0).await
}

#[tokio::test]
async fn hop_by_hop_and_private_headers_stay() {
    let got = received(&format!("api_key: {OWN_KEY}")).await;
    for name in [
        "cookie",
        "api-key",
        "x-api-key",
        "proxy-authorization",
        "connection",
        "x-hop",
        "keep-alive",
        "te",
        "trailer",
        "upgrade",
        "x-pointsman-model",
        "transfer-encoding",
    ] {
        assert_eq!(got.all(name), Vec::<&str>::new(), "{name}");
    }
    assert!(!got.head.contains("client"), "{}", got.head);
    assert_eq!(got.header("authorization"), Some(format!("Bearer {OWN_KEY}").as_str()));
    assert_eq!(got.header("accept-encoding"), Some("identity"));
    assert_ne!(got.header("host"), Some("gateway.example"));
    assert_eq!(got.header("content-length"), Some(got.body.len().to_string().as_str()));
    assert_eq!(got.header("openai-beta"), Some("assistants=v2"));
    assert_eq!(got.all("x-custom"), ["one", "two"]);
    assert_eq!(got.target(), "/v1/chat/completions", "the client's query is not the upstream's");
}

#[tokio::test]
async fn the_key_goes_where_the_configuration_says() {
    let got = received(&format!("auth_header: api-key, api_key: {OWN_KEY}")).await;
    assert_eq!(got.header("api-key"), Some(OWN_KEY));
    assert_eq!(got.header("authorization"), None);
}

#[tokio::test]
async fn without_a_key_none_is_sent_and_never_the_clients() {
    let got = received("").await;
    assert_eq!(got.header("authorization"), None);
    assert!(!got.head.contains(KEY), "{}", got.head);
}

#[tokio::test]
async fn configured_headers_and_query_are_sent() {
    let fields =
        "headers: {x-team: search, x-custom: configured}, query: {api-version: \"2024-10-21\", a b: c&d}";
    let got = received(fields).await;
    assert_eq!(got.header("x-team"), Some("search"));
    assert_eq!(
        got.header("x-custom"),
        Some("configured"),
        "the configuration's word counts, not the client's"
    );
    assert!(got.target().starts_with("/v1/chat/completions?"), "{}", got.target());
    assert!(got.target().contains("api-version=2024-10-21"), "{}", got.target());
    assert!(got.target().contains("c%26d"), "{}", got.target());
}

#[tokio::test]
async fn an_upstreams_private_headers_do_not_reach_the_client() {
    let headers = "content-type: application/json\r\nset-cookie: a=b\r\nopenai-organization: acme\r\nx-request-id: theirs\r\n\
        x-pointsman-model: forged\r\nx-hop: 1\r\nconnection: x-hop\r\nalt-svc: h3=\":443\"\r\nopenai-processing-ms: 7\r\nx-ratelimit-remaining-requests: 9";
    let upstream = Upstream::start([Script::whole(200, headers, answer("hi").as_bytes())]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    let reply = stand.chat(chat("m")).await;
    for name in ["set-cookie", "openai-organization", "x-hop", "alt-svc"] {
        assert_eq!(reply.header(name), None, "{name}");
    }
    assert_eq!(reply.header("x-pointsman-model"), Some("m"));
    assert_ne!(reply.header("x-request-id"), Some("theirs"));
    assert_eq!(reply.header("openai-processing-ms"), Some("7"));
    assert_eq!(reply.header("x-ratelimit-remaining-requests"), Some("9"));
}

/// An encoded answer could not be read for its usage: the next model is asked.
#[tokio::test]
async fn an_encoded_answer_is_refused() {
    let good = Upstream::start([Script::json(200, &answer("good"))]).await;
    for encoding in ["content-encoding: gzip", "content-encoding: identity\r\ncontent-encoding: br"] {
        let headers = format!("content-type: application/json\r\n{encoding}");
        let encoded =
            Upstream::start([Script::whole(200, &headers, answer("said to be encoded").as_bytes())]).await;
        let stand = Setup::new()
            .model("encoded", &encoded.base_url(), "")
            .model("good", &good.base_url(), "")
            .start()
            .await;
        let mut reply = stand.chat(chat("auto")).await;
        assert_eq!(reply.header("x-pointsman-model"), Some("good"), "{encoding}");
        assert!(reply.text().await.contains("good"));
        let mut reply = stand.chat(chat("encoded")).await;
        assert_eq!(reply.status, 502);
        assert_eq!(reply.error().await["code"], "upstream_not_an_answer");
    }
}

#[tokio::test]
async fn an_encoded_stream_is_refused() {
    let headers = "content-type: text/event-stream\r\ncontent-encoding: gzip";
    let script =
        stream("hi").iter().fold(Script::stream_with(headers), |script, event| script.chunk(event)).end();
    let upstream = Upstream::start([script]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    assert_eq!(stand.chat(chat_stream("m")).await.status, 502);
}

/// The gateway forwards bytes, so it would have to know every encoding that an upstream does.
#[tokio::test]
async fn an_encoded_request_is_refused() {
    let upstream = Upstream::start([Script::json(200, &answer("hi"))]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    let mut request = post("/v1/chat/completions", chat("m"));
    request.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
    let mut reply = stand.client().await.last(request).await;
    assert_eq!(reply.status, 415);
    reply.error().await;
    assert_eq!(upstream.requests(), 0);
}

#[tokio::test]
async fn every_answer_has_a_request_id() {
    let upstream = Upstream::start([Script::json(200, &answer("hi"))]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    let made = stand.chat(chat("m")).await;
    let made = made.header("x-request-id").unwrap();
    assert!(!made.is_empty());
    assert_ne!(stand.chat("{").await.header("x-request-id").unwrap(), made);
    let mut request = post("/v1/chat/completions", chat("m"));
    request.headers_mut().insert("x-request-id", "clients-own-17".parse().unwrap());
    assert_eq!(stand.client().await.last(request).await.header("x-request-id"), Some("clients-own-17"));
}

/// So that a client's complaint leads to the lines about it.
#[tokio::test]
async fn what_is_logged_of_a_request_carries_its_id() {
    let (logs, _guard) = Logs::capture();
    let upstream = Upstream::start([Script::json(500, "{}")]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    let mut request = post("/v1/chat/completions", chat("m"));
    request.headers_mut().insert("x-request-id", "clients-own-17".parse().unwrap());
    assert_eq!(stand.client().await.last(request).await.status, 502);
    let text = logs.text();
    let line = text.lines().find(|line| line.contains("attempt failed")).unwrap();
    assert!(line.contains("clients-own-17"), "{line}");
}
