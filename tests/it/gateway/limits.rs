//! A tenant's limits: what is counted, what is told, and that no limit eats another's allowance.

use std::time::Duration;

use pointsman::gateway::reload;

use crate::{
    answers::{answer, chat, chat_stream, done, finish, usage, word},
    client::{Client, Reply, get, post},
    stand::{Setup, Stand, values},
    upstream::{Gate, Script, Upstream},
};

fn setup(upstream: &Upstream, limits: &str) -> Setup {
    Setup::new().model("m", &upstream.base_url(), "").tenants(&format!(
        "{{t: {{keys: [{{key: tenant-key}}], pool: [m], limits: {limits}}}, free: {{keys: [{{key: free-key}}], pool: [m]}}, \
         twin: {{keys: [{{key: twin-key}}], pool: [m], limits: {limits}}}}}"
    ))
}

async fn good() -> Upstream {
    Upstream::start([Script::json(200, &answer("good"))]).await
}

/// A stream whose end waits for the gate.
fn held(gate: &Gate) -> Script {
    Script::stream().chunk(word("a")).wait(gate).chunk(finish(0)).chunk(done()).end()
}

async fn ask(stand: &Stand, key: &str, body: String) -> Reply {
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    stand.client().await.last(request).await
}

/// What the headers say of a limit: how much it allows, how much is left, and when it is whole again.
fn told<'a>(reply: &'a Reply, limit: &str) -> [Option<&'a str>; 3] {
    ["limit", "remaining", "reset"].map(|what| reply.header(&format!("x-ratelimit-{what}-{limit}")))
}

/// The error object of a 429.
async fn refused(mut reply: Reply, kind: &str, code: &str) -> String {
    assert_eq!(reply.status, 429);
    let error = reply.error().await;
    assert_eq!((&error["type"], &error["code"], &error["param"]), (&kind.into(), &code.into(), &().into()));
    error["message"].as_str().unwrap().to_owned()
}

async fn outcomes(stand: &Stand) -> Vec<(&'static str, u64)> {
    stand.outcomes().await.into_iter().collect()
}

fn limited(stand: &Stand, limit: &str) -> u64 {
    stand.metric("pointsman_limited_total", &["tenant=\"t\"", &format!("limit=\"{limit}\"")])
}

/// A chat request with the longest answer that it asks for. Its prompt is estimated to have five tokens.
fn at_most(answer_tokens: u64) -> String {
    chat("m").replacen('{', &format!("{{\"max_tokens\":{answer_tokens},"), 1)
}

#[tokio::test(start_paused = true)]
async fn requests_a_minute() {
    let upstream = good().await;
    let stand = setup(&upstream, "{rpm: 3}").start().await;
    for remaining in ["2", "1", "0"] {
        let reply = stand.chat(chat("m")).await;
        assert_eq!(reply.status, 200);
        let [limit, left, reset] = told(&reply, "requests");
        assert_eq!((limit, left), (Some("3"), Some(remaining)));
        assert!(reset.is_some());
        assert_eq!(told(&reply, "tokens"), [None; 3], "no such limit");
    }
    let reply = stand.chat(chat("m")).await;
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((19..=20).contains(&wait), "{wait}");
    assert_eq!(told(&reply, "requests")[..2], [Some("3"), Some("0")]);
    assert!(["1m0s", "59."].iter().any(|begin| told(&reply, "requests")[2].unwrap().starts_with(begin)));
    assert_eq!(reply.header("x-should-retry"), None);
    let message = refused(reply, "requests", "rate_limit_exceeded").await;
    assert!(message.contains("Limit 3, Used 3, Requested 1. Please try again in "), "{message}");
    assert_eq!(upstream.requests(), 3);
    assert_eq!(outcomes(&stand).await, [("limited", 1), ("ok", 3)]);
    assert_eq!(
        (limited(&stand, "requests"), stand.values("pointsman_limited_total", &["\"tokens\""])),
        (1, vec![])
    );
    tokio::time::sleep(Duration::from_secs(wait)).await;
    assert_eq!(stand.chat(chat("m")).await.status, 200);
    assert_eq!(stand.chat(chat("m")).await.status, 429);
}

#[tokio::test(start_paused = true)]
async fn tenants_are_limited_each_by_itself_and_lists_of_models_not_at_all() {
    let upstream = good().await;
    let stand = setup(&upstream, "{rpm: 1}").start().await;
    for (key, statuses) in [("tenant-key", [200, 429]), ("twin-key", [200, 429]), ("free-key", [200, 200])] {
        for status in statuses {
            let reply = ask(&stand, key, chat("m")).await;
            assert_eq!(reply.status, status, "{key}");
            assert_eq!(told(&reply, "requests")[0], (key != "free-key").then_some("1"));
        }
    }
    let reply = stand.get("/v1/models").await;
    assert_eq!((reply.status.as_u16(), told(&reply, "requests")), (200, [None; 3]));
    assert_eq!(limited(&stand, "requests"), 1);
}

#[tokio::test(start_paused = true)]
async fn tokens_a_minute_are_settled_by_what_was_used() {
    let streamed = [word("a"), finish(0), usage(50, 40), done()];
    let upstream = Upstream::start([
        Script::json(200, &answer("x")),
        Script::events(&streamed),
        Script::json(500, "{}"),
    ])
    .await;
    let stand = setup(&upstream, "{tpm: 100}").start().await;
    let remaining = async |body: String| {
        let mut reply = stand.chat(body).await;
        reply.text().await;
        stand.outcomes().await;
        let left = told(&stand.chat("{").await, "tokens")[1].unwrap().parse::<u64>().unwrap();
        (reply.status.as_u16(), left)
    };
    // Seven tokens of prompt and three of answer, whatever was expected.
    assert_eq!(remaining(at_most(90)).await, (200, 90));
    // Five tokens were expected, and ninety used.
    let (status, left) = remaining(chat_stream("m")).await;
    assert!(status == 200 && left <= 2, "{left}");
    let reply = stand.chat(at_most(45)).await;
    assert_eq!(told(&reply, "tokens")[0], Some("100"));
    let wait: u64 = reply.header("retry-after").unwrap().parse().unwrap();
    assert!((29..=30).contains(&wait), "{wait}");
    let message = refused(reply, "tokens", "rate_limit_exceeded").await;
    assert!(message.contains("Requested 50. Please try again in "), "{message}");
    assert_eq!((upstream.requests(), limited(&stand, "tokens")), (2, 1));
    tokio::time::sleep(Duration::from_secs(wait)).await;
    // The upstream fails: nothing was used.
    let (status, left) = remaining(at_most(45)).await;
    assert!(status == 502 && (50..=52).contains(&left), "{left}");
}

#[tokio::test(start_paused = true)]
async fn what_can_never_pass_is_not_to_be_tried_again() {
    let upstream = good().await;
    let stand = setup(&upstream, "{rpm: 5, tpm: 100}").start().await;
    let reply = stand.chat(at_most(1000)).await;
    assert_eq!((reply.header("retry-after"), reply.header("x-should-retry")), (None, Some("false")));
    assert_eq!((told(&reply, "requests")[1], told(&reply, "tokens")[1]), (Some("5"), Some("100")));
    let message = refused(reply, "tokens", "rate_limit_exceeded").await;
    assert!(message.contains("too large") && message.contains("Limit 100, Requested 1005"), "{message}");
    for (path, body) in [
        ("/v1/completions", r#"{"model":"m","prompt":["ab","cd"],"max_tokens":60}"#),
        ("/v1/responses", r#"{"model":"m","input":"ab","max_output_tokens":101}"#),
        ("/v1/embeddings", &format!(r#"{{"model":"m","input":"{}"}}"#, "x".repeat(1000))),
    ] {
        refused(stand.post(path, body.to_owned()).await, "tokens", "rate_limit_exceeded").await;
    }
    assert_eq!((upstream.requests(), limited(&stand, "tokens")), (0, 4));
    assert_eq!(stand.chat(at_most(80)).await.status, 200);
}

/// A request that is let in and then refused has taken nothing of any limit.
#[tokio::test(start_paused = true)]
async fn a_refused_request_takes_nothing_of_another_limit() {
    let gate = Gate::default();
    let upstream = Upstream::start([held(&gate), Script::json(200, &answer("good"))]).await;
    let stand = setup(&upstream, "{rpm: 3, tpm: 100, concurrency: 1}")
        .server("max_concurrent_requests: 1, queue_per_tenant: 0")
        .start()
        .await;
    let mut reply = stand.chat(chat_stream("m")).await;
    assert_eq!(told(&reply, "requests")[1], Some("2"));
    for _ in 0..4 {
        let reply = stand.chat(chat("m")).await;
        assert_eq!(told(&reply, "requests")[1], Some("2"), "the one that is on its way has taken one");
        refused(reply, "concurrency", "concurrency_limit_exceeded").await;
        // This tenant has not used its own place; the gateway has none.
        let reply = ask(&stand, "twin-key", chat("m")).await;
        assert_eq!((reply.status.as_u16(), told(&reply, "requests")[1]), (503, Some("3")));
    }
    gate.open();
    reply.text().await;
    assert_eq!(outcomes(&stand).await, [("limited", 8), ("ok", 1)]);
    for _ in 0..4 {
        let reply = stand.chat(at_most(99)).await;
        assert_eq!(told(&reply, "requests")[1], Some("2"));
        refused(reply, "tokens", "rate_limit_exceeded").await;
    }
    for _ in 0..2 {
        assert_eq!(stand.chat(chat("m")).await.status, 200);
    }
    // The third in this minute is refused before its tokens are looked at.
    let tokens = told(&stand.chat("{").await, "tokens")[1].map(str::to_owned);
    let reply = stand.chat(chat("m")).await;
    assert_eq!(told(&reply, "tokens")[1].map(str::to_owned), tokens);
    refused(reply, "requests", "rate_limit_exceeded").await;
    assert_eq!(
        (limited(&stand, "requests"), limited(&stand, "tokens"), limited(&stand, "concurrency")),
        (2, 4, 4)
    );
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_streams_until_their_end() {
    let (first_gate, second_gate) = (Gate::default(), Gate::default());
    let upstream =
        Upstream::start([held(&first_gate), held(&second_gate), Script::json(200, &answer("good"))]).await;
    let stand = setup(&upstream, "{concurrency: 2}").start().await;
    let mut first = stand.chat(chat_stream("m")).await;
    let mut second = stand.chat(chat_stream("m")).await;
    second.until("\"a\"").await;
    assert_eq!(in_flight(&stand).await, ["2"]);
    let reply = stand.chat(chat("m")).await;
    assert_eq!(reply.header("retry-after"), Some("1"));
    let message = refused(reply, "concurrency", "concurrency_limit_exceeded").await;
    assert!(message.contains("Limit 2 "), "{message}");
    assert_eq!(ask(&stand, "twin-key", chat("m")).await.status, 200);
    // One ends.
    first_gate.open();
    first.text().await;
    assert_eq!(stand.chat(chat("m")).await.status, 200);
    // The client of the other leaves.
    drop(second);
    upstream.abandoned(1).await;
    assert_eq!(outcomes(&stand).await, [("cancelled", 1), ("limited", 1), ("ok", 3)]);
    assert_eq!(in_flight(&stand).await, ["0"]);
}

async fn in_flight(stand: &Stand) -> Vec<String> {
    let text = Client::connect(stand.admin).await.last(get("/metrics")).await.text().await;
    values(&text, "pointsman_tenant_requests_in_flight", &["tenant=\"t\""])
}

/// A client that leaves before its answer begins frees its place, too, and has used its prompt.
#[tokio::test(start_paused = true)]
async fn who_leaves_early_gives_back() {
    let upstream = Upstream::start([Script::empty().silence(), Script::json(200, &answer("good"))]).await;
    let stand = setup(&upstream, "{tpm: 100, concurrency: 1}").start().await;
    let mut client = stand.client().await;
    tokio::select! {
        reply = client.try_send(post("/v1/chat/completions", at_most(95))) => {
            panic!("an answer where none was to come: {:?}", reply.map(|reply| reply.status));
        }
        _ = upstream.request(0) => {}
    }
    drop(client);
    upstream.abandoned(0).await;
    assert_eq!(outcomes(&stand).await, [("cancelled", 1)]);
    assert_eq!(stand.chat(at_most(95)).await.status, 429);
    assert_eq!(stand.chat(at_most(90)).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_reload_changes_limits_and_keeps_counts() {
    let gate = Gate::default();
    let upstream = Upstream::start([held(&gate), Script::json(200, &answer("good"))]).await;
    let stand = setup(&upstream, "{rpm: 2, concurrency: 2}").start_shipped().await;
    let mut held = stand.chat(chat_stream("m")).await;
    assert_eq!(stand.chat(chat("m")).await.status, 200);
    let put = |limits: &str| reload(&stand.app, &setup(&upstream, limits).config()).unwrap();
    put("{rpm: 1000, concurrency: 1}");
    refused(stand.chat(chat("m")).await, "concurrency", "concurrency_limit_exceeded").await;
    gate.open();
    held.text().await;
    stand.outcomes().await;
    put("{rpm: 2}");
    let reply = stand.chat(chat("m")).await;
    assert_eq!(
        (reply.status.as_u16(), told(&reply, "requests")[..2].to_vec()),
        (429, vec![Some("2"), Some("0")])
    );
    tokio::time::sleep(Duration::from_secs(30)).await;
    put("{rpm: 20}");
    let reply = stand.chat(chat("m")).await;
    let left: u64 = told(&reply, "requests")[1].unwrap().parse().unwrap();
    assert!(
        reply.status == 200 && (9..=10).contains(&left),
        "half a minute's worth, at the new rate: {left}"
    );
}

/// What an upstream says there is of the gateway's own account.
#[tokio::test(start_paused = true)]
async fn the_headers_are_the_tenants_own() {
    let script = Script::whole(
        200,
        "content-type: application/json\r\nx-ratelimit-remaining-requests: 9999\r\nx-ratelimit-remaining-tokens: 8888",
        answer("x").as_bytes(),
    );
    let upstream = Upstream::start([script]).await;
    let stand = setup(&upstream, "{rpm: 60}").start().await;
    let reply = stand.chat(chat("m")).await;
    assert_eq!((told(&reply, "requests")[1], told(&reply, "tokens")), (Some("59"), [None; 3]));
    assert_eq!(reply.headers.get_all("x-ratelimit-remaining-requests").iter().count(), 1);
    let free = ask(&stand, "free-key", chat("m")).await;
    assert_eq!(told(&free, "requests"), [None, Some("9999"), None], "no limits here: as it came");
}

/// Errors of every kind tell how the limits stand, and count: a client's mistakes are requests.
#[tokio::test(start_paused = true)]
async fn errors_tell_and_count() {
    let upstream = Upstream::start([Script::json(400, r#"{"error":{"message":"no"}}"#)]).await;
    let stand = setup(&upstream, "{rpm: 10, tpm: 1000}").start().await;
    for (remaining, body) in [("9", "{".to_owned()), ("8", chat("nonesuch")), ("7", chat("m"))] {
        let reply = stand.chat(body).await;
        assert!(reply.status.is_client_error() && reply.status != 429);
        assert_eq!(told(&reply, "requests")[1], Some(remaining));
        assert_eq!(told(&reply, "tokens"), [Some("1000"), Some("1000"), Some("0s")]);
    }
}
