//! Law 7: exactly one outcome per request.

use http::Request;
use http_body_util::Full;

use crate::{
    answers::{answer, chat, chat_stream, done, finish, usage, word},
    client::{Client, get, post},
    stand::Setup,
    upstream::{Script, Upstream},
};

/// A busy day: every kind of end, one after the other and side by side.
#[tokio::test]
async fn every_request_has_exactly_one_outcome() {
    let good = Upstream::start([Script::json(200, &answer("good"))]).await;
    let long = Upstream::start([Script::json(200, &answer(&"x".repeat(5000)))]).await;
    let streams = Upstream::start([Script::events(&[word("a"), finish(0), usage(1, 1), done()])]).await;
    let broken = Upstream::start([Script::json(500, "{}")]).await;
    let cut = Upstream::start([Script::stream().chunk(word("a")).reset()]).await;
    let limits = Upstream::start([Script::json(429, "{}")]).await;
    let refuses = Upstream::start([Script::json(400, r#"{"error":{"message":"no"}}"#)]).await;
    let hangs = Upstream::start([Script::empty().silence()]).await;
    let stand = [
        ("good", &good),
        ("long", &long),
        ("streams", &streams),
        ("broken", &broken),
        ("cut", &cut),
        ("limits", &limits),
        ("refuses", &refuses),
        ("hangs", &hangs),
    ]
    .into_iter()
    .fold(Setup::new(), |setup, (name, upstream)| setup.model(name, &upstream.base_url(), ""))
    .server("response_buffer: 1KiB")
    .routes("{auto: {models: [broken, good]}}")
    .start()
    .await;
    let path = "/v1/chat/completions";
    let requests = || {
        vec![
            ("ok", post(path, chat("good"))),
            ("ok", post(path, chat("long"))),
            ("ok", post(path, chat("auto"))),
            ("ok", post(path, chat_stream("streams"))),
            ("ok", get("/v1/models")),
            ("ok", get("/v1/models/good")),
            ("client_error", post(path, "{")),
            ("client_error", post(path, chat("nonesuch"))),
            ("client_error", post(path, chat("refuses"))),
            ("client_error", get(path)),
            ("client_error", get("/v1/nonesuch")),
            ("client_error", Request::post(path).header("host", "x").body(Full::from(chat("good"))).unwrap()),
            ("limited", post(path, chat("limits"))),
            ("upstream_error", post(path, chat("broken"))),
            ("upstream_error", post(path, chat_stream("cut"))),
        ]
    };
    let mut expected = std::collections::BTreeMap::new();
    let mut client = stand.client().await;
    for (outcome, request) in requests() {
        let _ = client.send(request).await.bytes().await;
        *expected.entry(outcome).or_insert(0) += 1;
        assert_eq!(stand.outcomes().await, expected, "one after the other on one connection");
    }
    let side_by_side = requests().into_iter().map(|(outcome, request)| {
        *expected.entry(outcome).or_insert(0) += 1;
        let client = stand.client();
        async move {
            let _ = client.await.last(request).await.bytes().await;
        }
    });
    futures_util::future::join_all(side_by_side.collect::<Vec<_>>()).await;
    let mut leaver = Client::connect(stand.address).await;
    tokio::select! {
        _ = leaver.try_send(post(path, chat("hangs"))) => panic!("an answer out of nothing"),
        _ = hangs.request(0) => {}
    }
    drop(leaver);
    expected.insert("cancelled", 1);
    assert_eq!(stand.outcomes().await, expected);
    assert_eq!(stand.metric("pointsman_requests_in_flight", &[]), 0);
}

/// hyper drops a body of known length after its last byte, without asking for its end.
#[tokio::test]
async fn a_long_answer_of_known_length_is_no_cancellation() {
    let body = answer(&"x".repeat(50_000));
    let upstream = Upstream::start([Script::json(200, &body)]).await;
    let stand =
        Setup::new().server("response_buffer: 1KiB").model("m", &upstream.base_url(), "").start().await;
    assert!(!stand.chat(chat("m")).await.text().await.is_empty());
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)]);
    assert_eq!(stand.metric("pointsman_tokens_total", &["kind=\"completion\""]), 3);
}

#[tokio::test]
async fn health_and_metrics_are_no_requests_of_clients() {
    let upstream = Upstream::start([Script::json(200, &answer("good"))]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    for path in ["/health/live", "/health/ready"] {
        assert_eq!(stand.get(path).await.status, 200);
    }
    assert!(stand.outcomes().await.is_empty());
}

/// The gauge shows a request while it lasts, a stream to its last byte.
#[tokio::test]
async fn in_flight_counts_a_stream_to_its_end() {
    let gate = crate::upstream::Gate::default();
    let script = Script::stream().chunk(word("a")).wait(&gate).chunk(finish(0)).chunk(done()).end();
    let upstream = Upstream::start([script]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    let mut reply = stand.chat(chat_stream("m")).await;
    reply.until("\"a\"").await;
    assert_eq!(stand.metric("pointsman_requests_in_flight", &[]), 1);
    gate.open();
    reply.text().await;
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("ok", 1)]);
}
