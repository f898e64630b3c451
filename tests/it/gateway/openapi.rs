//! The document that describes the operators' listener says what it does, and all of it.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

use http::Method;
use serde_json::{Value, json};

use crate::{
    answers::{answer, chat},
    client::KEY,
    operator::{OPERATOR, admin_keys, ask, operate},
    schema::{check, resolved},
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
};

/// What operators are answered while the database is in trouble, which cannot be had on demand.
fn is_of_trouble((path, _, status): &(String, String, String)) -> bool {
    path.starts_with("/admin/") && status == "503"
}

fn setup(upstream: &Upstream, database: Option<&Path>, more: &str) -> Setup {
    let database = database.map(|path| format!("database: \"sqlite:{}\"\n", path.display()));
    Setup::new()
        .model("m", &upstream.base_url(), "price: {input: 1, output: 1}")
        .top(&format!("{}{more}", database.unwrap_or_default()))
        .tenants(&format!("{{f: {{keys: [{{key: {KEY}}}], pool: [m], budget: {{usd: 5, per: day}}}}}}"))
}

/// The document, and what of it has been seen.
struct Checked {
    document: Value,
    seen: BTreeSet<(String, String, String)>,
}

impl Checked {
    /// Asks, and compares the answer with what the document says of it. `id` stands for a path's parameter.
    async fn ask(
        &mut self,
        (stand, key): (&Stand, &str),
        (method, template, id): (Method, &str, &str),
        body: Value,
        expected: u16,
    ) -> Value {
        let (path, query) = template.split_once('?').unwrap_or((template, ""));
        let name = method.as_str().to_lowercase();
        let operation = &self.document["paths"][path][&name];
        let target = template.replace("{id}", id).replace("{name}", id);
        let text = if body.is_null() { String::new() } else { body.to_string() };
        let mut reply = ask(stand, key, (method, &target), text).await;
        let (status, kind) = (reply.status.as_u16(), reply.header("content-type").unwrap().to_owned());
        let text = reply.text().await;
        assert_eq!(status, expected, "{name} {target}: {text}");
        let described = resolved(&self.document, &operation["responses"][status.to_string()]);
        assert!(described.is_object(), "{name} {path}: {status} is not described");
        if !query.is_empty() {
            let parameter = query.split('=').next().unwrap();
            assert!(operation["parameters"].to_string().contains(&format!("\"{parameter}\"")), "{parameter}");
        }
        let kind = kind.split(';').next().unwrap();
        let schema = &described["content"][kind]["schema"];
        let value =
            if kind == "application/json" { serde_json::from_str(&text).unwrap() } else { Value::from(text) };
        check(&self.document, schema, &value, &format!("{name} {path} {status}")).unwrap();
        if (200..300).contains(&status) && !body.is_null() {
            let described = &operation["requestBody"]["content"]["application/json"]["schema"];
            check(&self.document, described, &body, &format!("{name} {path}: body")).unwrap();
        }
        self.seen.insert((path.to_owned(), name, status.to_string()));
        value
    }

    /// Every operation with the answers that it is said to have.
    fn described(&self) -> BTreeSet<(String, String, String)> {
        let mut all = BTreeSet::new();
        for (path, operations) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                for status in operation["responses"].as_object().into_iter().flat_map(|all| all.keys()) {
                    all.insert((path.clone(), method.clone(), status.clone()));
                }
            }
        }
        all
    }
}

/// What goes well.
async fn see_success(checked: &mut Checked, stand: &Stand) {
    let operator = (stand, OPERATOR);
    for path in [
        "/health/live",
        "/health/ready",
        "/metrics",
        "/admin/openapi.json",
        "/admin/budgets?tenant=f",
        "/admin/pools",
    ] {
        checked.ask(operator, (Method::GET, path, ""), Value::Null, 200).await;
    }
    let budget = json!({"usd": "5", "per": "day"});
    let whole = json!({
        "pool": ["m"], "default_route": "auto", "routes": ["auto"], "default_model": "m", "strong_share": 0.5,
        "limits": {"rpm": 5, "tpm": 5000, "concurrency": 5}, "budget": budget,
        "projects": {"p": {"budget": [budget]}, "q": {}},
    });
    let tenant = |method| (method, "/admin/tenants/{name}", "acme");
    checked.ask(operator, tenant(Method::PUT), whole.clone(), 201).await;
    checked.ask(operator, tenant(Method::PUT), whole, 200).await;
    checked.ask(operator, tenant(Method::GET), Value::Null, 200).await;
    checked.ask(operator, (Method::GET, "/admin/tenants/{name}", "f"), Value::Null, 200).await;
    let tenants = checked.ask(operator, (Method::GET, "/admin/tenants", ""), Value::Null, 200).await;
    assert_eq!(tenants["tenants"].as_array().unwrap().len(), 2);
    let budgets = checked.ask(operator, (Method::GET, "/admin/budgets", ""), Value::Null, 200).await;
    assert_eq!(budgets["budgets"].as_array().unwrap().len(), 3);

    let new =
        json!({"tenant": "acme", "project": "p", "name": "ci", "expires": "2100-01-01", "budget": [budget]});
    let made = checked.ask(operator, (Method::POST, "/admin/keys", ""), new.clone(), 201).await;
    checked.ask(operator, (Method::POST, "/admin/keys", ""), new, 409).await;
    let id = made["id"].as_str().unwrap();
    let rotate = (Method::POST, "/admin/keys/{id}/rotate", id);
    checked.ask(operator, rotate.clone(), Value::Null, 201).await;
    checked.ask(operator, rotate, json!({"overlap_seconds": 5}), 201).await;
    checked.ask(operator, (Method::GET, "/admin/keys?tenant=acme", ""), Value::Null, 200).await;
    checked.ask(operator, (Method::DELETE, "/admin/keys/{id}", id), Value::Null, 200).await;
    checked.ask(operator, tenant(Method::DELETE), Value::Null, 200).await;
    let request = json!({"model": "m", "max_tokens": 3, "messages": [{"role": "user", "content": "x"}]});
    for path in ["/admin/as/{name}/v1/chat/completions", "/admin/as/{name}/v1/route"] {
        checked.ask(operator, (Method::POST, path, "f"), request.clone(), 200).await;
    }
    let routed = json!({"model": "auto", "max_tokens": 3, "messages": [{"role": "user", "content": "x"}]});
    checked.ask(operator, (Method::POST, "/admin/as/{name}/v1/chat/completions", "f"), routed, 200).await;
    let decisions =
        checked.ask(operator, (Method::GET, "/admin/decisions?after=0", ""), Value::Null, 200).await;
    assert_eq!(decisions["decisions"][0]["tenant"], "f");
    let usage = "/admin/usage?by=day,tenant,project,key,model";
    let is_written = |usage: &Value| !usage["usage"].as_array().unwrap().is_empty();
    while !is_written(&checked.ask(operator, (Method::GET, usage, ""), Value::Null, 200).await) {
        tokio::task::yield_now().await;
    }
}

/// What an operator has done wrong.
async fn see_refusals(checked: &mut Checked, stand: &Stand) {
    let operator = (stand, OPERATOR);
    for (method, path, body, expected) in [
        (Method::GET, "/admin/usage?by=colour", Value::Null, 400),
        (Method::GET, "/admin/budgets?tenant=f&by=x", Value::Null, 400),
        (Method::GET, "/admin/keys?tenant=f&by=x", Value::Null, 400),
        (Method::GET, "/admin/decisions?after=x", Value::Null, 400),
        (Method::POST, "/admin/as/{name}/v1/chat/completions", json!({"model": "m"}), 404),
        (Method::POST, "/admin/as/{name}/v1/route", json!({"model": "m"}), 404),
        (Method::POST, "/admin/keys", json!([]), 400),
        (Method::POST, "/admin/keys/{id}/rotate", json!([]), 400),
        (Method::POST, "/admin/keys", json!({"tenant": "none"}), 404),
        (Method::POST, "/admin/keys/{id}/rotate", Value::Null, 404),
        (Method::DELETE, "/admin/keys/{id}", Value::Null, 404),
        (Method::GET, "/admin/tenants/{name}", Value::Null, 404),
        (Method::DELETE, "/admin/tenants/{name}", Value::Null, 404),
        (Method::PUT, "/admin/tenants/{name}", Value::Null, 400),
        (Method::PUT, "/admin/tenants/{name}", json!({"pool": ["none"]}), 422),
    ] {
        checked.ask(operator, (method, path, "none"), body, expected).await;
    }
    for path in ["/admin/as/{name}/v1/chat/completions", "/admin/as/{name}/v1/route"] {
        checked.ask(operator, (Method::POST, path, "f"), json!({"messages": []}), 400).await;
    }
    let of_file = |method| (method, "/admin/tenants/{name}", "f");
    checked.ask(operator, of_file(Method::PUT), json!({"pool": ["m"]}), 409).await;
    checked.ask(operator, of_file(Method::DELETE), Value::Null, 409).await;
}

/// What a gateway without a file, a database or operators' keys answers.
async fn see_absences(checked: &mut Checked, upstream: &Upstream, database: &Path) {
    let bare = setup(upstream, None, &admin_keys()).start().await;
    let operator = (&bare, OPERATOR);
    for (method, path, body) in [
        (Method::POST, "/admin/reload", Value::Null),
        (Method::GET, "/admin/usage", Value::Null),
        (Method::GET, "/admin/keys", Value::Null),
        (Method::PUT, "/admin/tenants/{name}", json!({"pool": ["m"]})),
    ] {
        checked.ask(operator, (method, path, "x"), body, 404).await;
    }
    let nobody = setup(upstream, Some(database), "").start().await;
    for (path, method, status) in checked.described() {
        let method: Method = method.to_uppercase().parse().unwrap();
        match status.as_str() {
            "401" => checked.ask((&bare, "wrong"), (method, &path, "x"), Value::Null, 401).await,
            "403" => checked.ask((&nobody, OPERATOR), (method, &path, "x"), Value::Null, 403).await,
            _ => Value::Null,
        };
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_as_described_and_every_description_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::playing(|_| Script::json(200, &answer("x"))).await;
    let database = folder.path().join("a.db");
    let stand = setup(&upstream, Some(&database), &admin_keys()).start().await;
    let reloads = AtomicUsize::new(0);
    stand.app.set_reload(Box::new(move || {
        let is_first = reloads.fetch_add(1, Ordering::Relaxed) == 0;
        Box::pin(async move { if is_first { Ok(2) } else { Err("it is not valid".to_owned()) } })
    }));
    let (_, document) = operate(&stand, OPERATOR, (Method::GET, "/admin/openapi.json"), Value::Null).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut checked = Checked { document, seen: BTreeSet::new() };
    assert_eq!(
        stand.chat(chat("m").replace("\"messages\"", "\"max_tokens\":3,\"messages\"")).await.status,
        200
    );
    see_success(&mut checked, &stand).await;
    see_refusals(&mut checked, &stand).await;
    for expected in [200, 422] {
        checked.ask((&stand, OPERATOR), (Method::POST, "/admin/reload", ""), Value::Null, expected).await;
    }
    stand.app.set_ready(false);
    checked.ask((&stand, OPERATOR), (Method::GET, "/health/ready", ""), Value::Null, 503).await;
    see_absences(&mut checked, &upstream, &folder.path().join("b.db")).await;
    let mut unseen = checked.described();
    unseen.retain(|one| !checked.seen.contains(one) && !is_of_trouble(one));
    assert!(unseen.is_empty(), "never answered so: {unseen:?}");

    // What a path takes is what is described of it, and there is a HEAD wherever there is a GET.
    for (path, operations) in checked.document["paths"].as_object().unwrap() {
        let target = path.replace("{id}", "x").replace("{name}", "x");
        let reply = ask(&stand, OPERATOR, (Method::PATCH, &target), String::new()).await;
        assert_eq!(reply.status, 405, "{path}");
        let mut allowed: Vec<String> =
            reply.header("allow").unwrap().split(", ").map(str::to_lowercase).collect();
        let mut described: Vec<String> = operations.as_object().unwrap().keys().cloned().collect();
        described.retain(|method| method != "parameters");
        if described.iter().any(|method| method == "get") {
            described.push("head".to_owned());
        }
        allowed.sort();
        described.sort();
        assert_eq!(allowed, described, "{path}");
    }
}
