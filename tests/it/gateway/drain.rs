//! SIGTERM drains: no new work, and what is on its way comes to its end.

use tokio::net::TcpStream;

use crate::{
    answers::{answer, chat, chat_stream, done, finish, word},
    client::{Client, get, post},
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream, soon},
};

async fn held(gate: &Gate) -> Upstream {
    let script = Script::stream().chunk(word("a")).wait(gate).chunk(finish(0)).chunk(done()).end();
    Upstream::start([script, Script::json(200, &answer("late"))]).await
}

async fn stand(upstream: &Upstream) -> Stand {
    Setup::new()
        .server("drain_timeout: 5s")
        .model(
            "m",
            &upstream.base_url(),
            "timeouts: {response_headers: 60s, first_token: 60s, between_tokens: 60s}",
        )
        .start()
        .await
}

async fn readiness(stand: &Stand) -> u16 {
    Client::connect(stand.admin).await.last(get("/health/ready")).await.status.as_u16()
}

/// The listener is closed by a task: until it ran, a connection may still come about.
async fn closed(stand: &Stand) {
    let closed = async { while TcpStream::connect(stand.address).await.is_ok() {} };
    soon("the closing of the listener", closed).await;
}

#[tokio::test]
async fn a_stream_on_its_way_comes_to_its_end() {
    let gate = Gate::default();
    let upstream = held(&gate).await;
    let mut stand = stand(&upstream).await;
    assert_eq!(readiness(&stand).await, 200);
    let mut reply = stand.chat(chat_stream("m")).await;
    reply.until("\"a\"").await;
    stand.stop.cancel();
    closed(&stand).await;
    assert_eq!(readiness(&stand).await, 503, "and the operators' listener still answers");
    gate.open();
    assert!(reply.text().await.ends_with(&done()));
    assert_eq!(stand.ended().await, 0, "no connection was cut");
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)]);
    assert!(TcpStream::connect(stand.admin).await.is_err(), "the operators' listener is closed in the end");
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_the_drain_up() {
    let upstream = held(&Gate::default()).await;
    let mut stand = stand(&upstream).await;
    let mut idle = stand.client().await;
    assert_eq!(idle.send(get("/v1/models")).await.status, 200);
    let _silent = TcpStream::connect(stand.address).await.unwrap();
    stand.stop.cancel();
    assert_eq!(stand.ended().await, 0);
    assert!(idle.try_send(get("/v1/models")).await.is_err());
}

/// A request that was being answered is the last of its connection, and the client is told so.
#[tokio::test]
async fn a_kept_connection_is_closed_after_its_answer() {
    let gate = Gate::default();
    let upstream = Upstream::start([Script::empty().wait(&gate).write(whole())]).await;
    let mut stand = stand(&upstream).await;
    let mut client = stand.client().await;
    let answered = client.send(post("/v1/chat/completions", chat("m")));
    let drain = async {
        upstream.request(0).await;
        stand.stop.cancel();
        closed(&stand).await;
        gate.open();
    };
    let (mut reply, ()) = tokio::join!(answered, drain);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("connection"), Some("close"));
    assert!(reply.text().await.contains("late"));
    assert!(client.try_send(get("/v1/models")).await.is_err());
    assert_eq!(stand.ended().await, 0);
}

fn whole() -> String {
    let body = answer("late");
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_in_time_is_cut_and_counted() {
    let never = Gate::default();
    let upstream = held(&never).await;
    let mut stand = stand(&upstream).await;
    let mut reply = stand.chat(chat_stream("m")).await;
    reply.until("\"a\"").await;
    let begun = tokio::time::Instant::now();
    stand.stop.cancel();
    assert_eq!(stand.ended().await, 1);
    assert_eq!(begun.elapsed().as_secs(), 5, "the drain timeout");
}

/// A balancer takes its time to see that a gateway is not ready: meanwhile it is served.
#[tokio::test(start_paused = true)]
async fn connections_are_accepted_for_a_while_after_readiness_is_off() {
    let upstream = Upstream::start([Script::json(200, &crate::answers::answer("late"))]).await;
    let mut stand = Setup::new().server("drain_delay: 5s").model("m", &upstream.base_url(), "").start().await;
    let begun = tokio::time::Instant::now();
    stand.stop.cancel();
    stand.eventually("no readiness", || !stand.app.is_ready()).await;
    assert_eq!(readiness(&stand).await, 503);
    assert_eq!(stand.chat(crate::answers::chat("m")).await.status, 200);
    assert_eq!(stand.ended().await, 0);
    assert!(begun.elapsed() >= std::time::Duration::from_secs(5));
}
