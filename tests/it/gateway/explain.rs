//! A decision, explained: by `/v1/route`, in an answer's head, and in an answer whose request asks for it.

use serde_json::{Value, json};

use crate::{
    answers::{answer, done, finish, usage, word},
    client::{KEY, get, post},
    router::Scripted,
    stand::{Setup, Stand},
    upstream::{Received, Script, Upstream},
};

const MODELS: [(&str, &str); 3] = [
    ("strong", "rated_as: gpt-4-1106-preview, price: {input: 10, output: 30}"),
    ("middle", "rated_as: claude-2.0, price: {input: 8, output: 24}, features: [tools]"),
    ("weak", "rated_as: mixtral-8x7b-instruct-v0.1, price: {input: 0.5, output: 0.5}"),
];

fn whole(received: &Received) -> Script {
    if received.text().contains("\"stream\":true") {
        return Script::events(&[word("a"), finish(0), usage(100, 10), done()]);
    }
    Script::json(200, &answer("hi"))
}

async fn stand(upstream: &Upstream) -> Stand {
    let mut setup = Setup::new();
    for (name, fields) in MODELS {
        setup = setup.model(name, &upstream.base_url(), fields);
    }
    setup
        .model("secret", &upstream.base_url(), "rated_as: gpt-4-0613")
        .routes(
            "{auto: {router: mf, strong_share: 0.5, timeout: 10s}, gain: {router: mf, utility: 100, timeout: 10s},
              near: {router: sw, threshold: 0.5, timeout: 10s}, fixed: {models: [weak, strong]},
              kept: {models: [weak], cache: {}}}",
        )
        .tenants(&format!(
            "{{t: {{keys: [{{key: {KEY}}}], pool: [strong, middle, weak]}}, other: {{keys: [{{key: other-key}}], pool: [secret]}}}}"
        ))
        .start_shipped()
        .await
}

fn request(model: &str) -> Value {
    json!({"model": model, "messages": [{"role": "user", "content": "Prove that e is irrational."}]})
}

async fn explain(stand: &Stand, body: &Value) -> Value {
    let mut reply = stand.post("/v1/route", body.to_string()).await;
    let (status, text) = (reply.status, reply.text().await);
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn what_is_explained_is_what_happens() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let stand = stand(&upstream).await;
    for route in ["auto", "gain", "near", "fixed", "middle", "router-mf-0.9", "router-sw-0.1"] {
        let told = explain(&stand, &request(route)).await;
        let mut reply = stand.chat(request(route).to_string()).await;
        assert_eq!(reply.header("x-pointsman-model"), told["model"].as_str(), "{route} {told}");
        let expected_route =
            if route.starts_with("router") { route.rsplit_once('-').unwrap().0 } else { route };
        let expected_route = if route == "middle" { "direct" } else { expected_route };
        assert_eq!(
            (told["route"].as_str(), &told["object"]),
            (Some(expected_route), &json!("route.decision"))
        );
        assert_eq!(told["ranking"][0], told["model"]);
        reply.text().await;
    }
    stand.outcomes().await;
    assert_eq!(stand.metric("pointsman_attempts_total", &[]), 7, "who explains calls nobody");
    assert_eq!(stand.metric("pointsman_decisions_total", &[]), 6, "nor is it a decision");
    assert_eq!(stand.metric("pointsman_win_rate_count", &[]), 5);
}

#[tokio::test]
async fn all_that_a_decision_is_made_of_is_told() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let stand = stand(&upstream).await;
    let told = explain(&stand, &request("auto")).await;
    assert_eq!(told["router"], "mf");
    assert!(told["artifact"].as_str().is_some_and(|version| !version.is_empty()), "{told}");
    let skill = |model: &str| told["skills"][model].as_f64().unwrap();
    let rate = |a: &str, b: &str| told["win_rates"][a][b].as_f64().unwrap();
    for (a, _) in MODELS {
        for (b, _) in MODELS.into_iter().filter(|(b, _)| *b != a) {
            assert!((rate(a, b) - 1.0 / (1.0 + (skill(b) - skill(a)).exp())).abs() < 1e-12, "{told}");
        }
    }
    let dearest = rate("strong", "middle").min(rate("strong", "weak"));
    assert!((told["win_rate"].as_f64().unwrap() - dearest).abs() < 1e-12, "{told}");
    let threshold = told["rule"]["threshold"].as_f64().unwrap();
    assert_eq!((&told["rule"]["kind"], &told["rule"]["strong_share"]), (&json!("threshold"), &json!(0.5)));
    assert_eq!(told["model"] == "strong", dearest > threshold, "{told}");
    // 300 tokens of answer and an estimate of the prompt.
    let cost = told["expected_cost_usd"]["weak"].as_f64().unwrap();
    assert!(cost > 300.0 * 0.5e-6 && cost < 320.0 * 0.5e-6, "{cost}");
    assert_eq!(told["excluded"], json!({}));
    assert_eq!(told["ranking"].as_array().unwrap().len(), 3);
    assert!(
        told.get("nearest_battles").is_none() && told.get("fail_open").is_none(),
        "nothing is invented: {told}"
    );

    let told = explain(&stand, &request("gain")).await;
    let rule = &told["rule"];
    assert_eq!(
        (&rule["kind"], &rule["lambda"], &rule["reference"]),
        (&json!("utility"), &json!(100.0), &json!("strong"))
    );
    let utility = |model: &str| rule["utilities"][model].as_f64().unwrap();
    let expected = 0.5 - 100.0 * told["expected_cost_usd"]["strong"].as_f64().unwrap();
    assert!((utility("strong") - expected).abs() < 1e-12, "{told}");
    let best = MODELS.into_iter().max_by(|(a, _), (b, _)| utility(a).total_cmp(&utility(b))).unwrap().0;
    assert_eq!(told["model"], best);

    let told = explain(&stand, &request("fixed")).await;
    assert_eq!((&told["rule"], &told["ranking"]), (&json!({"kind": "order"}), &json!(["weak", "strong"])));
    let told = explain(&stand, &request("weak")).await;
    assert_eq!((&told["router"], &told["ranking"]), (&json!("direct"), &json!(["weak"])));
}

#[tokio::test]
async fn who_cannot_serve_a_request_is_told_with_the_reason() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let stand = stand(&upstream).await;
    let mut body = request("auto");
    body["response_format"] = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": {}}});
    let told = explain(&stand, &body).await;
    assert_eq!(told["excluded"], json!({"middle": "does not support JSON schemas"}));
    assert!(told["skills"].get("middle").is_none(), "{told}");
    // Whatever a request names, models of other tenants are not told of.
    assert!(!told.to_string().contains("secret"));
    let unknown = stand.post("/v1/route", request("secret").to_string()).await;
    let in_chat = stand.chat(request("secret").to_string()).await;
    assert_eq!((unknown.status, in_chat.status), (http::StatusCode::NOT_FOUND, http::StatusCode::NOT_FOUND));
}

#[tokio::test]
async fn a_router_that_keeps_battles_shows_the_nearest() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let stand = stand(&upstream).await;
    let told = explain(&stand, &request("near")).await;
    let battles = told["nearest_battles"].as_array().unwrap();
    assert_eq!(battles.len(), 5, "{told}");
    let alike: Vec<f64> = battles.iter().map(|battle| battle["similarity"].as_f64().unwrap()).collect();
    assert!(alike.is_sorted_by(|a, b| a >= b) && alike[0] <= 1.001 && alike[0] > 0.2, "{told}");
    let mut ids = std::collections::BTreeSet::new();
    for battle in battles {
        let [a, b] = [0, 1].map(|place| battle["models"][place].as_str().unwrap());
        assert!(a != b && [a, b].iter().all(|name| MODELS.iter().any(|(known, _)| known == name)), "{told}");
        assert!((0.0..=1.0).contains(&battle["share"].as_f64().unwrap()));
        assert!(ids.insert(battle["id"].as_str().unwrap()), "twice: {told}");
    }
    assert_eq!(
        explain(&stand, &request("near")).await["nearest_battles"],
        told["nearest_battles"],
        "the same again"
    );
}

#[tokio::test]
async fn an_answers_head_says_it_in_short() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let stand = stand(&upstream).await;
    let told = explain(&stand, &request("auto")).await;
    let reply = stand.chat(request("auto").to_string()).await;
    let rounded = |number: &Value| format!("{:.4}", number.as_f64().unwrap());
    assert_eq!(
        reply.header("x-pointsman-rule"),
        Some(&*format!("threshold={}", rounded(&told["rule"]["threshold"])))
    );
    assert_eq!(reply.header("x-pointsman-win-rate"), Some(&*rounded(&told["win_rate"])));
    assert_eq!(reply.header("x-pointsman-fail-open"), None);
    let reply = stand.chat(request("gain").to_string()).await;
    assert_eq!(reply.header("x-pointsman-rule"), Some("utility=100"));
    let reply = stand.chat(request("fixed").to_string()).await;
    assert_eq!((reply.header("x-pointsman-rule"), reply.header("x-pointsman-win-rate")), (None, None));
}

#[tokio::test]
async fn a_failing_router_is_told_of() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let scripted =
        Scripted::new("mf", &[("m", 0.0)]).says(|_, _| Err(pointsman_routers::RouterError::NotFinite));
    let stand = Setup::new()
        .model("m", &upstream.base_url(), "")
        .routes("{auto: {router: mf, threshold: 0.5}}")
        .engine("mf", scripted.engine())
        .start()
        .await;
    let told = explain(&stand, &request("auto")).await;
    assert_eq!(
        (&told["model"], &told["fail_open"], &told["skills"]),
        (&json!("m"), &json!("error"), &json!({}))
    );
    let reply = stand.chat(request("auto").to_string()).await;
    assert_eq!(reply.header("x-pointsman-fail-open"), Some("error"));
}

async fn asking(stand: &Stand, body: &Value, wish: Option<&str>) -> String {
    let mut request = post("/v1/chat/completions", body.to_string());
    if let Some(wish) = wish {
        request.headers_mut().insert("x-pointsman-explain", wish.parse().unwrap());
    }
    let mut reply = stand.client().await.last(request).await;
    assert_eq!(reply.status, 200);
    reply.text().await
}

#[tokio::test]
async fn an_answer_brings_its_explanation_where_that_is_asked_for() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let stand = stand(&upstream).await;
    let plain: Value = serde_json::from_str(&asking(&stand, &request("auto"), None).await).unwrap();
    let mut with: Value =
        serde_json::from_str(&asking(&stand, &request("auto"), Some("true")).await).unwrap();
    let mut told = with.as_object_mut().unwrap().remove("pointsman").unwrap();
    assert_eq!(with, plain, "the rest is as it is");
    let mut expected = explain(&stand, &request("auto")).await;
    for one in [&mut told, &mut expected] {
        one["decision_us"].take();
    }
    assert_eq!(told, expected);
    assert_eq!(
        asking(&stand, &request("auto"), Some("no")).await,
        asking(&stand, &request("auto"), None).await
    );
    // In a stream it is a comment, which clients skip.
    let mut body = request("near");
    body["stream"] = json!(true);
    let (plain, with) = (asking(&stand, &body, None).await, asking(&stand, &body, Some("1")).await);
    let (comment, rest) = with.split_once("\n\n").unwrap();
    assert_eq!(rest, plain);
    let told: Value = serde_json::from_str(comment.strip_prefix(": pointsman ").unwrap()).unwrap();
    assert_eq!(told["nearest_battles"].as_array().unwrap().len(), 5);
}

/// Whoever asks next must not get the first one's explanation.
#[tokio::test]
async fn what_is_kept_is_the_answer_alone() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let stand = stand(&upstream).await;
    let with = asking(&stand, &request("kept"), Some("true")).await;
    assert!(with.contains("\"pointsman\""), "{with}");
    let kept = asking(&stand, &request("kept"), None).await;
    assert_eq!(stand.metric("pointsman_cache_requests_total", &["result=\"hit\""]), 1);
    assert!(!kept.contains("pointsman"), "{kept}");
}

#[tokio::test]
async fn what_cannot_be_explained_is_an_error_object() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let stand = stand(&upstream).await;
    for (body, status) in [
        ("{", 400),
        ("{}", 400),
        (r#"{"model": "auto", "messages": 7}"#, 400),
        (r#"{"model": "router-mf-7", "messages": []}"#, 400),
        (r#"{"model": "nobody", "messages": []}"#, 404),
    ] {
        let mut reply = stand.post("/v1/route", body).await;
        assert_eq!(reply.status, status, "{body}");
        reply.error().await;
    }
    assert_eq!(stand.get("/v1/route").await.status, 405);
    let mut stranger = get("/v1/route");
    stranger.headers_mut().insert("authorization", "Bearer nobody".parse().unwrap());
    assert_eq!(stand.client().await.last(stranger).await.status, 401);
    assert_eq!(stand.metric("pointsman_attempts_total", &[]), 0);
}
