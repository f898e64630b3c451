//! What operators are told of the ledger.

use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    answers::{answer, chat},
    client::{Client, KEY, get, post},
    stand::{Setup, Stand},
    upstream::{PATIENCE, Script, Upstream},
};

async fn stand(upstream: &Upstream, database: &str) -> Stand {
    Setup::new()
        .model("m", &upstream.base_url(), "price: {input: 1, output: 2}")
        .model("n", &upstream.base_url(), "price: {input: 3, output: 4}")
        .top(&format!("database: \"{database}\""))
        .tenants(&format!(
            "{{t: {{keys: [{{key: {KEY}, name: ci}}], pool: [m, n]}}, u+v: {{keys: [{{key: other-key}}], pool: [n]}}}}"
        ))
        .start()
        .await
}

/// What the operators' listener answers.
async fn ask(stand: &Stand, query: &str) -> (u16, Value) {
    let mut reply = Client::connect(stand.admin).await.last(get(&format!("/admin/usage{query}"))).await;
    let status = reply.status.as_u16();
    (status, reply.json().await)
}

/// Asks until so many calls are in the ledger: they come after the answers.
async fn calls(stand: &Stand, query: &str, count: u64) -> Value {
    let begun = std::time::Instant::now();
    loop {
        let (status, report) = ask(stand, query).await;
        assert_eq!(status, 200, "{report}");
        if report["total"]["calls"] == count {
            return report;
        }
        assert!(begun.elapsed() < PATIENCE, "never came: {report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn usage_is_what_was_spent() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let upstream = Upstream::playing(|_| Script::json(200, &answer("x"))).await;
    let stand = stand(&upstream, &format!("sqlite:{}", path.display())).await;
    for _ in 0..3 {
        assert_eq!(stand.chat(chat("m")).await.status, 200);
    }
    let mut others = post("/v1/chat/completions", chat("n"));
    others.headers_mut().insert("authorization", "Bearer other-key".parse().unwrap());
    assert_eq!(stand.client().await.last(others).await.status, 200);

    let report = calls(&stand, "", 4).await;
    let groups = report["usage"].as_array().unwrap();
    // Seven tokens read and three written, each.
    let expected = json!({"tenant": "t", "model": "m", "calls": 3, "estimated_calls": 0, "prompt_tokens": 21, "cached_tokens": 0,
        "completion_tokens": 9, "reasoning_tokens": 0, "cost_usd": 39e-6, "cost_pico_usd": 39_000_000});
    assert_eq!((&groups[0], groups.len()), (&expected, 2));
    assert_eq!(report["total"]["cost_pico_usd"], 39_000_000 + 33_000_000);
    assert_eq!(report["by"], json!(["tenant", "model"]));
    assert!(report["from"].as_str().unwrap().ends_with("-01") && report["to"].is_null());
    // The same as the database says, and as the program says while the gateway writes.
    let sum: i64 = Connection::open(&path)
        .unwrap()
        .query_row("SELECT sum(cost_pico_usd) FROM calls", [], |row| row.get(0))
        .unwrap();
    assert_eq!(report["total"]["cost_pico_usd"], sum);
    let arguments = ["usage", "--database", path.to_str().unwrap(), "--format", "json"];
    let output = crate::cli::program(&arguments).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), report);
    let arguments = ["ledger", "export", "--database", path.to_str().unwrap(), "--format", "jsonl"];
    let output = crate::cli::program(&arguments).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let costs = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["cost_pico_usd"].as_i64().unwrap());
    assert_eq!((lines.lines().count(), costs.sum::<i64>()), (4, sum));

    let (_, report) = ask(&stand, "?by=day,key&tenant=u%2Bv&from=2000-01-01&to=9999-12-31").await;
    assert_eq!((&report["tenant"], &report["total"]["calls"]), (&json!("u+v"), &json!(1)));
    assert_eq!(report["usage"].as_array().unwrap().len(), 1);
    let (_, none) = ask(&stand, "?to=2000-01-01").await;
    assert_eq!((&none["usage"], &none["total"]["cost_usd"]), (&json!([]), &json!(0.0)));
    // What is asked for does not keep what is written.
    assert_eq!(stand.chat(chat("m")).await.status, 200);
    calls(&stand, "?by=model", 5).await;
}

#[tokio::test]
async fn only_operators_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let stand = stand(&upstream, &format!("sqlite:{}", folder.path().join("ledger.db").display())).await;
    // As any path that does not exist, whoever asks.
    let mut own = stand.get("/admin/usage").await;
    let mut unknown = stand.get("/admin/nonesuch").await;
    assert_eq!((own.status.as_u16(), own.error().await), (404, unknown.error().await));
    let reply = Client::connect(stand.admin).await.last(post("/admin/usage", "{}")).await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, Some("GET, HEAD")));
    for (query, param, word) in [
        ("?until=2026-11-01", "until", "unknown: expected by, from, to and tenant"),
        ("?by=tenant;model", "by", "day, tenant, project, key and model"),
        ("?from=2026-11-31", "from", "no day such as 2026-11-01"),
        ("?from=2026-11-02&to=2026-11-01", "to", "after `from`"),
        ("?tenant=%ff", "tenant", "no UTF-8"),
        ("?tenant=a&tenant=b", "tenant", "twice"),
    ] {
        let (status, body) = ask(&stand, query).await;
        assert_eq!((status, &body["error"]["param"]), (400, &json!(param)), "{body}");
        assert_eq!(body["error"]["code"], "invalid_parameter");
        assert!(body["error"]["message"].as_str().unwrap().contains(word), "{body}");
    }
}

#[tokio::test]
async fn without_a_ledger_it_is_said_so() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let off = stand(&upstream, "none").await;
    let (status, body) = ask(&off, "").await;
    assert_eq!((status, &body["error"]["code"]), (404, &json!("no_ledger")), "{body}");
    // One that is there no more.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let stand = stand(&upstream, &format!("sqlite:{}", path.display())).await;
    spoil(&path);
    let (status, body) = ask(&stand, "").await;
    assert_eq!((status, &body["error"]["code"]), (503, &json!("ledger_unreadable")), "{body}");
    assert!(body["error"]["message"].as_str().unwrap().contains("there is no ledger at"), "{body}");
}

fn spoil(path: &Path) {
    std::fs::rename(path, path.with_extension("away")).unwrap();
}
