//! Tenants that are managed while the gateway runs.

use std::{path::Path, time::Duration};

use http::Method;
use pointsman::{gateway::reload, store::KeyStore};
use serde_json::{Value, json};

use crate::{
    answers::{answer, chat},
    client::{KEY, Reply, get, post},
    operator::{OPERATOR, admin_keys, operate},
    stand::{Setup, Stand, start},
    upstream::{Script, Upstream},
};

const ROUTES: &str = "{auto: {models: [m, n]}, of-n: {models: [n]}}";

async fn upstream() -> Upstream {
    Upstream::start([Script::json(200, &answer("x"))]).await
}

fn setup(upstream: &Upstream, database: &Path) -> Setup {
    let price = "price: {input: 0, output: 1}";
    Setup::new()
        .model("m", &upstream.base_url(), price)
        .model("n", &upstream.base_url(), price)
        .top(&format!("database: \"sqlite:{}\"\n{}", database.display(), admin_keys()))
        .routes(ROUTES)
        .tenants(&format!("{{f: {{keys: [{{key: {KEY}}}], pool: [m]}}}}"))
}

async fn put(stand: &Stand, name: &str, body: Value) -> (u16, Value) {
    operate(stand, OPERATOR, (Method::PUT, &format!("/admin/tenants/{name}")), body).await
}

async fn asked(stand: &Stand, path: &str) -> Value {
    let (status, said) = operate(stand, OPERATOR, (Method::GET, path), Value::Null).await;
    assert_eq!(status, 200, "{path}: {said}");
    said
}

async fn key(stand: &Stand, wanted: Value) -> String {
    let (status, made) = operate(stand, OPERATOR, (Method::POST, "/admin/keys"), wanted).await;
    assert_eq!(status, 201, "{made}");
    made["key"].as_str().unwrap().to_owned()
}

async fn reply(stand: &Stand, key: &str, model: &str) -> Reply {
    let body = chat(model).replace("\"messages\"", "\"max_tokens\":3,\"messages\"");
    let mut request = post("/v1/chat/completions", body);
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    stand.client().await.last(request).await
}

async fn status(stand: &Stand, key: &str, model: &str) -> u16 {
    reply(stand, key, model).await.status.as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_is_made_changed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = upstream().await;
    let stand = setup(&upstream, &folder.path().join("t.db")).start().await;
    let (made, shown) = put(&stand, "acme", json!({"pool": ["m"], "projects": {"p": {}}})).await;
    assert_eq!((made, &shown["in_force"], &shown["models"]), (201, &json!(true), &json!(["m"])), "{shown}");
    assert_eq!((&shown["source"], &shown["warnings"]), (&json!("store"), &json!([])));
    let secret = key(&stand, json!({"tenant": "acme", "project": "p", "name": "ci"})).await;
    assert_eq!((status(&stand, &secret, "m").await, status(&stand, &secret, "n").await), (200, 404));

    let (changed, shown) =
        put(&stand, "acme", json!({"pool": ["*"], "routes": ["auto"], "default_route": "auto"})).await;
    assert_eq!((changed, &shown["models"]), (200, &json!(["m", "n"])));
    assert_eq!(status(&stand, &secret, "n").await, 401, "its project is gone");
    let secret = key(&stand, json!({"tenant": "acme"})).await;
    let mut request = get("/v1/models");
    request.headers_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
    let listed = stand.client().await.last(request).await.json().await;
    let names: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(names, ["auto", "m", "n"]);
    assert_eq!(status(&stand, &secret, "of-n").await, 404);
    assert_eq!(reply(&stand, &secret, "auto").await.header("x-pointsman-model"), Some("m"));

    let listed = asked(&stand, "/admin/tenants").await;
    let listed = listed["tenants"].as_array().unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|one| (one["name"].as_str().unwrap(), one["source"].as_str().unwrap()))
            .collect::<Vec<_>>(),
        [("acme", "store"), ("f", "file")]
    );
    assert_eq!(asked(&stand, "/admin/tenants/acme").await["definition"]["pool"], json!(["*"]));
    assert_eq!(asked(&stand, "/admin/tenants/f").await["models"], json!(["m"]));

    let delete = (Method::DELETE, "/admin/tenants/acme");
    assert_eq!(operate(&stand, OPERATOR, delete.clone(), Value::Null).await, (200, json!({"deleted": true})));
    assert_eq!(status(&stand, &secret, "m").await, 401, "of no use at once");
    assert_eq!(operate(&stand, OPERATOR, delete, Value::Null).await.0, 404);
    assert_eq!(put(&stand, "acme", json!({"pool": ["m"]})).await.0, 201);
    assert_eq!(status(&stand, &secret, "m").await, 401, "another tenant of the same name");
    assert_eq!(status(&stand, KEY, "m").await, 200, "a key of the file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_budgets_and_the_ledger_are_as_for_any_other() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = upstream().await;
    let stand = setup(&upstream, &folder.path().join("t.db")).start().await;
    let body = json!({
        "pool": ["m"], "limits": {"rpm": 100},
        "budget": [{"usd": "0.000004", "per": "day"}, {"usd": 5, "per": "total"}],
        "projects": {"p": {"budget": {"usd": 1, "per": "month"}}},
    });
    assert_eq!(put(&stand, "acme", body.clone()).await.0, 201);
    let before = asked(&stand, "/admin/budgets").await;
    assert_eq!(before["budgets"].as_array().unwrap().len(), 3, "before there is a key: {before}");
    let secret =
        key(&stand, json!({"tenant": "acme", "project": "p", "budget": [{"usd": 2, "per": "day"}]})).await;
    let first = reply(&stand, &secret, "m").await;
    assert_eq!((first.status.as_u16(), first.header("x-ratelimit-limit-requests")), (200, Some("100")));
    stand.outcomes().await;
    let mut second = reply(&stand, &secret, "m").await;
    assert_eq!(
        (second.status.as_u16(), second.error().await["code"].clone()),
        (429, json!("budget_exceeded"))
    );

    let standing = asked(&stand, "/admin/budgets?tenant=acme").await;
    let standing = standing["budgets"].as_array().unwrap();
    assert_eq!(standing.len(), 4);
    let of_day = &standing[0];
    assert_eq!(
        (&of_day["tenant"], &of_day["project"], &of_day["per"], &of_day["limit_usd"], &of_day["held_usd"]),
        (&json!("acme"), &Value::Null, &json!("day"), &json!("0.000004"), &json!("0.00"))
    );
    assert!(standing.iter().all(|one| one["spent_usd"] == of_day["spent_usd"]), "{standing:?}");
    assert_ne!(of_day["spent_usd"], "0.00");
    assert_eq!(asked(&stand, "/admin/budgets?tenant=f").await, json!({"budgets": []}));

    // What was spent stays spent, with another budget, after a deletion and in another process.
    put(&stand, "acme", body.clone()).await;
    assert_eq!(status(&stand, &secret, "m").await, 429);
    operate(&stand, OPERATOR, (Method::DELETE, "/admin/tenants/acme"), Value::Null).await;
    put(&stand, "acme", body).await;
    let again = key(&stand, json!({"tenant": "acme"})).await;
    assert_eq!(status(&stand, &again, "m").await, 429);
    // Rows are written some twenty times a second.
    while !asked(&stand, "/admin/usage?by=tenant").await.to_string().contains("acme\"") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let other = setup(&upstream, &folder.path().join("t.db")).start().await;
    assert_eq!(status(&other, &again, "m").await, 429);
    // Series are there before there are requests.
    put(&stand, "later", json!({"pool": ["m"], "limits": {"rpm": 1}})).await;
    assert_eq!(stand.values("pointsman_limited_total", &["tenant=\"later\""]), ["0"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_process_puts_holds_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let upstream = upstream().await;
    let stand = setup(&upstream, &path).start().await;
    let store = KeyStore::open(&pointsman::config::Database::Sqlite(path.clone())).unwrap();
    store.put_tenants(&[("acme", r#"{"pool":["n"]}"#), ("broken", "{")]).unwrap();
    let new = |tenant: &str| pointsman::store::NewKey { tenant: tenant.to_owned(), ..Default::default() };
    let (_, secret) = store.create(new("acme")).unwrap();
    let (_, of_broken) = store.create(new("broken")).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!((status(&stand, &secret, "n").await, status(&stand, &of_broken, "n").await), (200, 401));
    store.put_tenants(&[("acme", r#"{"pool":["m"]}"#)]).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&stand, &secret, "n").await, 404);
    store.delete_tenant("acme", true).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(status(&stand, &secret, "m").await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_keeps_those_that_still_fit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.db");
    let upstream = upstream().await;
    let stand = setup(&upstream, &path).start().await;
    put(&stand, "on-m", json!({"pool": ["m"]})).await;
    put(&stand, "on-n", json!({"pool": ["n"]})).await;
    let (on_m, on_n) =
        (key(&stand, json!({"tenant": "on-m"})).await, key(&stand, json!({"tenant": "on-n"})).await);
    let without = Setup::new()
        .model("m", &upstream.base_url(), "")
        .top(&format!("database: \"sqlite:{}\"\n{}", path.display(), admin_keys()))
        .tenants(&format!("{{f: {{keys: [{{key: {KEY}}}], pool: [m]}}}}"));
    reload(&stand.app, &without.config()).unwrap();
    assert_eq!((status(&stand, &on_m, "m").await, status(&stand, &on_n, "n").await), (200, 401));
    let left_out = asked(&stand, "/admin/tenants/on-n").await;
    assert_eq!(left_out["in_force"], false);
    assert!(left_out["why"].as_str().unwrap().contains("pool[0]: no model `n`"), "{left_out}");
    let (refused, _) =
        operate(&stand, OPERATOR, (Method::POST, "/admin/keys"), json!({"tenant": "on-n"})).await;
    assert_eq!(refused, 404);

    // The file's own goes first, and its end does not touch the keys.
    let named = setup(&upstream, &path).tenants(&format!("{{on-n: {{keys: [{{key: {KEY}}}], pool: [m]}}}}"));
    reload(&stand.app, &named.config()).unwrap();
    let listed = asked(&stand, "/admin/tenants").await;
    assert_eq!(listed["tenants"].as_array().unwrap().len(), 3, "{listed}");
    assert_eq!(asked(&stand, "/admin/tenants/on-n").await["source"], "file");
    assert_eq!((status(&stand, &on_n, "m").await, status(&stand, &on_n, "n").await), (200, 404));

    reload(&stand.app, &setup(&upstream, &path).config()).unwrap();
    assert_eq!(status(&stand, &on_n, "n").await, 200, "in force again");
    let other = setup(&upstream, &path).start().await;
    assert_eq!(status(&other, &on_n, "n").await, 200, "and after a start");
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = upstream().await;
    let stand = setup(&upstream, &folder.path().join("t.db")).start().await;
    let bad = [
        (
            json!({"pool": ["m", "mm"]}),
            422,
            json!("pool[1]"),
            "t:1:14: error: pool[1]: no model `mm`; allowed: `m`, `n`",
        ),
        (json!({"pool": ["m"], "routes": ["of-m"]}), 422, json!("routes[0]"), "no route `of-m`"),
        (
            json!({"pool": ["m"], "default_route": "of-n"}),
            422,
            json!("default_route"),
            "route `of-n` lists: n",
        ),
        (json!({"pool": ["m"], "strong_share": 2}), 422, json!("strong_share"), "not within 0 and 1"),
        (json!({"pool": ["m"], "keys": []}), 422, json!("keys"), "POST /admin/keys"),
        (json!({"pool": ["m"], "limit": {}}), 422, json!("limit"), "did you mean `limits`?"),
        (json!({}), 422, Value::Null, "lacks `pool`"),
        (json!([]), 422, Value::Null, "expects a mapping"),
        (json!("${HOME}"), 422, Value::Null, "HOME"),
        (Value::Null, 400, Value::Null, "EOF"),
    ];
    for (body, expected, place, said) in bad {
        let (status, told) = put(&stand, "t", body.clone()).await;
        assert_eq!(status, expected, "{body}: {told}");
        assert_eq!(told["error"]["param"], place, "{body}: {told}");
        assert!(told["error"]["message"].as_str().unwrap().contains(said), "{body}: {told}");
    }
    for (name, expected) in [("f", 409), ("a%20b", 400), ("%ff", 400), (&"x".repeat(129), 400), ("a/b", 201)]
    {
        assert_eq!(put(&stand, name, json!({"pool": ["m"]})).await.0, expected, "{name}");
    }
    assert_eq!(asked(&stand, "/admin/tenants/a%2Fb").await["name"], "a/b");
    for (method, path, expected) in [
        (Method::GET, "/admin/tenants/none", 404),
        (Method::DELETE, "/admin/tenants/none", 404),
        (Method::DELETE, "/admin/tenants/f", 409),
        (Method::POST, "/admin/tenants", 405),
        (Method::POST, "/admin/tenants/f", 405),
        (Method::GET, "/admin/tenantsf", 404),
        (Method::GET, "/admin/budgets?owner=f", 400),
        (Method::POST, "/admin/budgets", 405),
    ] {
        assert_eq!(operate(&stand, OPERATOR, (method, path), Value::Null).await.0, expected, "{path}");
    }
    for key in ["wrong", KEY] {
        assert_eq!(operate(&stand, key, (Method::GET, "/admin/tenants"), Value::Null).await.0, 401);
    }
    let without = Setup::new().model("m", &upstream.base_url(), "").start().await;
    assert_eq!(operate(&without, OPERATOR, (Method::GET, "/admin/tenants"), Value::Null).await.0, 403);
    let without = Setup::new().model("m", &upstream.base_url(), "").top(&admin_keys()).start().await;
    assert_eq!(asked(&without, "/admin/tenants").await["tenants"][0]["name"], "t");
    assert_eq!(put(&without, "x", json!({"pool": ["m"]})).await.0, 404, "there is no database");
}

#[tokio::test]
async fn a_rule_of_its_own_is_solved_for_its_pool() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = upstream().await;
    let url = upstream.base_url();
    let stand = Setup::new()
        .model("strong", &url, "rated_as: gpt-4-1106-preview, price: {input: 10, output: 30}")
        .model("weak", &url, "rated_as: mixtral-8x7b-instruct-v0.1, price: {input: 0.5, output: 0.5}")
        .model("unrated", &url, "")
        .top(&format!("database: \"sqlite:{}\"\n{}", folder.path().join("t.db").display(), admin_keys()))
        .routes("{auto: {router: mf, strong_share: 0.5, timeout: 5s}}")
        .tenants(&format!("{{f: {{keys: [{{key: {KEY}}}], pool: [strong, weak]}}}}"))
        .start_shipped()
        .await;
    for (share, model) in [(1, "strong"), (0, "weak")] {
        let (made, said) =
            put(&stand, "own", json!({"pool": ["strong", "weak"], "strong_share": share})).await;
        assert!(made < 300 && said["warnings"] == json!([]), "{said}");
        let secret = key(&stand, json!({"tenant": "own"})).await;
        assert_eq!(reply(&stand, &secret, "auto").await.header("x-pointsman-model"), Some(model));
    }
    let (made, said) = put(&stand, "own", json!({"pool": ["*"]})).await;
    let warnings = said["warnings"].as_array().unwrap();
    assert!(made == 200 && warnings[0].as_str().unwrap().contains("knows no 'unrated'"), "{said}");
    let (refused, said) = put(&stand, "own", json!({"pool": ["unrated"]})).await;
    assert_eq!((refused, &said["error"]["param"]), (422, &json!("routes.auto")), "{said}");
    assert_eq!(asked(&stand, "/admin/tenants/own").await["models"], json!(["strong", "unrated", "weak"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_nobody_had_before_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = upstream().await;
    let sick = Upstream::playing(|_| Script::json(503, "{}")).await;
    let stand = Setup::new()
        .model("m", &upstream.base_url(), "")
        .model("n", &sick.base_url(), "health_check: {path: /health, interval: 1s, timeout: 500ms}")
        .top(&format!("database: \"sqlite:{}\"\n{}", folder.path().join("t.db").display(), admin_keys()))
        .tenants(&format!("{{f: {{keys: [{{key: {KEY}}}], pool: [m]}}}}"))
        .start()
        .await;
    assert_eq!(sick.requests(), 0);
    assert_eq!(put(&stand, "acme", json!({"pool": ["n"]})).await.0, 201);
    stand.eventually_open("n", "1").await;
}

#[tokio::test]
async fn all_tenants_may_come_from_operators() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = upstream().await;
    let stand = start(&format!(
        "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\n{}\ndatabase: \"sqlite:{}\"\nmodels: {{m: {{base_url: \"{}\"}}}}\nroutes: {{auto: {{models: [m], cache: {{}}}}}}\n",
        admin_keys(),
        folder.path().join("t.db").display(),
        upstream.base_url()
    ))
    .await;
    assert_eq!(status(&stand, KEY, "m").await, 401);
    assert_eq!(asked(&stand, "/admin/tenants").await, json!({"tenants": []}));
    assert_eq!(put(&stand, "first", json!({"pool": ["m"]})).await.0, 201);
    let secret = key(&stand, json!({"tenant": "first"})).await;
    for cached in ["miss", "hit"] {
        let reply = reply(&stand, &secret, "auto").await;
        assert_eq!((reply.status.as_u16(), reply.header("x-pointsman-cache")), (200, Some(cached)));
        let mut reply = reply;
        reply.text().await;
    }
}
