//! Several gateways on one PostgreSQL: one ledger, the same keys, and nothing lost when a gateway or the database goes.

use std::{
    fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use http::Method;
use pointsman::{
    config::Database,
    ledger::{
        Ledger,
        row::{Call, Row, UsedRow},
    },
    openai::usage::Usage,
    secret::Secret,
    telemetry::metrics::Metrics,
};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::ledger::serve;
use crate::{
    answers::{answer, chat, chat_stream, done, finish, usage, word},
    cli::{run, status, stderr, stdout},
    client::{Client, KEY, get, post},
    operator::{OPERATOR, admin_keys, operate},
    postgres::Server,
    stand::{Setup, Stand},
    upstream::{Gate, PATIENCE, Script, Upstream},
};

const PRICE: &str = "price: {input: 1, output: 2}";

async fn replica(upstream: &Upstream, server: &Server, folder: &Path, name: &str) -> Stand {
    Setup::new()
        .model("m", &upstream.base_url(), PRICE)
        .top(&format!("database: {}\nspill: {}", server.url(), folder.join(name).display()))
        .top(&admin_keys())
        .routes("{auto: {models: [m], retry: {max: 0}}}")
        .tenants(&format!("{{t: {{keys: [{{key: {KEY}, name: ci}}], pool: [m]}}}}"))
        .start()
        .await
}

async fn replicas(upstream: &Upstream, server: &Server, folder: &Path) -> [Stand; 3] {
    [
        replica(upstream, server, folder, "a").await,
        replica(upstream, server, folder, "b").await,
        replica(upstream, server, folder, "c").await,
    ]
}

/// Whole, streamed and failed answers in turn; what each reports is billed.
async fn paid() -> (Upstream, Arc<AtomicU64>) {
    let billed = Arc::new(AtomicU64::new(0));
    let (bill, number_of) = (Arc::clone(&billed), AtomicU64::new(0));
    let upstream = Upstream::playing(move |request| {
        let pay = |prompt: u64, completion: u64| {
            bill.fetch_add(prompt + 2 * completion, Ordering::Relaxed);
        };
        if request.text().contains("\"stream\"") {
            pay(100, 10);
            return Script::events(&[word("x"), finish(0), usage(100, 10), done()]);
        }
        match number_of.fetch_add(1, Ordering::Relaxed) % 3 {
            0 => Script::json(500, "{}"),
            _ => {
                pay(7, 3);
                Script::json(200, &answer("x"))
            }
        }
    })
    .await;
    (upstream, billed)
}

/// So many requests, half of them streams, over as many connections as there are replicas.
async fn load(replicas: &[Stand], each: usize) {
    let mut load = JoinSet::new();
    for replica in replicas {
        let address = replica.address;
        load.spawn(async move {
            let mut client = Client::connect(address).await;
            for place in 0..each {
                let body = if place % 2 == 0 { chat("m") } else { chat_stream("auto") };
                client.send(post("/v1/chat/completions", body)).await.text().await;
            }
        });
    }
    load.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_gateways_have_one_ledger_and_the_same_keys() {
    let Some(server) = Server::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let (upstream, billed) = paid().await;
    let replicas = replicas(&upstream, &server, folder.path()).await;
    load(&replicas, 60).await;
    server.until("SELECT count(*) FROM requests", 180, PATIENCE).await;
    let cost = i64::try_from(billed.load(Ordering::Relaxed)).unwrap() * 1_000_000;
    assert_eq!(server.number("SELECT sum(cost_pico_usd)::bigint FROM calls").await, cost);
    assert_eq!(server.number("SELECT sum(cost_pico_usd)::bigint FROM usage WHERE key = 'ci'").await, cost);
    let (status_code, report) =
        operate(&replicas[1], OPERATOR, (Method::GET, "/admin/usage?by=tenant,day"), Value::Null).await;
    assert_eq!((status_code, &report["total"]["cost_pico_usd"]), (200, &json!(cost)));

    // A tenant and a key made here are there, too, and the key is none any more once it is revoked.
    let tenant = json!({"pool": ["m"], "default_route": "auto"});
    let (status_code, told) =
        operate(&replicas[1], OPERATOR, (Method::PUT, "/admin/tenants/new"), tenant).await;
    assert_eq!(status_code, 201, "{told}");
    let wanted = json!({"tenant": "new", "name": "new", "budget": [{"usd": 5, "per": "day"}]});
    let (status_code, made) = operate(&replicas[0], OPERATOR, (Method::POST, "/admin/keys"), wanted).await;
    assert_eq!(status_code, 201, "{made}");
    let with_key = |stand: &Stand, secret: String| {
        let address = stand.address;
        async move {
            let mut request = get("/v1/models");
            request.headers_mut().insert("authorization", format!("Bearer {secret}").parse().unwrap());
            Client::connect(address).await.last(request).await.status.as_u16()
        }
    };
    let secret = made["key"].as_str().unwrap().to_owned();
    let within_a_second = |wanted: u16| {
        let (secret, replicas) = (secret.clone(), &replicas);
        async move {
            for replica in replicas {
                let begun = Instant::now();
                while with_key(replica, secret.clone()).await != wanted {
                    assert!(begun.elapsed() < PATIENCE, "not {wanted}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    };
    within_a_second(200).await;
    let (_, kept) = operate(&replicas[2], OPERATOR, (Method::GET, "/admin/keys"), Value::Null).await;
    assert_eq!(kept["keys"][0]["name"], "new");
    let path = format!("/admin/keys/{}", made["id"].as_str().unwrap());
    assert_eq!(operate(&replicas[2], OPERATOR, (Method::DELETE, &path), Value::Null).await.0, 200);
    within_a_second(401).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_reads_the_servers_ledger() {
    let Some(server) = Server::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let usage_of = || run(&["usage", "--database", &server.url(), "--format", "json"]);
    let none = usage_of();
    assert!(status(&none) == 1 && stderr(&none).contains("is no ledger"), "{}", stderr(&none));
    let (upstream, billed) = paid().await;
    let stand = replica(&upstream, &server, folder.path(), "a").await;
    load(std::slice::from_ref(&stand), 30).await;
    server.until("SELECT count(*) FROM requests", 30, PATIENCE).await;
    let report: Value = serde_json::from_str(&stdout(&usage_of())).unwrap();
    let cost = billed.load(Ordering::Relaxed) * 1_000_000;
    assert_eq!(report["total"]["cost_pico_usd"], cost);
    let exported = run(&["ledger", "export", "--database", &server.url(), "--format", "jsonl"]);
    let lines: Vec<Value> =
        stdout(&exported).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 30);
    let sum: u64 = lines.iter().filter_map(|line| line["cost_pico_usd"].as_u64()).sum();
    assert_eq!(sum, cost);
    let nobody = run(&["usage", "--database", "postgres://me:s3cret@127.0.0.1:1/x", "--format", "json"]);
    let told = stderr(&nobody);
    assert!(
        status(&nobody) == 1 && told.contains("postgres://me@127.0.0.1:1/x") && !told.contains("s3cret"),
        "{told}"
    );
}

/// What no honest upstream says and no honest client sends: as a killed process has left it in its file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_server_cannot_keep_is_kept_as_near_as_it_can() {
    let Some(server) = Server::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let spill = folder.path().join("spill");
    let most = UsedRow { cost_pico_usd: Some(i64::MAX), ..UsedRow::of(Usage::of(u64::MAX, 1)) };
    let row = |request_id: &str| Row {
        id: Uuid::now_v7(),
        arrived_ms: 86_400_000,
        request_id: request_id.to_owned(),
        tenant: "t'\"\\\u{1f600}".to_owned(),
        project: None,
        key: Some(String::new()),
        route: None,
        router: None,
        decision_us: None,
        candidates: vec![("m".to_owned(), f64::MAX)],
        model: None,
        outcome: "ok".to_owned(),
        code: None,
        answer_us: None,
        duration_us: i64::MAX,
        artifact: None,
        cache: None,
        tags: None,
        prompt: Some("a\0\u{1f600}".to_owned()),
        calls: vec![
            Call { model: "m".to_owned(), used: Some(most) },
            Call { model: "n".to_owned(), used: None },
        ],
    };
    let twice = row("a\0b");
    let lines =
        [twice.clone(), twice, row("\\u0000\\\0")].map(|row| format!("{}\n", json!({"Request": row})));
    fs::write(&spill, lines.concat()).unwrap();
    let database = Database::Postgres { url: Secret::new(server.url()), spill };
    let opened = tokio::task::spawn_blocking(move || {
        Ledger::open(&database, None, Arc::new(Metrics::new().unwrap())).unwrap().end();
    });
    opened.await.unwrap();
    let ids = server.texts("SELECT request_id FROM requests ORDER BY id").await;
    assert_eq!(ids, ["a\u{fffd}b", "\\u0000\\\u{fffd}"]);
    assert_eq!(server.texts("SELECT DISTINCT prompt FROM requests").await, ["a\u{fffd}\u{1f600}"]);
    assert_eq!(server.texts("SELECT tenant FROM usage").await, ["t'\"\\\u{1f600}"]);
    assert_eq!(server.number("SELECT cost_pico_usd FROM usage").await, i64::MAX);
    assert_eq!(server.number("SELECT count(*) FROM calls").await, 4);
    assert_eq!(server.number("SELECT count(*) FROM instances").await, 0, "it has told that it ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_server_takes_no_request_away_and_no_row() {
    let Some(mut server) = Server::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let (upstream, billed) = paid().await;
    let replicas = replicas(&upstream, &server, folder.path()).await;
    load(&replicas, 20).await;
    server.stop();
    // All are answered as before: nothing on a request's way waits for the database.
    load(&replicas, 200).await;
    let (status_code, told) =
        operate(&replicas[0], OPERATOR, (Method::GET, "/admin/usage"), Value::Null).await;
    assert_eq!((status_code, &told["error"]["code"]), (503, &json!("ledger_unreadable")), "{told}");
    let spilled = |name: &str| fs::metadata(folder.path().join(name)).unwrap().len();
    let begun = Instant::now();
    while ["a", "b", "c"].iter().any(|name| spilled(name) == 0) {
        assert!(begun.elapsed() < PATIENCE, "rows never came to the files");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    server.resume().await;
    load(&replicas, 20).await;
    server.until("SELECT count(*) FROM requests", 3 * 240, PATIENCE).await;
    let cost = i64::try_from(billed.load(Ordering::Relaxed)).unwrap() * 1_000_000;
    assert_eq!(server.number("SELECT sum(cost_pico_usd)::bigint FROM calls").await, cost);
    assert_eq!(server.number("SELECT sum(cost_pico_usd)::bigint FROM usage").await, cost);
    let begun = Instant::now();
    while ["a", "b", "c"].iter().any(|name| spilled(name) > 0) {
        assert!(begun.elapsed() < PATIENCE, "rows stay in the files");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_beside_a_frozen_server_loses_no_row() {
    let Some(server) = Server::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let (upstream, billed) = paid().await;
    let config = folder.path().join("gateway.yaml");
    let spill = folder.path().join("spill");
    let yaml = format!(
        "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\ndatabase: {}\nspill: {}\n\
         models: {{m: {{base_url: \"{}\", {PRICE}}}}}\nroutes: {{auto: {{models: [m], retry: {{max: 0}}}}}}\n\
         tenants: {{t: {{keys: [{{key: {KEY}}}], pool: [m]}}}}\n",
        server.url(),
        spill.display(),
        upstream.base_url()
    );
    fs::write(&config, yaml).unwrap();
    let ask = async |address, requests: usize| {
        let mut client = Client::connect(address).await;
        for place in 0..requests {
            let body = if place % 2 == 0 { chat("m") } else { chat_stream("auto") };
            client.send(post("/v1/chat/completions", body)).await.text().await;
        }
    };
    let (mut killed, public, _) = serve(&config);
    ask(public, 10).await;
    server.until("SELECT count(*) FROM requests", 10, PATIENCE).await;
    server.pause();
    ask(public, 30).await;
    let begun = Instant::now();
    while fs::read_to_string(&spill).unwrap().lines().count() < 30 {
        assert!(begun.elapsed() < PATIENCE, "rows never came to the file");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    server.go_on();
    let (_next, public, _) = serve(&config);
    ask(public, 10).await;
    server.until("SELECT count(*) FROM requests", 50, PATIENCE).await;
    let cost = i64::try_from(billed.load(Ordering::Relaxed)).unwrap() * 1_000_000;
    assert_eq!(server.number("SELECT sum(cost_pico_usd)::bigint FROM calls").await, cost);
    assert_eq!(server.number("SELECT sum(cost_pico_usd)::bigint FROM usage").await, cost);
}

/// What was held for a process that is gone is spent; if it was not gone after all, what it did spend takes its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_silent_gateway_holds_is_spent_until_it_speaks_again() {
    let Some(server) = Server::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let gate = Gate::default();
    let held = gate.clone();
    let upstream = Upstream::playing(move |_| {
        Script::stream()
            .chunk(word(&"word ".repeat(150)))
            .chunk(word("four"))
            .wait(&held)
            .chunk(finish(0))
            .chunk(usage(5, 4))
            .chunk(done())
            .end()
    })
    .await;
    let config = |name: &str| {
        let yaml = format!(
            "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\ndatabase: {}\nspill: {name}.spill\n\
             models: {{m: {{base_url: \"{}\", price: {{input: 0, output: 1}}}}}}\nroutes: {{auto: {{models: [m]}}}}\n\
             tenants: {{t: {{keys: [{{key: {KEY}}}], pool: [m], budget: {{usd: 1, per: total}}}}}}\n",
            server.url(),
            upstream.base_url()
        );
        let path = folder.path().join(format!("{name}.yaml"));
        fs::write(&path, yaml).unwrap();
        path
    };
    let (stopped, public, _) = serve(&config("stopped"));
    // Without a bound, what is held grows with the answer: from 256 tokens to 512.
    let mut reply = Client::connect(public).await.last(post("/v1/chat/completions", chat_stream("m"))).await;
    reply.until("four").await;
    server.until("SELECT sum(pico_usd)::bigint FROM holds", 512_000_000, PATIENCE).await;
    let signal = |name: &str| {
        assert!(Command::new("kill").args([name, &stopped.0.id().to_string()]).status().unwrap().success());
    };
    signal("-STOP");
    let (_other, _, admin) = serve(&config("other"));
    // From the start, the other one takes what is held to be spent.
    let spent = async |admin| {
        let text = Client::connect(admin).await.last(get("/metrics")).await.text().await;
        crate::stand::values(&text, "pointsman_budget_spent_usd", &[])[0].parse::<f64>().unwrap()
    };
    assert!((spent(admin).await - 512e-6).abs() < 1e-12);
    server.until("SELECT count(*) FROM requests WHERE code = 'interrupted'", 1, PATIENCE * 2).await;
    assert_eq!(server.number("SELECT count(*) FROM holds").await, 0);
    assert_eq!(server.number("SELECT sum(cost_pico_usd)::bigint FROM usage").await, 512_000_000);
    signal("-CONT");
    gate.open();
    let rest = reply.text().await;
    assert!(rest.contains("[DONE]"), "{rest}");
    server.until("SELECT count(*) FROM requests WHERE outcome = 'ok'", 1, PATIENCE).await;
    assert_eq!(server.texts("SELECT outcome FROM requests").await, ["ok"]);
    assert_eq!(server.number("SELECT sum(cost_pico_usd)::bigint FROM usage").await, 4_000_000);
    assert_eq!(server.number("SELECT sum(calls)::bigint FROM usage").await, 1);
}
