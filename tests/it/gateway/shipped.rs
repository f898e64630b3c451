//! The routers that ship in the binary, asked through the gateway.

use std::collections::BTreeSet;

use crate::{
    answers::answer,
    client::post,
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
};

const ROUTES: &str = "{auto: {router: mf, strong_share: 0.5, timeout: 5s}, gain: {router: mf, utility: 100, timeout: 5s}, \
    best: {router: best_single, threshold: 0.5}, dice: {router: random, threshold: 0.5}, \
    budget: {router: mf, budget_usd_per_1k: 3, timeout: 5s}}";

const PROMPTS: [&str; 12] = [
    "hi",
    "What is the capital of France?",
    "Prove that there are infinitely many primes congruent to 3 modulo 4.",
    "Write a Rust function that merges two sorted slices without allocating, and say why it is correct.",
    "Translate 'good morning' into Spanish.",
    "Give me a recipe for pancakes.",
    "Derive the Euler-Lagrange equation from the principle of least action, step by step.",
    "Tell me a joke about cats.",
    "Explain the difference between optimistic and pessimistic concurrency control in databases, with an example.",
    "thanks",
    "Solve x^5 - x - 1 = 0 in radicals or show that it is impossible.",
    "Summarise Hamlet in one sentence.",
];

async fn stand(upstream: &Upstream) -> Stand {
    let url = upstream.base_url();
    Setup::new()
        .model("strong", &url, "rated_as: gpt-4-1106-preview, price: {input: 10, output: 30}")
        .model("weak", &url, "rated_as: mixtral-8x7b-instruct-v0.1, price: {input: 0.5, output: 0.5}")
        .routes(ROUTES)
        .start_shipped()
        .await
}

async fn chosen(stand: &Stand, model: &str, prompt: &str) -> String {
    let body = serde_json::json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
    let reply = stand.chat(body.to_string()).await;
    assert_eq!(reply.status, 200, "{model}");
    reply.header("x-pointsman-model").unwrap().to_owned()
}

/// What each prompt goes to.
async fn choices(stand: &Stand, model: &str) -> Vec<String> {
    let mut choices = Vec::new();
    for prompt in PROMPTS {
        choices.push(chosen(stand, model, prompt).await);
    }
    choices
}

#[tokio::test]
async fn a_tenant_may_have_a_rule_of_its_own() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let url = upstream.base_url();
    let tenant = |key: &str, share: u8| {
        format!("{key}: {{keys: [{{key: {key}}}], pool: [strong, weak], strong_share: {share}}}")
    };
    let stand = Setup::new()
        .model("strong", &url, "rated_as: gpt-4-1106-preview, price: {input: 10, output: 30}")
        .model("weak", &url, "rated_as: mixtral-8x7b-instruct-v0.1, price: {input: 0.5, output: 0.5}")
        .routes("{auto: {router: mf, strong_share: 0.5, timeout: 5s}}")
        .tenants(&format!("{{{}, {}}}", tenant("rich", 1), tenant("poor", 0)))
        .start_shipped()
        .await;
    for (key, model) in [("rich", "strong"), ("poor", "weak")] {
        for prompt in PROMPTS {
            let body =
                serde_json::json!({"model": "auto", "messages": [{"role": "user", "content": prompt}]});
            let mut request = post("/v1/chat/completions", body.to_string());
            request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
            let reply = stand.client().await.last(request).await;
            assert_eq!(reply.header("x-pointsman-model"), Some(model), "{prompt}");
        }
    }
}

#[tokio::test]
async fn every_route_decides_and_none_fails_open() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream).await;
    for (route, router) in
        [("auto", "mf"), ("gain", "mf"), ("budget", "mf"), ("best", "best_single"), ("dice", "random")]
    {
        let before = stand.metric("pointsman_decisions_total", &[&format!("router=\"{router}\"")]);
        let first = choices(&stand, route).await;
        assert_eq!(choices(&stand, route).await, first, "{route}: the same text, the same model");
        let after = stand.metric("pointsman_decisions_total", &[&format!("router=\"{router}\"")]);
        assert_eq!(after - before, 24, "{route}");
    }
    assert_eq!(stand.metric("pointsman_fail_open_total", &[]), 0);
}

#[tokio::test]
async fn the_threshold_of_a_router_string_is_heard() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream).await;
    let strong = async |threshold: &str| {
        let choices = choices(&stand, &format!("router-mf-{threshold}")).await;
        choices.iter().filter(|model| *model == "strong").count()
    };
    let mut counts = vec![strong("0").await];
    // Where this pair's win rates lie: the shipped router tells the two apart by a few hundredths.
    for thousandths in (600..=800).step_by(4) {
        counts.push(strong(&format!("0.{thousandths}")).await);
    }
    counts.push(strong("1.0").await);
    assert_eq!((counts.first(), counts.last()), (Some(&PROMPTS.len()), Some(&0)), "{counts:?}");
    assert!(
        counts.is_sorted_by(|a, b| a >= b),
        "a higher threshold never sends more to the strong model: {counts:?}"
    );
    let different: BTreeSet<usize> = counts.iter().copied().collect();
    assert!(different.len() > 2, "the prompts are told apart: {counts:?}");
}

/// The threshold is solved so that half of the calibration sample goes either way.
#[tokio::test]
async fn a_share_tells_prompts_apart() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream).await;
    let different: BTreeSet<String> = choices(&stand, "auto").await.into_iter().collect();
    assert_eq!(different.len(), 2, "{different:?}");
}
