//! Upstreams that are left alone: when, for whom, and until when.

use super::*;

/// No request hammers a provider that said "slow down": not the one it said it to, and not the next.
#[tokio::test(start_paused = true)]
async fn who_asks_to_be_left_alone_is() {
    let primary = upstream([limited("retry-after: 30\r\n"), good()]).await;
    let stand =
        Setup::new().model("primary", &primary.base_url(), "breaker: {shared_pause: true}").start().await;
    for remaining in 29..=30 {
        let mut reply = stand.chat(chat("auto")).await;
        assert_eq!(reply.status, 429);
        let told: u64 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((remaining - 1..=30).contains(&told), "{told}");
        assert_eq!(reply.header("x-should-retry"), Some("false"));
        assert_eq!(reply.error().await["code"], "rate_limit_exceeded");
    }
    assert_eq!(primary.requests(), 1);
    tokio::time::advance(Duration::from_secs(31)).await;
    rescued(&stand, chat("auto"), "1").await;
}

#[tokio::test(start_paused = true)]
async fn a_503_for_ever_is_rescued_by_the_fallback_and_then_left_alone() {
    let (primary, fallback) = (upstream([Script::json(503, "{}")]).await, upstream([good()]).await);
    let stand = stand(&[&primary, &fallback]).await;
    for _ in 0..5 {
        rescued(&stand, chat("auto"), "2").await;
    }
    for _ in 0..5 {
        rescued(&stand, chat("auto"), "1").await;
    }
    assert_eq!(primary.requests(), 5, "five failures in a row are enough");
    let mut metrics = Client::connect(stand.admin).await.last(get("/metrics")).await;
    assert!(metrics.text().await.contains("pointsman_breaker_open{model=\"primary\"} 1\n"));
}

/// A client's bad requests never have an upstream left alone for the others.
#[tokio::test(start_paused = true)]
async fn bad_requests_open_no_breaker() {
    let bad = Script::json(400, r#"{"error":{"message":"bad","type":"invalid_request_error"}}"#);
    let mut scripts = vec![bad; 50];
    scripts.push(good());
    let primary = upstream(scripts).await;
    let stand = stand(&[&primary]).await;
    for _ in 0..50 {
        assert_eq!(stand.chat(chat("auto")).await.status, 400);
    }
    rescued(&stand, chat("auto"), "1").await;
}

#[tokio::test(start_paused = true)]
async fn an_upstream_down_for_a_minute_is_left_alone_and_found_again() {
    let mut scripts = vec![Script::empty().reset(); 12];
    scripts.push(good());
    let (primary, fallback) = (upstream(scripts).await, upstream([good()]).await);
    let stand = stand(&[&primary, &fallback]).await;
    let begun = Instant::now();
    let mut answered_by_primary = false;
    while begun.elapsed() < Duration::from_secs(120) {
        let mut reply = stand.chat(chat("auto")).await;
        assert_eq!(reply.status, 200);
        answered_by_primary = reply.header("x-pointsman-model") == Some("primary");
        reply.text().await;
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(answered_by_primary, "it is back");
    // Five to open the breaker, then one probe every ten seconds.
    let probes: Vec<u64> = futures_util::future::join_all((5..12).map(|place| after(&primary, place, begun)))
        .await
        .iter()
        .map(Duration::as_secs)
        .collect();
    assert!(probes.windows(2).all(|pair| (10..=12).contains(&(pair[1] - pair[0]))), "{probes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_a_probe_makes_room_for_the_next() {
    let gate = Gate::default();
    let mut scripts = vec![Script::empty().reset(); 5];
    scripts.extend([Script::empty().wait(&gate).silence(), good()]);
    let primary = upstream(scripts).await;
    let stand = stand_with(&[&primary], "retry: {max: 0}").await;
    for _ in 0..5 {
        assert_eq!(stand.chat(chat("auto")).await.status, 502);
    }
    assert_eq!(stand.chat(chat("auto")).await.status, 503);
    tokio::time::advance(Duration::from_secs(10)).await;
    let mut client = RawClient::connect(stand.address).await;
    let body = chat("auto");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\ncontent-length: {}",
        body.len()
    );
    client.send(format!("{head}\r\n\r\n{body}")).await;
    primary.request(5).await;
    drop(client);
    primary.abandoned(5).await;
    rescued(&stand, chat("auto"), "1").await;
}

/// A model at several addresses: calls go to the less loaded of two.
#[tokio::test(start_paused = true)]
async fn calls_go_to_the_less_loaded_address() {
    let gate = Gate::default();
    let held = Script::empty().wait(&gate).write(HEAD);
    let held = stream("good").iter().fold(held, |script, event| script.chunk(event)).end();
    let (one, other) = (upstream([held.clone()]).await, upstream([held]).await);
    let stand = addresses(&[&one, &other]).await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 1..=6 {
        let mut client = stand.client().await;
        asking.spawn(async move {
            client.send(crate::client::post("/v1/chat/completions", chat_stream("auto"))).await.text().await
        });
        stand.eventually("the call", || one.requests() + other.requests() == number).await;
        assert!(one.requests().abs_diff(other.requests()) <= 1, "{} {}", one.requests(), other.requests());
    }
    gate.open();
    while let Some(text) = asking.join_next().await {
        assert!(text.unwrap().contains("good"));
    }
}

/// An address that fails is left for another in the same request, and soon by all.
#[tokio::test(start_paused = true)]
async fn a_failing_address_is_ejected() {
    let (bad, good) = (upstream([Script::empty().reset()]).await, upstream([good()]).await);
    let stand = addresses(&[&bad, &good]).await;
    for _ in 0..60 {
        let reply = stand.chat(chat("auto")).await;
        assert_eq!(reply.status, 200);
    }
    assert_eq!(good.requests(), 60);
    assert!((5..=6).contains(&bad.requests()), "five failures in a row are enough: {}", bad.requests());
    let mut metrics = Client::connect(stand.admin).await.last(get("/metrics")).await;
    assert!(
        metrics.text().await.contains("pointsman_breaker_open{model=\"m\"} 0\n"),
        "one address takes calls"
    );
}

/// Checked beside the traffic: a request never finds out for itself that the address is down.
#[tokio::test(start_paused = true)]
async fn an_address_that_fails_its_checks_is_left_alone() {
    let healthy = Arc::new(AtomicBool::new(true));
    let is_healthy = Arc::clone(&healthy);
    let calls = Arc::new(AtomicUsize::new(0));
    let called = Arc::clone(&calls);
    let primary = Upstream::playing(move |request| {
        if request.target() == "/health" {
            assert_eq!(request.header("authorization"), Some("Bearer up-key"));
            return Script::json(if is_healthy.load(Ordering::Relaxed) { 200 } else { 503 }, "{}");
        }
        called.fetch_add(1, Ordering::Relaxed);
        Script::json(200, &answer("good"))
    })
    .await;
    let fallback = upstream([good()]).await;
    let stand = Setup::new()
        .model(
            "primary",
            &primary.base_url(),
            "api_key: up-key, health_check: {path: /health, interval: 1s, timeout: 500ms}",
        )
        .model("fallback", &fallback.base_url(), "")
        .start()
        .await;
    let answers = async |model: &str| {
        let reply = stand.chat(chat("auto")).await;
        assert_eq!((reply.status.as_u16(), reply.header("x-pointsman-model")), (200, Some(model)));
    };
    answers("primary").await;
    healthy.store(false, Ordering::Relaxed);
    stand.eventually_open("primary", "1").await;
    answers("fallback").await;
    assert_eq!(calls.load(Ordering::Relaxed), 1, "it was not asked");
    healthy.store(true, Ordering::Relaxed);
    stand.eventually_open("primary", "0").await;
    answers("primary").await;
}

/// A prompt that breaks an upstream breaks it once a request, however often it is asked again.
#[tokio::test(start_paused = true)]
async fn one_request_is_one_failure() {
    let mut scripts = vec![Script::json(500, "{}"); 12];
    scripts.push(good());
    let primary = upstream(scripts).await;
    let stand = stand(&[&primary]).await;
    for _ in 0..4 {
        assert_eq!(stand.chat(chat("auto")).await.status, 502);
    }
    rescued(&stand, chat("auto"), "1").await;
    assert_eq!(primary.requests(), 13, "twelve failures of four requests are four");
}

/// The same model at the same address by another account.
#[tokio::test(start_paused = true)]
async fn accounts_are_left_alone_one_by_one() {
    let upstream = Upstream::playing(|request| {
        if request.header("authorization") == Some("Bearer empty") { Script::json(402, "{}") } else { good() }
    })
    .await;
    let stand = Setup::new()
        .model("one", &upstream.base_url(), "model: same, api_key: empty")
        .model("other", &upstream.base_url(), "model: same, api_key: full")
        .start()
        .await;
    for _ in 0..40 {
        assert_eq!(stand.chat(chat("auto")).await.status, 200);
    }
    let mut metrics = Client::connect(stand.admin).await.last(get("/metrics")).await;
    let text = metrics.text().await;
    for line in ["pointsman_breaker_open{model=\"one\"} 1\n", "pointsman_breaker_open{model=\"other\"} 0\n"] {
        assert!(text.contains(line), "{text}");
    }
}

async fn addresses(upstreams: &[&Upstream]) -> Stand {
    let urls: Vec<String> = upstreams.iter().map(|upstream| format!("\"{}\"", upstream.base_url())).collect();
    let yaml = format!(
        "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\nmodels: {{m: {{base_url: [{}]}}}}\nroutes: {{auto: {{models: [m]}}}}\n\
         tenants: {{t: {{keys: [{{key: {KEY}}}], pool: [m]}}}}\n",
        urls.join(", ")
    );
    crate::stand::start(&yaml).await
}
