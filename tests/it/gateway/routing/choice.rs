//! What `model` may name, and whom a router's skills choose.

use std::sync::{Arc, Mutex};

use super::{PRIORS, TENANTS, Upstreams, ask, stand, who};
use crate::{
    answers::{answer, chat},
    router::Scripted,
    stand::Setup,
    upstream::{Script, Upstream},
};

/// Better than every cheaper one where the text says so.
fn by_text(text: &str, model: &str) -> Result<f64, pointsman_routers::RouterError> {
    Ok(if text.contains(model) { 5.0 } else { 0.0 })
}

const ROUTES: &str = "{auto: {router: mf, threshold: 0.6}, \"null\": {router: mf, threshold: 0}, one: {router: mf, threshold: 1}, \
    gain: {router: mf, utility: 0, retry: {max: 0}}, fixed: {models: [large, small]}}";

#[tokio::test]
async fn auto_is_decided_by_the_router() {
    let upstreams = Upstreams::start().await;
    let stand = stand(&upstreams, &Scripted::new("mf", PRIORS).says(by_text), ROUTES).await;
    for (text, expected) in
        [("a large one", "large"), ("a medium one", "medium"), ("a small one", "small"), ("hi", "small")]
    {
        assert_eq!(who(&stand, ask("auto", text)).await, expected, "{text}");
    }
    assert_eq!(stand.metric("pointsman_decisions_total", &["router=\"mf\"", "model=\"small\""]), 2);
    assert_eq!(stand.metric("pointsman_decisions_total", &["router=\"mf\"", "model=\"large\""]), 1);
    assert_eq!(stand.metric("pointsman_decision_seconds_count", &["router=\"mf\""]), 4);
    assert_eq!(
        stand.metric("pointsman_requests_total", &["route=\"auto\"", "model=\"small\"", "outcome=\"ok\""]),
        2
    );
}

#[tokio::test]
async fn a_route_is_called_by_its_name() {
    let upstreams = Upstreams::start().await;
    let stand = stand(&upstreams, &Scripted::new("mf", PRIORS).says(by_text), ROUTES).await;
    assert_eq!(who(&stand, ask("one", "a large one")).await, "small", "nothing beats with probability 1");
    assert_eq!(who(&stand, ask("gain", "a medium one")).await, "medium");
    assert_eq!(who(&stand, ask("fixed", "a small one")).await, "large", "no router: the first of the list");
    let reply = stand.chat(ask("gain", "a medium one")).await;
    assert_eq!(reply.header("x-pointsman-route"), Some("gain"));
    assert_eq!(reply.header("x-pointsman-router"), Some("mf"));
    assert_eq!(reply.header("x-pointsman-attempts"), Some("1"));
    assert!(reply.header("x-pointsman-decision-us").unwrap().parse::<u64>().is_ok());
}

#[tokio::test]
async fn a_model_is_called_by_its_name() {
    let upstreams = Upstreams::start().await;
    let router = Scripted::new("mf", PRIORS).says(by_text);
    let stand = stand(&upstreams, &router, ROUTES).await;
    for (name, _) in PRIORS {
        assert_eq!(who(&stand, ask(name, "a large one")).await, *name);
    }
    let reply = stand.chat(ask("small", "x")).await;
    assert_eq!(reply.header("x-pointsman-router"), None);
    assert_eq!(reply.header("x-pointsman-decision-us"), None);
    assert!(router.asked().is_empty());
}

#[tokio::test]
async fn a_router_string_brings_its_threshold() {
    let upstreams = Upstreams::start().await;
    // The large one beats the cheaper with σ(1) = 0.73, the medium one the small with as much.
    let stand = upstreams
        .setup(|_| "")
        .tenants(TENANTS)
        .routes(ROUTES)
        .engine("mf", Scripted::new("mf", PRIORS).engine())
        .engine(
            "random",
            Scripted::new("random", PRIORS)
                .says(|_, model| Ok(if model == "medium" { 9.0 } else { 0.0 }))
                .engine(),
        )
        .start()
        .await;
    for (model, expected) in [
        ("router-mf-0.3", "large"),
        ("router-mf-0.73", "large"),
        ("router-mf-0.74", "small"),
        ("router-mf-0", "large"),
        ("router-mf-1", "small"),
        ("router-random-0.5", "medium"),
        ("router-random-0.99999", "small"),
    ] {
        assert_eq!(who(&stand, ask(model, "hi")).await, expected, "{model}");
    }
    let reply = stand.chat(ask("router-random-0.5", "hi")).await;
    assert_eq!(reply.header("x-pointsman-router"), Some("random"));
    assert_eq!(reply.header("x-pointsman-route"), Some("router-random"), "a bounded label");
}

#[tokio::test]
async fn a_router_string_must_make_sense() {
    let upstreams = Upstreams::start().await;
    let stand = stand(&upstreams, &Scripted::new("mf", PRIORS), ROUTES).await;
    for (model, status) in [
        ("router-mf-1.5", 400),
        ("router-mf--1", 404),
        ("router-mf-NaN", 400),
        ("router-mf-x", 400),
        ("router-mf-", 400),
        ("router-mf", 404),
        ("router-nonesuch-0.5", 404),
        ("router-", 404),
    ] {
        let mut reply = stand.chat(ask(model, "hi")).await;
        assert_eq!(reply.status, status, "{model}");
        assert_eq!(reply.error().await["type"], "invalid_request_error", "{model}");
    }
    assert_eq!(upstreams.requests(), 0);
}

/// Fallback goes to the next-best model of the ranking, not to a fixed one.
#[tokio::test]
async fn a_failed_attempt_goes_to_the_routers_next_best() {
    let order = Arc::new(Mutex::new(["small", "large", "medium"]));
    let says = Arc::clone(&order);
    let router = Scripted::new("mf", PRIORS).says(move |_, model| {
        let place = says.lock().unwrap().iter().position(|known| *known == model).unwrap();
        Ok(-f64::from(u8::try_from(place).unwrap()))
    });
    let mut setup = Setup::new();
    let mut broken = Vec::new();
    for (name, _) in PRIORS {
        let upstream = Upstream::start([Script::json(500, "{}")]).await;
        setup = setup.model(name, &upstream.base_url(), "");
        broken.push((*name, upstream));
    }
    let stand = setup.tenants(TENANTS).routes(ROUTES).engine("mf", router.engine()).start().await;
    for wanted in [["small", "large", "medium"], ["medium", "small", "large"], ["large", "medium", "small"]] {
        *order.lock().unwrap() = wanted;
        let before: Vec<usize> = broken.iter().map(|(_, upstream)| upstream.requests()).collect();
        let reply = stand.chat(ask("gain", "hi")).await;
        assert_eq!(reply.status, 502);
        assert_eq!(reply.header("x-pointsman-attempts"), Some("3"));
        assert_eq!(reply.header("x-pointsman-model"), Some(wanted[2]), "the last one asked");
        for (place, (name, upstream)) in broken.iter().enumerate() {
            assert_eq!(upstream.requests(), before[place] + 1, "{name}: one attempt per model");
        }
    }
}

#[tokio::test]
async fn a_static_route_falls_back_in_its_order() {
    let (a, b) =
        (Upstream::start([Script::empty().reset()]).await, Upstream::start([Script::json(500, "{}")]).await);
    let c = Upstream::start([Script::json(200, &answer("c"))]).await;
    let setup = [("c", &c), ("b", &b), ("a", &a)]
        .into_iter()
        .fold(Setup::new(), |setup, (name, upstream)| setup.model(name, &upstream.base_url(), ""));
    let stand = setup.routes("{auto: {models: [a, b, c]}, other: {models: [b, c]}}").start().await;
    let reply = stand.chat(chat("auto")).await;
    assert_eq!(
        (reply.header("x-pointsman-model"), reply.header("x-pointsman-attempts")),
        (Some("c"), Some("3"))
    );
    assert_eq!(reply.header("x-pointsman-router"), Some("static"));
    assert_eq!((a.requests(), b.requests(), c.requests()), (1, 1, 1));
    let reply = stand.chat(chat("other")).await;
    assert_eq!(
        (reply.header("x-pointsman-model"), reply.header("x-pointsman-attempts")),
        (Some("c"), Some("2"))
    );
}

/// Who names a model wants that one.
#[tokio::test]
async fn a_model_called_by_name_has_no_fallback() {
    let a = Upstream::start([Script::json(500, "{}")]).await;
    let b = Upstream::start([Script::json(200, &answer("b"))]).await;
    let stand = Setup::new().model("a", &a.base_url(), "").model("b", &b.base_url(), "").start().await;
    let reply = stand.chat(chat("a")).await;
    assert_eq!((reply.status.as_u16(), reply.header("x-pointsman-attempts")), (502, Some("1")));
    assert_eq!(b.requests(), 0);
}

#[tokio::test]
async fn the_other_endpoints_take_models_of_the_pool_alone() {
    let upstream = Upstream::start([
        Script::json(200, r#"{"object":"list","model":"up","data":[{"embedding":[1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#),
        Script::json(200, r#"{"object":"response","model":"up","output":[],"usage":{"input_tokens":3,"output_tokens":4}}"#),
        Script::json(200, &answer("x")),
    ])
    .await;
    let stand = Setup::new().model("m", &upstream.base_url(), "model: up").start().await;
    for (place, (path, input)) in
        [("/v1/embeddings", "input"), ("/v1/responses", "input"), ("/v1/completions", "prompt")]
            .into_iter()
            .enumerate()
    {
        let body = |model: &str| format!(r#"{{"{input}":"hi","model":"{model}"}}"#);
        let mut reply = stand.post(path, body("m")).await;
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.json().await["model"], "m", "{path}");
        let got = upstream.request(place).await;
        assert_eq!((got.target(), got.text()), (path, body("up").as_str()));
        for routed in ["auto", "router-mf-0.5"] {
            assert_eq!(stand.post(path, body(routed)).await.status, 404, "{path} {routed}");
        }
    }
    assert_eq!(stand.metric("pointsman_tokens_total", &["kind=\"prompt\""]), 13);
}

/// Upstreams ignore the key there, and so do we.
#[tokio::test]
async fn embeddings_are_not_streamed() {
    let list = r#"{"object":"list","data":[{"embedding":[1]}],"usage":{"prompt_tokens":3,"total_tokens":3}}"#;
    let upstream = Upstream::start([Script::json(200, list)]).await;
    let stand = Setup::new().model("m", &upstream.base_url(), "").start().await;
    let body = r#"{"model":"m","input":"hi","stream":true}"#;
    let mut reply = stand.post("/v1/embeddings", body).await;
    assert_eq!((reply.status.as_u16(), reply.text().await.as_str()), (200, list));
    assert_eq!(upstream.request(0).await.text(), body);
}

/// What a person who watches is told of each decision.
#[tokio::test]
async fn a_watcher_hears_of_every_decision() {
    let upstreams = Upstreams::start().await;
    let heard: Arc<Mutex<Vec<String>>> = Arc::default();
    let writes = Arc::clone(&heard);
    let watcher: pointsman::http::app::Watcher = Box::new(move |report| {
        let mut rates: Vec<String> =
            report.win_rates.iter().map(|(model, rate)| format!("{model} {rate:.2}")).collect();
        rates.sort();
        writes.lock().unwrap().push(format!("{} → {} over {rates:?}", report.prompt, report.model));
    });
    let stand = upstreams
        .setup(|_| "")
        .tenants(TENANTS)
        .routes(ROUTES)
        .engine("mf", Scripted::new("mf", PRIORS).engine())
        .watcher(watcher)
        .start()
        .await;
    who(&stand, ask("null", "what is it")).await;
    assert_eq!(*heard.lock().unwrap(), [r#"what is it → large over ["medium 0.73", "small 0.88"]"#]);
}
