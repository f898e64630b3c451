//! What operators watch: decisions as they are made, the page, and requests in a tenant's name.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::{
    answers::{answer, chat},
    client::{Client, KEY, get, post},
    stand::{Setup, Stand},
    upstream::{Script, Upstream, soon},
};

const OPERATOR: &str = "operator-key";

async fn stand(upstream: &Upstream, top: &str) -> Stand {
    Setup::new()
        .top(top)
        .model("strong", &upstream.base_url(), "rated_as: gpt-4-1106-preview, price: {input: 10, output: 30}")
        .model("weak", &upstream.base_url(), "rated_as: mixtral-8x7b-instruct-v0.1, price: {input: 1, output: 1}")
        .routes("{auto: {router: mf, strong_share: 0.5, timeout: 10s}, fixed: {models: [weak]}}")
        .tenants(&format!(
            "{{t: {{keys: [{{key: {KEY}}}], pool: [strong, weak], budget: {{usd: 1, per: total}}}}, 'a.b': {{open: true, pool: [weak], default_route: fixed}}}}"
        ))
        .start_shipped()
        .await
}

fn keys() -> String {
    format!("admin_keys: [{{key: {OPERATOR}}}]")
}

fn by(
    mut request: http::Request<http_body_util::Full<bytes::Bytes>>,
    key: &str,
) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

async fn admin(
    stand: &Stand,
    request: http::Request<http_body_util::Full<bytes::Bytes>>,
) -> (StatusCode, String) {
    let mut reply = Client::connect(stand.admin).await.last(request).await;
    (reply.status, reply.text().await)
}

/// The events of a stream, as they come.
struct Events {
    reply: crate::client::Reply,
    read: String,
}

impl Events {
    async fn open(stand: &Stand, path: &str) -> Self {
        let mut request = by(get(path), OPERATOR);
        request.headers_mut().insert("accept", "text/event-stream".parse().unwrap());
        let reply = Client::connect(stand.admin).await.last(request).await;
        assert_eq!(reply.status, 200);
        assert!(reply.header("content-type").unwrap().starts_with("text/event-stream"));
        Self { reply, read: String::new() }
    }

    /// The next event that is no comment: its name and its data.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.read.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.read = rest;
                if event.starts_with(':') {
                    continue;
                }
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap();
                let data: Value = serde_json::from_str(field("data: ")).unwrap();
                assert_eq!(field("id: "), data["seq"].to_string());
                return (field("event: ").to_owned(), data);
            }
            let frame = soon("an event", self.reply.body.frame()).await.unwrap().unwrap();
            self.read.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
        }
    }
}

#[tokio::test]
async fn decisions_are_seen_as_they_are_made_and_those_before() {
    let upstream = Upstream::playing(|_| Script::json(200, &answer("hi"))).await;
    let mut stand = stand(&upstream, &keys()).await;
    let ask = async |stand: &Stand, model: &str| stand.chat(chat(model)).await.text().await;
    ask(&stand, "auto").await;
    let mut events = Events::open(&stand, "/admin/decisions").await;
    let (name, first) = events.next().await;
    assert_eq!(
        (&*name, &first["tenant"], &first["route"], &first["router"]),
        ("decision", &json!("t"), &json!("auto"), &json!("mf"))
    );
    assert_eq!(first["ranking"][0], first["model"]);
    assert_eq!((&first["rule"]["kind"], &first["rule"]["strong_share"]), (&json!("threshold"), &json!(0.5)));
    let scores = first["scores"].as_array().unwrap();
    assert!(
        scores.len() == 2 && scores.iter().all(|score| score["cost_usd"].as_f64().unwrap() > 0.0),
        "{first}"
    );
    // The rule holds on what is shown.
    let skill =
        |model: &str| scores.iter().find(|score| score["model"] == model).unwrap()["skill"].as_f64().unwrap();
    let win_rate = 1.0 / (1.0 + (skill("weak") - skill("strong")).exp());
    assert!((first["win_rate"].as_f64().unwrap() - win_rate).abs() < 1e-12);
    assert_eq!(first["model"] == "strong", win_rate > first["rule"]["threshold"].as_f64().unwrap());
    let (name, ended) = events.next().await;
    assert_eq!((&*name, &ended["request_id"]), ("ended", &first["request_id"]));
    assert_eq!(
        (&ended["outcome"], &ended["tokens"], &ended["model"]),
        (&json!("ok"), &json!(10), &first["model"])
    );
    assert!(ended["cost_usd"].as_f64().unwrap() > 0.0);
    ask(&stand, "fixed").await;
    let (_, second) = events.next().await;
    assert_eq!((&second["rule"], &second["model"]), (&json!({"kind": "order"}), &json!("weak")));
    assert_eq!(events.next().await.0, "ended");
    // From a number on, and as one answer.
    let mut later = Events::open(&stand, &format!("/admin/decisions?after={}", ended["seq"])).await;
    assert_eq!(later.next().await.1, second);
    let (_, text) = admin(&stand, by(get("/admin/decisions"), OPERATOR)).await;
    let all: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(all["decisions"], json!([first, second]));
    assert!(!text.contains("Hello"), "no text of a request");
    // A stream does not hold up the end.
    stand.stop.cancel();
    stand.ended().await;
}

#[tokio::test]
async fn an_operator_asks_in_a_tenants_name() {
    let upstream = Upstream::playing(|_| Script::json(200, &answer("hi"))).await;
    let stand = stand(&upstream, &keys()).await;
    let bounded = json!({"model": "weak", "max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]})
        .to_string();
    let (status, text) =
        admin(&stand, by(post("/admin/as/t/v1/chat/completions", bounded.clone()), OPERATOR)).await;
    assert_eq!((status.as_u16(), text.contains("\"hi\"")), (200, true), "{text}");
    stand.outcomes().await;
    assert_eq!(stand.metric("pointsman_requests_total", &["tenant=\"t\"", "outcome=\"ok\""]), 1);
    assert_eq!(stand.values("pointsman_cost_usd_total", &["tenant=\"t\""]), ["0.00001"], "the tenant pays");
    let (status, text) = admin(&stand, by(post("/admin/as/t/v1/route", chat("auto")), OPERATOR)).await;
    assert_eq!((status.as_u16(), text.contains("\"route.decision\"")), (200, true), "{text}");
    // Names are decoded, and a tenant sees its own models alone.
    let (status, _) =
        admin(&stand, by(post("/admin/as/a%2Eb/v1/chat/completions", chat("weak")), OPERATOR)).await;
    assert_eq!(status, 200);
    let (status, text) = admin(&stand, by(post("/admin/as/a.b/v1/route", chat("strong")), OPERATOR)).await;
    assert_eq!(status, 404, "{text}");
    for (path, key, status) in [
        ("/admin/as/nobody/v1/chat/completions", OPERATOR, 404),
        ("/admin/as/t/v1/embeddings", OPERATOR, 404),
        ("/admin/as//v1/route", OPERATOR, 404),
        ("/admin/as/t/v1/route", KEY, 401),
        ("/admin/as/t/v1/chat/completions", "wrong", 401),
    ] {
        assert_eq!(admin(&stand, by(post(path, bounded.clone()), key)).await.0, status, "{path}");
    }
    // What is for operators is not there for clients.
    for path in ["/admin/as/t/v1/route", "/admin/decisions", "/ui/"] {
        let mut request = by(post(path, bounded.clone()), KEY);
        *request.method_mut() = Method::GET;
        assert_eq!(stand.client().await.last(request).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn without_operators_keys_nobody_spends_a_tenants_money() {
    let upstream = Upstream::playing(|_| Script::json(200, &answer("hi"))).await;
    let stand = stand(&upstream, "").await;
    for path in ["/admin/as/t/v1/chat/completions", "/admin/as/t/v1/route"] {
        assert_eq!(admin(&stand, post(path, chat("weak"))).await.0, 403, "{path}");
    }
    assert_eq!(admin(&stand, get("/admin/pools")).await.0, 200);
}

#[tokio::test]
async fn the_page_is_there_under_a_strict_policy() {
    let upstream = Upstream::playing(|_| Script::json(200, &answer("hi"))).await;
    let stand = stand(&upstream, &keys()).await;
    for (path, kind) in
        [("/ui/", "text/html"), ("/ui/app.js", "text/javascript"), ("/ui/app.css", "text/css")]
    {
        let reply = Client::connect(stand.admin).await.last(get(path)).await;
        assert_eq!(reply.status, 200, "{path}");
        assert!(reply.header("content-type").unwrap().starts_with(kind));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"),
            "{policy}"
        );
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    let reply = Client::connect(stand.admin).await.last(get("/")).await;
    assert_eq!((reply.status.as_u16(), reply.header("location")), (302, Some("/ui/")));
    assert_eq!(admin(&stand, get("/ui/other")).await.0, 404);
    let mut request = post("/ui/", "");
    *request.method_mut() = Method::PUT;
    assert_eq!(admin(&stand, request).await.0, 405);
    let (_, text) = admin(&stand, by(get("/admin/pools"), OPERATOR)).await;
    let pools: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        pools["tenants"][1],
        json!({"name": "t", "default_route": "auto", "routes": ["auto", "fixed"], "models": ["strong", "weak"]})
    );
}
