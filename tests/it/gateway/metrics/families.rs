//! What a gateway that has seen everything shows is what is documented, and no more of it than is documented.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    documented::{Family, Sizes, families},
    series,
};
use crate::{
    answers::{answer, chat, chat_stream, done, finish, usage, word},
    client::{Client, RawClient, get, post},
    stand::{Setup, Stand},
    upstream::{Received, Script, Upstream},
};

/// Answers as it is asked, with usage.
fn whole(received: &Received) -> Script {
    if received.text().contains("\"stream\":true") {
        return Script::events(&[word("a"), word("b"), word("c"), finish(0), usage(100, 10), done()]);
    }
    Script::json(200, &answer("hi"))
}

/// What the operators' listener shows.
async fn scrape(stand: &Stand) -> String {
    let mut reply = Client::connect(stand.admin).await.last(get("/metrics")).await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    reply.text().await
}

/// The combinations of labels by family, buckets aside.
fn seen<'a>(
    text: &str,
    documented: &'a BTreeMap<String, Family>,
) -> BTreeMap<&'a str, BTreeSet<Vec<(String, String)>>> {
    let mut seen: BTreeMap<&str, BTreeSet<_>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, mut labels) = series(line);
        let of_histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let found = of_histogram
            .and_then(|name| documented.get_key_value(name).filter(|(_, family)| family.kind == "histogram"));
        let (family, documented) = found
            .or_else(|| documented.get_key_value(&name))
            .unwrap_or_else(|| panic!("not documented: {line}"));
        labels.retain(|(key, _)| key != "le" || documented.kind != "histogram");
        labels.sort();
        let keys: Vec<&str> = labels.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, documented.labels, "{line}");
        assert!(documented.kind != "histogram" || !keys.contains(&"tenant"), "{line}");
        seen.entry(family).or_default().insert(labels);
    }
    seen
}

/// A gateway with something of everything.
async fn stand(good: &Upstream, flaky: &Upstream, cutting: &Upstream) -> Stand {
    let priced =
        |more: &str| format!("price: {{input: 10, output: 30}}, breaker: {{failures: 1000}}, {more}");
    Setup::new()
        .model("strong", &good.base_url(), &priced("rated_as: gpt-4-1106-preview"))
        .model(
            "weak",
            &good.base_url(),
            "rated_as: mixtral-8x7b-instruct-v0.1, price: {input: 0.5, output: 0.5}",
        )
        .model("flaky", &flaky.base_url(), &priced("elo: 1000"))
        .model("cutting", &cutting.base_url(), &priced("elo: 1000"))
        .model("dead", "http://127.0.0.1:9/v1", &priced("elo: 1000"))
        .top("alerts: {levels: [0.00001, 1]}")
        .routes(
            "{auto: {router: mf, strong_share: 0.5, timeout: 10s, hedge: true},
              threaded: {router: sw, threshold: 0.5, timeout: 10s},
              chain: {models: [flaky], retry: {max: 2, backoff: 1ms}},
              other: {models: [dead, weak], retry: {max: 2, backoff: 1ms}},
              cut: {models: [cutting, weak], retry: {max: 2, backoff: 1ms}, stream_recovery: replay},
              kept: {models: [weak], cache: {}}}",
        )
        .tenants(
            "{t: {keys: [{key: tenant-key}], pool: [strong, weak], limits: {rpm: 100000, concurrency: 1000},
                  budget: {usd: 10, per: total}},
              faults: {keys: [{key: faults-key}], pool: [flaky, cutting, dead, weak], default_route: chain}}",
        )
        .start_shipped()
        .await
}

async fn ask(stand: &Stand, key: &str, body: String) {
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    let mut reply = stand.client().await.last(request).await;
    let (status, text) = (reply.status, reply.text().await);
    assert_eq!(status, 200, "{text}");
}

fn about(subject: usize) -> String {
    serde_json::json!({"model": "auto", "messages": [{"role": "user", "content": format!("What is {subject} in words?")}]})
        .to_string()
}

#[tokio::test]
async fn what_is_shown_is_what_is_documented_and_all_of_it() {
    let good = Upstream::playing(|received| whole(&received)).await;
    let flaky = Upstream::start([Script::json(500, "{}"), Script::json(200, &answer("hi"))]).await;
    let cutting = Upstream::playing(|_| Script::stream().chunk(word("a")).close()).await;
    let stand = stand(&good, &flaky, &cutting).await;
    for subject in 0..200 {
        ask(&stand, "tenant-key", about(subject)).await;
    }
    for model in ["threaded", "kept", "strong"] {
        ask(&stand, "tenant-key", chat_stream(model)).await;
    }
    for body in [chat("chain"), chat("other"), chat_stream("cut")] {
        ask(&stand, "faults-key", body).await;
    }
    RawClient::connect(stand.address).await.send("rubbish\r\n\r\n").await;
    stand.eventually("a refusal", || stand.metric("pointsman_connections_refused_total", &[]) > 0).await;
    stand.eventually("an alert", || stand.metric("pointsman_budget_alerts_total", &[]) > 0).await;
    stand.outcomes().await;
    // As with the keys `redis` and `traces`.
    stand.app.metrics.show_redis();
    stand.app.metrics.seed_traces();
    let (documented, text) = (families(), scrape(&stand).await);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let types: BTreeMap<&str, &str> = types.collect();
    let expected: BTreeMap<&str, &str> =
        documented.iter().map(|(name, family)| (&**name, &*family.kind)).collect();
    assert_eq!(types, expected);
    seen(&text, &documented);
    // Some of it, as the traffic must make it.
    for (labels, count) in [
        (vec!["route=\"auto\"", "router=\"mf\""], 200),
        (vec!["route=\"threaded\"", "router=\"sw\""], 1),
        (vec!["route=\"kept\"", "router=\"static\"", "model=\"weak\""], 1),
    ] {
        assert_eq!(stand.metric("pointsman_decisions_total", &labels), count, "{labels:?}");
    }
    assert_eq!(stand.metric("pointsman_win_rate_count", &["route=\"auto\""]), 200);
    assert_eq!(stand.metric("pointsman_router_queue_seconds_count", &["router=\"sw\""]), 1);
    assert_eq!(stand.metric("pointsman_retries_total", &["model=\"flaky\""]), 1);
    for model in ["dead", "cutting"] {
        assert_eq!(stand.metric("pointsman_fallbacks_total", &[&format!("model=\"{model}\"")]), 1, "{model}");
    }
    assert_eq!(stand.metric("pointsman_routed_requests_total", &["tenant=\"t\""]), 201);
    let strong = stand.metric("pointsman_strong_decisions_total", &["route=\"auto\""]);
    assert_eq!(strong, stand.metric("pointsman_decisions_total", &["route=\"auto\"", "model=\"strong\""]));
}

/// Two hundred tenants with fifty models each.
#[tokio::test]
async fn there_are_no_more_series_than_documented() {
    const TENANTS: usize = 200;
    const MODELS: usize = 50;
    let good = Upstream::playing(|received| whole(&received)).await;
    let mut setup = Setup::new();
    for model in 0..MODELS {
        let fields = format!("elo: {}, price: {{input: {}, output: 1}}", 1000 + 5 * model, model + 1);
        setup = setup.model(&format!("m{model}"), &good.base_url(), &fields);
    }
    let models: Vec<String> = (0..MODELS).map(|model| format!("m{model}")).collect();
    let tenant = |tenant: usize| {
        format!(
            "t{tenant}: {{keys: [{{key: key-{tenant}, name: k, budget: {{usd: 10, per: day}}}}], pool: [{}], limits: {{rpm: 1000}},
               budget: {{usd: 100, per: month}}}}",
            models.join(", ")
        )
    };
    let tenants: Vec<String> = (0..TENANTS).map(tenant).collect();
    let stand = setup
        .routes("{auto: {router: mf, strong_share: 0.2, timeout: 10s}, fixed: {models: [m1, m2]}}")
        .tenants(&format!("{{{}}}", tenants.join(", ")))
        .start_shipped()
        .await;
    for tenant in 0..TENANTS {
        let key = format!("key-{tenant}");
        for body in [about(tenant), chat("fixed"), chat_stream(&format!("m{}", tenant % MODELS))] {
            ask(&stand, &key, body).await;
        }
    }
    stand.outcomes().await;
    let (documented, text) = (families(), scrape(&stand).await);
    // No tenant, and no model; two routes, five kinds of routers, `direct` and none.
    let sizes = Sizes { tenants: TENANTS + 1, routes: 9, models: MODELS + 1, budgets: 2 * TENANTS };
    for (family, seen) in seen(&text, &documented) {
        let most = documented[family].series_max(sizes);
        assert!(seen.len() <= most, "{family}: {} of {most}", seen.len());
    }
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(lines < 20_000, "{lines} series");
}
