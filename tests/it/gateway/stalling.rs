//! Law 8's time limit on the way out: a client that takes no more of its answer holds neither permit nor upstream.

use std::time::Instant;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::{
    answers::{chat_stream, stream, word},
    certificates::Authority,
    client::{Client, RawClient, get, post},
    stand::{Setup, Stand},
    upstream::{Script, Upstream, chunk},
};

const PATH: &str = "/v1/chat/completions";

/// First a stream that no socket's buffers hold, then short ones.
async fn endless() -> Upstream {
    let long = chunk(word(&"x".repeat(60_000)).as_bytes());
    Upstream::start([Script::stream().repeat(long, 2000).end(), Script::events(&stream("b"))]).await
}

fn setup(upstream: &Upstream) -> Setup {
    Setup::new().server("write_timeout: 500ms, max_concurrent_requests: 1").model(
        "m",
        &upstream.base_url(),
        "timeouts: {response_headers: 60s, first_token: 60s, between_tokens: 60s}",
    )
}

async fn is_cancelled(stand: &Stand, upstream: &Upstream, begun: Instant) {
    upstream.abandoned(0).await;
    assert!(begun.elapsed().as_millis() >= 500, "not before its time");
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("cancelled", 1)]);
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut() {
    let upstream = endless().await;
    let stand = setup(&upstream).start().await;
    let begun = Instant::now();
    let mut client = RawClient::connect(stand.address).await;
    let body = chat_stream("m");
    client
        .send(format!(
            "POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer tenant-key\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ))
        .await;
    is_cancelled(&stand, &upstream, begun).await;
    stand
        .eventually("the count", || {
            stand.metric("pointsman_connections_refused_total", &["reason=\"stalled\""]) == 1
        })
        .await;
    stand.eventually("the end of the connection", || stand.metric("pointsman_connections", &[]) == 0).await;
    assert_eq!(stand.chat(chat_stream("m")).await.status, 200, "the only permit is free again");
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_behind_tls_too() {
    let authority = Authority::new();
    let identity = authority.identity("listener", &["127.0.0.1"]);
    let upstream = endless().await;
    let tls = format!("tls: {{cert: {:?}, key: {:?}}}", identity.cert, identity.key);
    let stand = setup(&upstream).top(&tls).start().await;
    let begun = Instant::now();
    let stream = TcpStream::connect(stand.address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connector = TlsConnector::from(std::sync::Arc::new(authority.client(&[])));
    let mut client = Client::http1(connector.connect(name, stream).await.unwrap()).await;
    let reply = client.send(post(PATH, chat_stream("m"))).await;
    assert_eq!(reply.status, 200);
    is_cancelled(&stand, &upstream, begun).await;
}

/// A stream without window is reset alone: the connection's other streams go on.
#[tokio::test]
async fn an_http2_stream_that_is_not_read_is_reset() {
    let upstream = endless().await;
    let stand = setup(&upstream).start().await;
    let begun = Instant::now();
    let mut client = Client::http2(TcpStream::connect(stand.address).await.unwrap()).await;
    let mut unread = client.send(post(PATH, chat_stream("m"))).await;
    assert_eq!(unread.status, 200);
    is_cancelled(&stand, &upstream, begun).await;
    assert_eq!(client.send(get("/v1/models")).await.status, 200);
    assert!(unread.bytes().await.is_err(), "no truncated success");
    let mut read = client.send(post(PATH, chat_stream("m"))).await;
    assert_eq!(read.status, 200, "the only permit is free again");
    assert!(read.text().await.ends_with("data: [DONE]\n\n"));
}
