//! Law 6: a client that leaves takes its upstream call with it, and nobody else's.

use crate::{
    answers::{chat, chat_stream, done, finish, stream, usage, word},
    client::{Client, post},
    stand::{Setup, Stand},
    upstream::{
        Gate, Script, Upstream,
        http2::{Answer, Http2Upstream},
    },
};

async fn stand(base_url: &str, fields: &str) -> Stand {
    Setup::new().model("m", base_url, fields).start().await
}

async fn outcome(stand: &Stand) -> Vec<(&'static str, u64)> {
    stand.outcomes().await.into_iter().collect()
}

/// Sends a request and leaves once the upstream has it, before any answer.
async fn leave_waiting(stand: &Stand, request: String, upstream_has_it: impl Future) {
    let mut client = Client::connect(stand.address).await;
    tokio::select! {
        reply = client.try_send(post("/v1/chat/completions", request)) => {
            panic!("an answer where none was to come: {:?}", reply.map(|reply| reply.status));
        }
        _ = upstream_has_it => {}
    }
}

#[tokio::test]
async fn leaving_in_mid_stream_closes_the_upstream_call() {
    let gate = Gate::default();
    let upstream =
        Upstream::start([Script::stream().chunk(word("a")).wait(&gate).chunk(word("b")).end()]).await;
    let stand = stand(&upstream.base_url(), "").await;
    let mut reply = stand.chat(chat_stream("m")).await;
    reply.until("\"a\"").await;
    drop(reply);
    // The gate stays shut: it is not the next chunk's failure that tells.
    upstream.abandoned(0).await;
    assert_eq!(outcome(&stand).await, [("cancelled", 1)]);
}

#[tokio::test]
async fn leaving_before_the_head_closes_the_upstream_call() {
    for request in [chat("m"), chat_stream("m")] {
        let upstream = Upstream::start([Script::empty().silence()]).await;
        let stand = stand(&upstream.base_url(), "").await;
        leave_waiting(&stand, request, upstream.request(0)).await;
        upstream.abandoned(0).await;
        assert_eq!(outcome(&stand).await, [("cancelled", 1)]);
    }
}

#[tokio::test]
async fn leaving_while_a_whole_answer_comes_closes_the_upstream_call() {
    let upstream = Upstream::start([Script::stream_with("x: y").chunk("{\"choices\":[").silence()]).await;
    let stand = stand(&upstream.base_url(), "").await;
    leave_waiting(&stand, chat("m"), upstream.request(0)).await;
    upstream.abandoned(0).await;
    assert_eq!(outcome(&stand).await, [("cancelled", 1)]);
}

#[tokio::test]
async fn leaving_asks_no_other_model() {
    let (first, second) = (
        Upstream::start([Script::empty().silence()]).await,
        Upstream::start([Script::events(&stream("b"))]).await,
    );
    let stand =
        Setup::new().model("a", &first.base_url(), "").model("b", &second.base_url(), "").start().await;
    leave_waiting(&stand, chat_stream("auto"), first.request(0)).await;
    first.abandoned(0).await;
    assert_eq!(outcome(&stand).await, [("cancelled", 1)]);
    assert_eq!(second.requests(), 0);
}

/// Many clients stop reading once they have a finish_reason; the bill comes all the same.
#[tokio::test]
async fn what_was_used_before_leaving_is_accounted() {
    for events in [vec![word("a"), finish(0), usage(7, 3)], vec![word("a"), usage(7, 3)]] {
        let gate = Gate::default();
        let script = events.iter().fold(Script::stream(), |script, event| script.chunk(event));
        let upstream = Upstream::start([script.wait(&gate).chunk(done()).end()]).await;
        let stand = stand(&upstream.base_url(), "price: {input: 1, output: 2}").await;
        let mut reply = stand.chat(chat_stream("m")).await;
        reply.until(if events.len() == 3 { "finish_reason\":\"stop" } else { "\"a\"" }).await;
        // The usage event is not for this client, so nothing but the metric tells that it has come.
        stand.eventually("the last event", || upstream.requests() == 1).await;
        tokio::task::yield_now().await;
        drop(reply);
        upstream.abandoned(0).await;
        assert_eq!(outcome(&stand).await, [("cancelled", 1)]);
        assert_eq!(stand.metric("pointsman_tokens_total", &["kind=\"prompt\""]), 7, "{events:?}");
        assert_eq!(stand.metric("pointsman_tokens_total", &["kind=\"completion\""]), 3);
    }
}

fn http2_answer(before_head: Option<Gate>, before_rest: Option<Gate>) -> Answer {
    Answer { refused: false, before_head, first: word("a"), before_rest, rest: [finish(0), done()].concat() }
}

#[tokio::test]
async fn over_http2_only_the_stream_is_reset() {
    let (never, later) = (Gate::default(), Gate::default());
    let upstream = Http2Upstream::start(vec![
        http2_answer(None, Some(later.clone())),
        http2_answer(None, Some(never.clone())),
        http2_answer(Some(never.clone()), None),
        http2_answer(None, None),
    ])
    .await;
    let stand = stand(&upstream.base_url(), "http2: true").await;
    let mut stays = stand.chat(chat_stream("m")).await;
    stays.until("\"a\"").await;

    let mut leaves = stand.chat(chat_stream("m")).await;
    leaves.until("\"a\"").await;
    drop(leaves);
    upstream.reset(1).await;

    leave_waiting(&stand, chat_stream("m"), upstream.request(2)).await;
    upstream.reset(2).await;

    // The neighbour on the same connection is not disturbed, and the connection serves on.
    later.open();
    assert!(stays.text().await.ends_with(&done()));
    assert!(stand.chat(chat_stream("m")).await.text().await.ends_with(&done()));
    assert_eq!(upstream.connections(), 1);
    assert_eq!(outcome(&stand).await, [("cancelled", 2), ("ok", 2)]);
}
