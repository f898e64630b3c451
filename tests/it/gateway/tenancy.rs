//! Tenants: whose key, whose models.

use http::Request;
use http_body_util::Full;
use serde_json::Value;

use crate::{
    answers::{answer, chat},
    client::Reply,
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
};

async fn stand(upstream: &Upstream, more: &str) -> Stand {
    let (url, tenants) = (
        upstream.base_url(),
        format!(
            "{{a: {{keys: [{{key: key-a}}, {{hash: \"sha256:{HASH_OF_SECOND_A}\"}}], pool: [shared, of-a], default_route: for-a}}, \
              b: {{keys: [{{key: key-b}}], pool: [of-b, shared], default_route: for-b}}{more}}}"
        ),
    );
    ["shared", "of-a", "of-b"]
        .iter()
        .fold(Setup::new(), |setup, name| setup.model(name, &url, ""))
        .routes("{for-a: {models: [of-a, shared]}, for-b: {models: [of-b]}}")
        .tenants(&tenants)
        .start()
        .await
}

/// `printf %s second-key-of-a | sha256sum`.
const HASH_OF_SECOND_A: &str = "242d717dbcd9bb50eea053cf36f053ca5436b80bae0331d2ee9d36e3091886c6";

async fn upstream() -> Upstream {
    Upstream::start([Script::json(200, &answer("hi"))]).await
}

async fn ask(stand: &Stand, authorization: Option<&str>, method: &str, path: &str, body: String) -> Reply {
    let mut request = Request::builder().method(method).uri(path).header("host", "gateway");
    if let Some(value) = authorization {
        request = request.header("authorization", value);
    }
    stand.client().await.last(request.body(Full::from(body)).unwrap()).await
}

async fn chat_as(stand: &Stand, key: &str, model: &str) -> Reply {
    ask(stand, Some(&format!("Bearer {key}")), "POST", "/v1/chat/completions", chat(model)).await
}

#[tokio::test]
async fn a_route_that_a_tenant_may_not_use_does_not_exist_for_it() {
    let upstream = upstream().await;
    let stand = Setup::new()
        .model("x/one", &upstream.base_url(), "")
        .model("x/two", &upstream.base_url(), "")
        .model("y", &upstream.base_url(), "")
        .routes("{some: {models: [x/two]}, more: {models: [x/one]}}")
        .tenants("{t: {keys: [{key: key-t}], pool: [\"x/*\"], default_route: some, routes: [some]}}")
        .start()
        .await;
    assert_eq!(chat_as(&stand, "key-t", "auto").await.header("x-pointsman-model"), Some("x/two"));
    assert_eq!(chat_as(&stand, "key-t", "x/one").await.status, 200, "the pool is as wide as the pattern");
    let mut unknown = Vec::new();
    for model in ["more", "none", "y", "router-mf-0.5"] {
        let mut reply = chat_as(&stand, "key-t", model).await;
        unknown.push((reply.status.as_u16(), reply.text().await.replace(&format!("'{model}'"), "…")));
    }
    assert!(unknown.iter().all(|reply| *reply == unknown[0]) && unknown[0].0 == 404, "{unknown:?}");
    let listed = ask(&stand, Some("Bearer key-t"), "GET", "/v1/models", String::new()).await.text().await;
    assert!(listed.contains("\"some\"") && !listed.contains("\"more\""), "{listed}");
}

#[tokio::test]
async fn a_model_of_another_tenant_is_answered_as_one_that_does_not_exist() {
    let upstream = upstream().await;
    let stand = stand(&upstream, "").await;
    // As long as `of-b`, so that even the lengths must agree.
    for (method, paths) in [
        ("POST", ["/v1/chat/completions"; 2]),
        ("POST", ["/v1/embeddings"; 2]),
        ("GET", ["/v1/models/of-b", "/v1/models/of-x"]),
    ] {
        let mut answers = Vec::new();
        for (path, model) in paths.iter().zip(["of-b", "of-x"]) {
            let mut reply = ask(&stand, Some("Bearer key-a"), method, path, chat(model)).await;
            assert_eq!(reply.status, 404, "{path}");
            let mut headers: Vec<(String, Vec<u8>)> = reply
                .headers
                .iter()
                .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date"))
                .map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()))
                .collect();
            headers.sort();
            let text = reply.text().await;
            let error: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(error["error"]["code"], "model_not_found", "{path}");
            answers.push((headers, text.replace(model, "MODEL")));
        }
        assert_eq!(answers[0], answers[1], "{paths:?}");
    }
    let mut route_of_b = chat_as(&stand, "key-a", "for-b").await;
    assert_eq!(route_of_b.status, 404, "a route without a model of the pool is none");
    assert_eq!(route_of_b.error().await["code"], "model_not_found");
    assert_eq!(upstream.requests(), 0);
    assert_eq!(stand.metric("pointsman_requests_total", &["tenant=\"a\"", "outcome=\"client_error\""]), 7);
}

#[tokio::test]
async fn auto_is_the_tenants_own_default_route() {
    let upstream = upstream().await;
    let stand = stand(&upstream, "").await;
    for (key, route, model) in [("key-a", "for-a", "of-a"), ("key-b", "for-b", "of-b")] {
        let reply = chat_as(&stand, key, "auto").await;
        assert_eq!(reply.header("x-pointsman-route"), Some(route));
        assert_eq!(reply.header("x-pointsman-model"), Some(model));
    }
    assert_eq!(chat_as(&stand, "second-key-of-a", "of-a").await.status, 200, "a key given as a hash");
}

#[tokio::test]
async fn a_wrong_or_missing_key_is_refused() {
    let upstream = upstream().await;
    let stand = stand(&upstream, "").await;
    let wrong = [
        None,
        Some("Bearer key-c"),
        Some("Bearer"),
        Some("Bearer "),
        Some("Basic key-a"),
        Some("key-a"),
        Some("Bearer KEY-A"),
        Some(&*format!("Bearer {HASH_OF_SECOND_A}")),
    ];
    for authorization in wrong {
        for (method, path) in
            [("POST", "/v1/chat/completions"), ("GET", "/v1/models"), ("POST", "/v1/nonesuch")]
        {
            let mut reply = ask(&stand, authorization, method, path, chat("auto")).await;
            assert_eq!(reply.status, 401, "{authorization:?} {path}");
            assert!(reply.header("www-authenticate").is_some());
            let error = reply.error().await;
            assert_eq!(error["code"], "invalid_api_key", "{authorization:?} {path}");
            assert!(!error.to_string().contains("key-c"), "{error}");
        }
    }
    assert_eq!(upstream.requests(), 0);
    assert_eq!(
        stand.metric("pointsman_requests_total", &["tenant=\"none\"", "outcome=\"client_error\""]),
        24
    );
}

async fn listed(stand: &Stand, authorization: Option<&str>) -> Vec<String> {
    let mut reply = ask(stand, authorization, "GET", "/v1/models", String::new()).await;
    assert_eq!(reply.status, 200);
    let json = reply.json().await;
    assert_eq!(json["object"], "list");
    let entries = json["data"].as_array().unwrap();
    let mut names: Vec<String> = entries
        .iter()
        .map(|entry| {
            assert_eq!(entry["object"], "model");
            entry["id"].as_str().unwrap().to_owned()
        })
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn the_list_of_models_is_the_tenants() {
    let upstream = upstream().await;
    let stand = stand(&upstream, "").await;
    assert_eq!(listed(&stand, Some("Bearer key-a")).await, ["auto", "for-a", "of-a", "shared"]);
    assert_eq!(listed(&stand, Some("Bearer key-b")).await, ["auto", "for-a", "for-b", "of-b", "shared"]);
    for (name, status) in [
        ("shared", 200),
        ("of-a", 200),
        ("of%2Da", 200),
        ("auto", 200),
        ("for-a", 200),
        ("", 404),
        ("of-b", 404),
        ("for-b", 404),
    ] {
        let reply =
            ask(&stand, Some("Bearer key-a"), "GET", &format!("/v1/models/{name}"), String::new()).await;
        assert_eq!(reply.status, status, "{name:?}");
    }
    assert_eq!(ask(&stand, Some("Bearer key-a"), "POST", "/v1/models", String::new()).await.status, 405);
}

#[tokio::test]
async fn an_open_tenant_takes_whoever_is_nobodys() {
    let upstream = upstream().await;
    let stand = stand(&upstream, ", c: {open: true, pool: [shared], default_route: for-a}").await;
    assert_eq!(listed(&stand, None).await, ["auto", "for-a", "shared"]);
    assert_eq!(listed(&stand, Some("Bearer anything")).await, ["auto", "for-a", "shared"]);
    assert_eq!(listed(&stand, Some("Bearer key-b")).await, ["auto", "for-a", "for-b", "of-b", "shared"]);
    assert_eq!(chat_as(&stand, "anything", "of-a").await.status, 404);
    assert_eq!(chat_as(&stand, "anything", "auto").await.header("x-pointsman-model"), Some("shared"));
}
