//! Budgets: held before a call, settled after it, never overrun by what has a bound.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio::task::JoinSet;

use crate::{
    answers::{answer, chat, chat_stream, done, finish, role, usage, word},
    client::{KEY, post},
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream},
};

/// A million tokens of an answer cost a USD, those of a prompt nothing.
const PRICE: &str = "price: {input: 0, output: 1}";

/// One tenant with this budget in USD.
fn tenant(usd: &str) -> String {
    format!("{{t: {{keys: [{{key: {KEY}}}], pool: [m], budget: {{usd: {usd}, per: total}}}}}}")
}

async fn stand(upstream: &Upstream, usd: &str) -> Stand {
    Setup::new().model("m", &upstream.base_url(), PRICE).tenants(&tenant(usd)).start().await
}

/// As [`chat`], with a longest answer.
fn bounded(request: &str, max_tokens: u32) -> String {
    request.replace("\"messages\"", &format!("\"max_tokens\":{max_tokens},\"messages\""))
}

/// Limit, spent and held, in millionths of a USD, once no request is on its way.
async fn standing(stand: &Stand, label: &str) -> [u64; 3] {
    stand.outcomes().await;
    standing_now(stand, label).await
}

async fn standing_now(stand: &Stand, label: &str) -> [u64; 3] {
    let text = crate::client::Client::connect(stand.admin)
        .await
        .last(crate::client::get("/metrics"))
        .await
        .text()
        .await;
    ["limit", "spent", "held"].map(|what| {
        let values = crate::stand::values(&text, &format!("pointsman_budget_{what}_usd"), &[label]);
        format!("{:.0}", values[0].parse::<f64>().unwrap() * 1e6).parse().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_at_once_do_not_overrun_a_budget_for_a_hundred() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    // Each answer has three tokens.
    let stand = stand(&upstream, "0.0003").await;
    let mut requests = JoinSet::new();
    for _ in 0..1000 {
        let client = stand.client().await;
        requests.spawn(async move {
            let mut reply = client.last(post("/v1/chat/completions", bounded(&chat("m"), 3))).await;
            let status = reply.status.as_u16();
            let told = (
                reply.header("retry-after").map(str::to_owned),
                reply.header("x-should-retry").map(str::to_owned),
            );
            (status, told, reply.text().await)
        });
    }
    let mut statuses = BTreeMap::new();
    while let Some(reply) = requests.join_next().await {
        let (status, (retry_after, should_retry), text) = reply.unwrap();
        *statuses.entry(status).or_insert(0) += 1;
        if status != 200 {
            let error: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(error["error"]["code"], "budget_exceeded", "{text}");
            assert_eq!(error["error"]["type"], "insufficient_quota", "{text}");
            // Held by others for a moment, or spent for ever.
            match retry_after {
                Some(seconds) => assert_eq!((seconds.as_str(), should_retry), ("1", None)),
                None => assert_eq!(should_retry.as_deref(), Some("false")),
            }
        }
    }
    // Every one that was refused while others held the money might have been let through later, none is let through too many.
    assert!(statuses[&200] <= 100, "{statuses:?}");
    assert_eq!(upstream.requests(), statuses[&200]);
    // What was free again is to be had, to the last token.
    for _ in statuses[&200]..100 {
        assert_eq!(stand.chat(bounded(&chat("m"), 3)).await.status, 200);
    }
    assert_eq!(stand.chat(bounded(&chat("m"), 3)).await.status, 429);
    assert_eq!(standing(&stand, "tenant=\"t\"").await, [300, 300, 0]);
    assert_eq!(stand.outcomes().await["limited"], 901);
}

#[tokio::test]
async fn what_a_prompt_may_cost_is_held_too() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let price = "price: {input: 1, output: 1}";
    let request = bounded(&chat("m"), 3);
    let bytes = request.len();
    let tenants = |tokens: usize| tenant(&format!("0.{tokens:06}"));
    let too_little =
        Setup::new().model("m", &upstream.base_url(), price).tenants(&tenants(bytes + 2)).start().await;
    let reply = too_little.chat(request.clone()).await;
    assert_eq!((reply.status.as_u16(), reply.header("retry-after")), (429, None), "it can never be paid for");
    let enough =
        Setup::new().model("m", &upstream.base_url(), price).tenants(&tenants(bytes + 3)).start().await;
    assert_eq!(enough.chat(request).await.status, 200);
    // Seven tokens read and three written, as reported.
    assert_eq!(standing(&enough, "tenant=\"t\"").await[1..], [10, 0]);
}

#[tokio::test]
async fn an_answer_without_a_bound_ends_in_an_error_when_the_money_does() {
    let endless = Script::stream()
        .chunk(role())
        .repeat(crate::upstream::chunk(word(&"four".repeat(16)).as_bytes()), 1000);
    let upstream = Upstream::start([endless.chunk(finish(0)).chunk(done()).end()]).await;
    // The first step and two more.
    let stand = stand(&upstream, "0.000768").await;
    let text = stand.chat(chat_stream("m")).await.text().await;
    assert!(!text.contains("[DONE]"));
    let last = text.trim_end().rsplit("data: ").next().unwrap();
    let error: Value = serde_json::from_str(last).unwrap();
    assert_eq!(error["error"]["code"], "budget_exceeded", "{last}");
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("limited", 1)]);
    let [limit, spent, held] = standing(&stand, "tenant=\"t\"").await;
    assert_eq!(held, 0);
    assert!(spent > limit - 256 && spent <= limit, "{spent} of {limit}");
}

#[tokio::test]
async fn a_call_that_failed_gives_its_money_back() {
    let broken = Upstream::start([Script::json(500, "{}")]).await;
    let whole = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = Setup::new()
        .model("m", &broken.base_url(), PRICE)
        .model("n", &whole.base_url(), PRICE)
        .tenants(&format!(
            "{{t: {{keys: [{{key: {KEY}}}], pool: [m, n], budget: {{usd: 0.000005, per: day}}}}}}"
        ))
        .start()
        .await;
    // Both calls together would be too much.
    let reply = stand.chat(bounded(&chat("auto"), 3)).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-pointsman-attempts")), (200, Some("2")));
    assert_eq!(standing(&stand, "per=\"day\"").await, [5, 3, 0]);
    // Two tokens are left, and three may be asked for.
    assert_eq!(stand.chat(bounded(&chat("auto"), 2)).await.status, 200);
    let reply = stand.chat(bounded(&chat("auto"), 3)).await;
    assert_eq!(reply.status, 429);
    assert!(reply.header("retry-after").is_some(), "until midnight");
}

#[tokio::test]
async fn a_client_that_leaves_pays_for_what_was_written() {
    let gate = Gate::default();
    let upstream = Upstream::start([Script::stream().chunk(word("twelve chars")).wait(&gate).end()]).await;
    let stand = stand(&upstream, "0.001").await;
    let mut reply = stand.chat(bounded(&chat_stream("m"), 100)).await;
    reply.until("twelve").await;
    drop(reply);
    upstream.abandoned(0).await;
    assert_eq!(standing(&stand, "tenant=\"t\"").await, [1000, 3, 0]);
}

#[tokio::test]
async fn usage_counts_as_it_is_reported_kind_by_kind() {
    let reported = usage(100, 10).replace(
        "\"completion_tokens\":10",
        "\"completion_tokens\":10,\"prompt_tokens_details\":{\"cached_tokens\":80},\"completion_tokens_details\":{\"reasoning_tokens\":4}",
    );
    assert!(reported.contains("cached_tokens"), "{reported}");
    let upstream = Upstream::start([Script::events(&[word("x"), finish(0), reported, done()])]).await;
    let price = "price: {input: 10, cached_input: 1, output: 100, reasoning: 50}";
    let stand = Setup::new().model("m", &upstream.base_url(), price).tenants(&tenant("1")).start().await;
    stand.chat(bounded(&chat_stream("m"), 10)).await.text().await;
    assert_eq!(standing(&stand, "tenant=\"t\"").await[1], 20 * 10 + 80 + 6 * 100 + 4 * 50);
}

#[tokio::test]
async fn a_model_without_a_price_is_not_asked_where_there_is_a_budget() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = Setup::new()
        .model("free", &upstream.base_url(), "")
        .model("m", &upstream.base_url(), PRICE)
        .tenants(&format!("{{t: {{keys: [{{key: {KEY}}}], pool: [free, m], budget: {{usd: 1, per: month}}}}, u: {{open: true, pool: [free]}}}}"))
        .start()
        .await;
    let mut reply = stand.chat(bounded(&chat("free"), 3)).await;
    assert_eq!(reply.status, 400);
    let error: Value = serde_json::from_str(&reply.text().await).unwrap();
    assert_eq!(error["error"]["code"], "model_without_price");
    assert_eq!(stand.chat(bounded(&chat("auto"), 3)).await.header("x-pointsman-model"), Some("m"));
    let client = stand.client().await;
    let mut unbudgeted = post("/v1/chat/completions", chat("free"));
    unbudgeted.headers_mut().remove("authorization");
    assert_eq!(client.last(unbudgeted).await.status, 200, "another tenant, without a budget");
}

#[tokio::test]
async fn keys_and_projects_have_budgets_of_their_own() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let tenants = "{t: {pool: [m], budget: {usd: 0.00001, per: total},
        keys: [{key: alone}, {key: small, name: small, budget: {usd: 0.000003, per: total}}, {key: old, name: old, expires: 2020-01-01}],
        projects: {p: {budget: {usd: 0.000004, per: total}, keys: [{key: p1}, {key: p2}]}}}}";
    let stand = Setup::new().model("m", &upstream.base_url(), PRICE).tenants(tenants).start().await;
    let ask = async |key: &str| {
        let mut request = post("/v1/chat/completions", bounded(&chat("m"), 3));
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let mut reply = stand.client().await.last(request).await;
        let status = reply.status.as_u16();
        let text = reply.text().await;
        let said = ["tenant", "project", "key"]
            .into_iter()
            .find(|scope| text.contains(&format!("budget of your {scope} ")));
        (status, said)
    };
    assert_eq!(ask("old").await, (401, None));
    assert_eq!(ask("small").await, (200, None));
    assert_eq!(ask("small").await, (429, Some("key")));
    assert_eq!(ask("p1").await, (200, None));
    assert_eq!(ask("p2").await, (429, Some("project")));
    assert_eq!(ask("alone").await, (200, None));
    assert_eq!(ask("alone").await, (429, Some("tenant")));
    assert_eq!(standing(&stand, "key=\"small\"").await, [3, 3, 0]);
    assert_eq!(standing(&stand, "project=\"p\"").await, [4, 3, 0]);
}

#[tokio::test]
async fn while_a_budget_is_low_a_route_may_prefer_what_is_cheap() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = Setup::new()
        .model("dear", &upstream.base_url(), "price: {input: 0, output: 10}")
        .model("cheap", &upstream.base_url(), PRICE)
        .routes("{auto: {models: [dear, cheap], when_low: cheaper}, strict: {models: [dear, cheap]}}")
        .tenants(&format!(
            "{{t: {{keys: [{{key: {KEY}}}], pool: [dear, cheap], budget: {{usd: 0.000065, per: month}}}}}}"
        ))
        .start()
        .await;
    let answered_by = async |route: &str| {
        let reply = stand.chat(bounded(&chat(route), 3)).await;
        let model = reply.header("x-pointsman-model").map(str::to_owned);
        (reply.status.as_u16(), model)
    };
    for _ in 0..2 {
        assert_eq!(answered_by("auto").await, (200, Some("dear".to_owned())));
    }
    // Five of sixty-five are left.
    assert_eq!(answered_by("strict").await.0, 429);
    assert_eq!(answered_by("auto").await, (200, Some("cheap".to_owned())));
    assert_eq!(answered_by("auto").await.0, 429);
}

#[tokio::test]
async fn a_budget_that_reaches_a_level_is_told_of() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let told = Upstream::start([Script::json(500, "{}"), Script::json(200, "{}")]).await;
    let stand = Setup::new()
        .model("m", &upstream.base_url(), PRICE)
        .top(&format!("alerts: {{levels: [0.2, 0.5, 1], webhook: \"{}/hook?secret=1\"}}", told.base_url()))
        .tenants(&tenant("0.000006"))
        .start()
        .await;
    assert_eq!(stand.chat(bounded(&chat("m"), 3)).await.status, 200);
    let request = told.request(1).await;
    assert_eq!(request.target(), "/v1/hook?secret=1");
    let said: Value = serde_json::from_str(request.text()).unwrap();
    assert_eq!(
        said,
        serde_json::json!({"event": "budget_alert", "tenant": "t", "project": null, "key": null, "per": "total", "level": 0.5,
            "spent_usd": "0.000003", "limit_usd": "0.000006"})
    );
    assert_eq!(stand.chat(bounded(&chat("m"), 3)).await.status, 200);
    let said: Value = serde_json::from_str(told.request(2).await.text()).unwrap();
    assert_eq!(
        (&said["level"], &said["spent_usd"]),
        (&serde_json::json!(1.0), &serde_json::json!("0.000006"))
    );
    assert_eq!(stand.metric("pointsman_budget_alerts_total", &["tenant=\"t\""]), 2);
}

#[tokio::test]
async fn a_reload_gives_nothing_back() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let setup = |usd: &str| Setup::new().model("m", &upstream.base_url(), PRICE).tenants(&tenant(usd));
    let stand = setup("0.000003").start().await;
    assert_eq!(stand.chat(bounded(&chat("m"), 3)).await.status, 200);
    pointsman::gateway::reload(&stand.app, &setup("0.000005").config()).unwrap();
    assert_eq!(stand.chat(bounded(&chat("m"), 3)).await.status, 429);
    assert_eq!(standing(&stand, "tenant=\"t\"").await, [5, 3, 0]);
    pointsman::gateway::reload(&stand.app, &setup("0.000006").config()).unwrap();
    assert_eq!(stand.chat(bounded(&chat("m"), 3)).await.status, 200);
}

/// What was held for the slower of two is free as soon as the other has begun to answer.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_no_longer_waited_for_holds_nothing() {
    let (never, rest) = (Gate::default(), Gate::default());
    let mut scripts = vec![Script::events(&[word("a"), finish(0), usage(1, 1), done()]); 20];
    scripts.push(Script::empty().wait(&never));
    let late = Upstream::start(scripts).await;
    let quick = Upstream::start([Script::stream().chunk(word("a")).wait(&rest).chunk(done()).end()]).await;
    let price = "price: {input: 0, output: 1000}";
    let stand = Setup::new()
        .model("late", &late.base_url(), price)
        .model("quick", &quick.base_url(), price)
        .routes("{auto: {models: [late, quick], hedge: true}}")
        .tenants("{t: {keys: [{key: tenant-key}], pool: [late, quick], budget: {usd: 1000, per: total}}}")
        .start()
        .await;
    let ask = || {
        let body = serde_json::json!({"model": "auto", "stream": true, "max_tokens": 1000, "messages": [{"role": "user", "content": "x"}]});
        let mut request = post("/v1/chat/completions", body.to_string());
        request.headers_mut().insert("authorization", "Bearer tenant-key".parse().unwrap());
        request
    };
    for _ in 0..20 {
        stand.client().await.last(ask()).await.text().await;
    }
    let mut client = stand.client().await;
    let answered = client.send(ask()).await;
    assert_eq!((late.requests(), answered.header("x-pointsman-model")), (21, Some("quick")));
    // A thousand tokens at a thousand USD per million: of one call, not of two.
    let [_, _, held] = standing_now(&stand, "tenant=\"t\"").await;
    assert_eq!(held, 1_000_000);
    rest.open();
}

/// Long words are many characters a token; what bounds an answer bounds what it is estimated at, unless the upstream cannot have heeded it.
#[tokio::test]
async fn an_estimate_is_of_no_more_than_a_bound_that_can_have_been_heeded() {
    // A hundred words of twelve characters.
    let long = Script::events(&[word(&"abcdefghijk ".repeat(100)), finish(0), done()]);
    let upstream = Upstream::start([long]).await;
    let stand = stand(&upstream, "0.001").await;
    for (bound, tokens) in [(100, 100), (150, 250), (30, 325)] {
        let body = bounded(&chat_stream("m"), bound);
        let mut reply = stand.client().await.last(post("/v1/chat/completions", body)).await;
        assert_eq!(reply.status, 200);
        reply.text().await;
        let [_, spent, held] = standing(&stand, "tenant=\"t\"").await;
        assert_eq!((spent, held), (tokens, 0));
    }
}
