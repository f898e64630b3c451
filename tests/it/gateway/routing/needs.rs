//! The pool and what a request needs filter the candidates before they are scored.

use serde_json::{Value, json};

use super::{PRIORS, TENANTS, Upstreams, who};
use crate::{
    router::Scripted,
    stand::{Setup, Stand},
};

const ROUTES: &str = "{auto: {router: mf, threshold: 0}, fixed: {models: [large, medium, small]}}";

/// Each model can do something that the others cannot.
fn abilities(name: &str) -> &'static str {
    match name {
        "small" => "features: [tools], context_tokens: 100000",
        "medium" => "features: [vision, audio], context_tokens: 500",
        _ => "features: [json_schema], context_tokens: 500",
    }
}

async fn able(upstreams: &Upstreams, router: &Scripted) -> Stand {
    upstreams.setup(abilities).tenants(TENANTS).routes(ROUTES).engine("mf", router.engine()).start().await
}

fn request(route: &str, fields: &Value) -> String {
    let mut body = json!({"model": route, "messages": [{"role": "user", "content": "hi"}]});
    for (key, value) in fields.as_object().unwrap() {
        body[key] = value.clone();
    }
    body.to_string()
}

fn image() -> Value {
    json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "what"}, {"type": "image_url", "image_url": {"url": "data:x"}}]}]})
}

fn tools() -> Value {
    json!({"tools": [{"type": "function", "function": {"name": "f"}}]})
}

fn schema() -> Value {
    json!({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}})
}

#[tokio::test]
async fn a_need_leaves_those_who_meet_it() {
    let upstreams = Upstreams::start().await;
    let router = Scripted::new("mf", PRIORS);
    let stand = able(&upstreams, &router).await;
    for route in ["auto", "fixed"] {
        for (needs, expected) in [
            (json!({}), "large"),
            (json!({"tools": []}), "large"),
            (json!({"response_format": {"type": "json_object"}}), "large"),
            (tools(), "small"),
            (json!({"functions": [{"name": "f"}]}), "small"),
            (image(), "medium"),
            (
                json!({"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}]}),
                "medium",
            ),
            (json!({"modalities": ["text", "audio"]}), "medium"),
            (schema(), "large"),
            (json!({"messages": [{"role": "user", "content": "word ".repeat(2000)}]}), "small"),
            (json!({"max_tokens": 2000}), "small"),
            (json!({"max_completion_tokens": 2000}), "small"),
        ] {
            assert_eq!(who(&stand, request(route, &needs)).await, expected, "{route} {needs}");
        }
    }
}

#[tokio::test]
async fn who_cannot_serve_is_not_scored() {
    let upstreams = Upstreams::start().await;
    let router = Scripted::new("mf", PRIORS);
    let stand = able(&upstreams, &router).await;
    who(&stand, request("auto", &image())).await;
    assert_eq!(router.asked().last().unwrap().1, ["medium"]);
    who(&stand, request("auto", &json!({"max_tokens": 300}))).await;
    let mut all = router.asked().last().unwrap().1.clone();
    all.sort();
    assert_eq!(all, ["large", "medium", "small"]);
}

#[tokio::test]
async fn a_request_that_no_model_can_serve_is_refused() {
    let upstreams = Upstreams::start().await;
    let stand = able(&upstreams, &Scripted::new("mf", PRIORS)).await;
    let mut both = tools();
    both["messages"] = image()["messages"].clone();
    for route in ["auto", "fixed", "router-mf-0.5"] {
        let mut reply = stand.chat(request(route, &both)).await;
        assert_eq!(reply.status, 400, "{route}");
        let error = reply.error().await;
        let message = error["message"].as_str().unwrap();
        assert!(["small", "medium", "large"].iter().all(|name| message.contains(name)), "{message}");
        assert!(message.contains("tools") && message.contains("images"), "{message}");
    }
    assert_eq!(upstreams.requests(), 0);
    assert_eq!(stand.outcomes().await.into_iter().collect::<Vec<_>>(), [("client_error", 3)]);
    assert_eq!(stand.metric("pointsman_fail_open_total", &[]), 0);
}

/// It is the caller's word that the model can do it.
#[tokio::test]
async fn a_model_called_by_name_is_not_filtered() {
    let upstreams = Upstreams::start().await;
    let stand = able(&upstreams, &Scripted::new("mf", PRIORS)).await;
    assert_eq!(who(&stand, request("small", &image())).await, "small");
}

#[tokio::test]
async fn only_the_tenants_pool_is_scored() {
    let upstreams = Upstreams::start().await;
    let router = Scripted::new("mf", PRIORS);
    let tenants = "{t: {keys: [{key: tenant-key}], pool: [small, medium], default_route: auto}, u: {keys: [{key: other}], pool: [large], default_route: auto}}";
    let setup: Setup = upstreams.setup(|_| "").tenants(tenants).routes(ROUTES);
    let stand = setup.engine("mf", router.engine()).start().await;
    assert_eq!(who(&stand, request("auto", &json!({}))).await, "medium");
    assert_eq!(
        who(&stand, request("fixed", &json!({}))).await,
        "medium",
        "the list, as far as the pool has it"
    );
    let mut asked = router.asked().last().unwrap().1.clone();
    asked.sort();
    assert_eq!(asked, ["medium", "small"]);
}

/// What the router reads: user turns, the last one in any case, never tool output nor image bytes.
#[tokio::test]
async fn the_router_reads_user_turns_alone() {
    let upstreams = Upstreams::start().await;
    let router = Scripted::new("mf", PRIORS);
    let routes = "{auto: {router: mf, threshold: 0}, first: {router: mf, threshold: 0, text: first_user}, \
        whole: {router: mf, threshold: 0, text: conversation}}";
    let stand = upstreams
        .setup(|_| "")
        .server("routing_text_chars: 40")
        .tenants(TENANTS)
        .routes(routes)
        .engine("mf", router.engine())
        .start()
        .await;
    let messages = json!({"messages": [
        {"role": "system", "content": "SYSTEM"},
        {"role": "user", "content": "first question"},
        {"role": "assistant", "content": "an answer", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "ARGS"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "TOOL OUTPUT"},
        {"role": "user", "content": [{"type": "text", "text": "last one"}, {"type": "image_url", "image_url": {"url": "data:IMAGE"}}]},
    ]});
    for (route, expected) in [
        ("auto", "first question\nlast one"),
        ("first", "first question"),
        ("whole", "first question\nan answer\nlast one"),
    ] {
        who(&stand, request(route, &messages)).await;
        assert_eq!(router.asked().last().unwrap().0, expected, "{route}");
    }
    let long = json!({"messages": [{"role": "user", "content": "e".repeat(30)}, {"role": "user", "content": "l".repeat(60)}]});
    who(&stand, request("auto", &long)).await;
    assert_eq!(router.asked().last().unwrap().0, "l".repeat(40), "at most routing_text_chars");
}
