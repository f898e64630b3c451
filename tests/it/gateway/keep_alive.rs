//! Connections are kept, on both sides.

use tokio::net::TcpStream;

use crate::{
    answers::{answer, chat, chat_stream, done, finish, stream, word},
    client::{Client, post},
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream},
};

const PATH: &str = "/v1/chat/completions";

async fn stand(upstream: &Upstream) -> Stand {
    Setup::new().model("m", &upstream.base_url(), "").start().await
}

#[tokio::test]
async fn one_connection_serves_many_requests_on_both_sides() {
    let upstream = Upstream::start([
        Script::json(200, &answer("whole")),
        Script::events(&stream("a")),
        Script::json(400, r#"{"error":{"message":"no"}}"#),
        Script::events(&stream("a")),
    ])
    .await;
    let stand = stand(&upstream).await;
    let mut client = stand.client().await;
    for request in
        [chat("m"), chat_stream("m"), chat("m"), "{".to_owned(), chat("nonesuch"), chat_stream("m")]
    {
        client.send(post(PATH, request)).await.text().await;
    }
    assert_eq!(upstream.requests(), 4);
    assert_eq!(stand.metric("pointsman_connections", &[]), 1);
    assert_eq!(upstream.connections(), 1);
}

/// A client that keeps a connection without using it does not keep a slot: whatever the protocol, and however well it
/// answers pings.
#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let gate = Gate::default();
    let upstream = Upstream::start([
        Script::json(200, &answer("first")),
        Script::stream().chunk(word("a")).wait(&gate).chunk(finish(0)).chunk(done()).end(),
        Script::json(200, &answer("third")),
    ])
    .await;
    let stand = Setup::new()
        .server("idle_timeout: 300ms, max_connections: 3")
        .model("m", &upstream.base_url(), "")
        .start()
        .await;
    let connect = || TcpStream::connect(stand.address);
    let mut first = Client::http1(connect().await.unwrap()).await;
    let mut busy = Client::http2(connect().await.unwrap()).await;
    let _silent = Client::http2(connect().await.unwrap()).await;
    assert_eq!(first.send(post(PATH, chat("m"))).await.status, 200);
    let mut streamed = busy.send(post(PATH, chat_stream("m"))).await;
    stand.eventually("the two idle ones closed", || stand.metric("pointsman_connections", &[]) == 1).await;
    gate.open();
    assert!(streamed.text().await.ends_with("data: [DONE]\n\n"));
    stand
        .eventually("the third closed in its turn", || stand.metric("pointsman_connections", &[]) == 0)
        .await;
    assert_eq!(stand.metric("pointsman_connections_refused_total", &[]), 0, "that is no refusal");
    assert_eq!(stand.chat(chat("m")).await.status, 200);
}

/// An upstream closes a connection that was idle for too long: the next request must not suffer.
#[tokio::test]
async fn a_kept_connection_that_was_closed_is_replaced() {
    let closes = Script::json(200, &answer("first")).close();
    let upstream = Upstream::start([closes, Script::json(200, &answer("second"))]).await;
    let stand = stand(&upstream).await;
    assert!(stand.chat(chat("m")).await.text().await.contains("first"));
    let mut reply = stand.chat(chat("m")).await;
    assert!(reply.text().await.contains("second"));
    assert_eq!(upstream.connections(), 2);
}

/// Nor does an answer whose body the client does not care for.
#[tokio::test]
async fn a_refused_request_does_not_cost_the_connection() {
    let upstream = Upstream::start([Script::json(200, &answer("good"))]).await;
    let stand = stand(&upstream).await;
    let mut client = stand.client().await;
    for _ in 0..3 {
        assert_eq!(client.send(post(PATH, chat("nonesuch"))).await.status, 404);
        assert_eq!(client.send(post("/v1/nonesuch", chat("m"))).await.status, 404);
        assert_eq!(client.send(post(PATH, chat("m"))).await.status, 200);
    }
    assert_eq!(stand.metric("pointsman_connections", &[]), 1);
}

/// The end of a chunked body comes as a packet of its own, more often than not.
#[tokio::test]
async fn a_stream_whose_last_chunk_comes_late_leaves_its_connection_usable() {
    let gate = Gate::default();
    let late = Script::stream().chunk(word("a")).chunk(finish(0)).chunk(done()).wait(&gate).end();
    let upstream = Upstream::start([late, Script::events(&stream("b"))]).await;
    let stand = stand(&upstream).await;
    let mut reply = stand.chat(chat_stream("m")).await;
    reply.until("[DONE]").await;
    gate.open();
    reply.text().await;
    stand.outcomes().await;
    stand.chat(chat_stream("m")).await.text().await;
    assert_eq!(upstream.connections(), 1);
}

/// An upstream that does not end its body at all holds up nobody: the client has its answer, and a moment later its
/// connection.
#[tokio::test(start_paused = true)]
async fn a_stream_whose_last_chunk_never_comes_ends_soon() {
    let endless = Script::stream().chunk(word("a")).chunk(finish(0)).chunk(done()).silence();
    let upstream = Upstream::start([endless]).await;
    let stand = stand(&upstream).await;
    let mut reply = stand.chat(chat_stream("m")).await;
    reply.until("[DONE]").await;
    assert_eq!(
        stand.outcomes().await.into_iter().collect::<Vec<_>>(),
        [("ok", 1)],
        "accounted with its last event"
    );
    let begun = tokio::time::Instant::now();
    assert_eq!(reply.text().await, "");
    assert_eq!(begun.elapsed().as_secs(), 1);
    upstream.abandoned(0).await;
}
