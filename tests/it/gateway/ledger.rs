//! The ledger: one row for each request of a tenant's, whatever becomes of it, and nothing lost by a killed process.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tokio::task::JoinSet;

use crate::{
    answers::{answer, chat, chat_stream, done, finish, usage, word},
    client::{Client, KEY, get, post},
    stand::{Setup, Stand, values},
    upstream::{Gate, PATIENCE, Script, Upstream},
};

const PRICE: &str = "price: {input: 1, output: 2}";

fn number(path: &Path, query: &str) -> i64 {
    Connection::open(path).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

fn texts(path: &Path, query: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(query).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// Waits for rows, which come after the answers.
async fn rows(path: &Path, count: i64) {
    let begun = Instant::now();
    while number(path, "SELECT count(*) FROM requests") < count {
        assert!(begun.elapsed() < PATIENCE, "rows never came");
        tokio::task::yield_now().await;
    }
    assert_eq!(number(path, "SELECT count(*) FROM requests"), count);
}

async fn stand(upstream: &Upstream, database: &Path, more: &str) -> Stand {
    Setup::new()
        .model("m", &upstream.base_url(), PRICE)
        .top(&format!("database: \"sqlite:{}\"", database.display()))
        .routes("{auto: {models: [m], retry: {max: 0}}}")
        .tenants(&format!("{{t: {{keys: [{{key: {KEY}, name: ci}}], pool: [m]{more}}}}}"))
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_has_a_row_and_the_sum_is_the_upstreams_bill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let billed = std::sync::Arc::new(AtomicU64::new(0));
    let (bill, number_of) = (std::sync::Arc::clone(&billed), AtomicU64::new(0));
    // Whole, streamed, refused and failed answers in turn; what each reports is billed.
    let upstream = Upstream::playing(move |_| {
        let this = number_of.fetch_add(1, Ordering::Relaxed);
        let pay = |prompt: u64, completion: u64| {
            bill.fetch_add(prompt + 2 * completion, Ordering::Relaxed);
        };
        match this % 4 {
            0 => {
                pay(7, 3);
                Script::json(200, &answer("x"))
            }
            1 => {
                pay(100, 10);
                Script::events(&[word("x"), finish(0), usage(100, 10), done()])
            }
            2 => Script::json(500, "{}"),
            _ => Script::json(400, r#"{"error":{"message":"no"}}"#),
        }
    })
    .await;
    let stand = stand(&upstream, &path, "").await;
    for _ in 0..100 {
        // In the order in which they are answered.
        stand.chat(chat("m")).await.text().await;
        stand.chat(chat_stream("m")).await.text().await;
        stand.chat(chat("m")).await.text().await;
        stand.chat(chat("auto")).await.text().await;
    }
    assert_eq!(stand.chat("{}").await.status, 400);
    let mut stranger = post("/v1/chat/completions", chat("m"));
    stranger.headers_mut().insert("authorization", "Bearer nobody".parse().unwrap());
    assert_eq!(stand.client().await.last(stranger).await.status, 401);
    assert_eq!(stand.get("/v1/models").await.status, 200);
    // Neither a stranger's nor a list of models.
    rows(&path, 401).await;
    let cost = number(&path, "SELECT sum(cost_pico_usd) FROM calls");
    assert_eq!(u64::try_from(cost).unwrap(), billed.load(Ordering::Relaxed) * 1_000_000);
    assert_eq!(number(&path, "SELECT sum(cost_pico_usd) FROM usage WHERE tenant = 't' AND key = 'ci'"), cost);
    let outcomes = "SELECT outcome || ' ' || count(*) FROM requests GROUP BY outcome ORDER BY outcome";
    assert_eq!(texts(&path, outcomes), ["client_error 101", "ok 200", "upstream_error 100"]);
    assert_eq!(
        number(&path, "SELECT count(*) FROM requests WHERE route = 'auto' AND router = 'static'"),
        100
    );
    let all = fs::read(&path).unwrap();
    for secret in [&b"\"hi\""[..], KEY.as_bytes()] {
        assert!(!all.windows(secret.len()).any(|bytes| bytes == secret), "no prompt, no key");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_leaves_has_a_row_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let gate = Gate::default();
    let upstream = Upstream::start([Script::stream().chunk(word("four")).wait(&gate).end()]).await;
    let stand = stand(&upstream, &path, ", budget: {usd: 1, per: day}").await;
    let mut reply = stand.chat(chat_stream("m")).await;
    reply.until("four").await;
    drop(reply);
    rows(&path, 1).await;
    assert_eq!(texts(&path, "SELECT outcome FROM requests"), ["cancelled"]);
    assert_eq!(number(&path, "SELECT completion_tokens FROM calls WHERE estimated"), 1);
    assert_eq!(number(&path, "SELECT count(*) FROM holds"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prompts_are_kept_for_tenants_that_want_it_alone_and_tags_for_those_that_have_some() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let models = ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"];
    let pool = models.join(", ");
    let mut setup = Setup::new();
    for model in models {
        setup = setup.model(model, &upstream.base_url(), PRICE);
    }
    let stand = setup
        .top(&format!("database: \"sqlite:{}\"", path.display()))
        .routes("{auto: {router: mf, threshold: 0.5}}")
        .tenants(&format!(
            "{{t: {{keys: [{{key: {KEY}}}], pool: [{pool}], keep_prompts: true, tags: {{team: search, cost_centre: \"47\"}}}}, \
              other: {{keys: [{{key: other-key}}], pool: [{pool}]}}}}"
        ))
        .start_shipped()
        .await;
    stand.chat(chat("auto")).await.text().await;
    stand.chat(chat(models[0])).await.text().await;
    let mut request = post("/v1/chat/completions", chat("auto"));
    request.headers_mut().insert("authorization", "Bearer other-key".parse().unwrap());
    stand.client().await.last(request).await.text().await;
    rows(&path, 3).await;
    let of = |column: &str| {
        texts(&path, &format!("SELECT ifnull({column}, '-') FROM requests ORDER BY arrived_ms, id"))
    };
    assert_eq!(of("prompt"), ["hi", "hi", "-"]);
    let tags = r#"{"cost_centre":"47","team":"search"}"#;
    assert_eq!(of("tags"), [tags, tags, "-"]);
    let version = pointsman_routers::shipped::version("mf").unwrap();
    assert_eq!(of("artifact"), [&*version, "-", &*version]);
}

/// The end of an answer waits for no database: while it takes nothing, answers end, their permits are free, and others are let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_waits_for_a_database_that_takes_no_rows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let upstream = Upstream::playing(|request| match request.text().contains("\"stream\"") {
        true => Script::events(&[word("x"), finish(0), usage(1, 1), done()]),
        false => Script::json(200, &answer("x")),
    })
    .await;
    let stand =
        stand(&upstream, &path, ", budget: {usd: 1, per: day}, limits: {concurrency: 1, rpm: 1000000}").await;
    stand.chat(chat("m")).await.text().await;
    rows(&path, 1).await;
    let lock = Connection::open(&path).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // One after the other, each in the only place that the tenant has: all of them within the time that the writer waits.
    let begun = Instant::now();
    let mut answered = 0;
    while answered < 200 || begun.elapsed() < Duration::from_millis(300) {
        let body = if answered % 2 == 0 { chat("m") } else { chat_stream("m") };
        let mut reply = stand.chat(body).await;
        let text = reply.text().await;
        assert_eq!(reply.status, 200, "{text}");
        assert!(answered % 2 == 0 || text.ends_with("data: [DONE]\n\n"), "{text}");
        stand.eventually("a free place", || stand.app.metrics.in_flight.get() == 0).await;
        answered += 1;
    }
    assert_eq!(number(&path, "SELECT count(*) FROM requests"), 1, "nothing was taken meanwhile");
    lock.execute_batch("COMMIT").unwrap();
    rows(&path, 1 + answered).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_remembers_what_was_spent_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let bounded = chat("m").replace("\"messages\"", "\"max_tokens\":3,\"messages\"");
    // Thirteen millionths a request, and more is held for the bytes of its prompt.
    let enough_for_three = u32::try_from(bounded.len()).unwrap() + 6 + 2 * 13;
    let budget = format!("{{usd: {:.6}, per: month}}", f64::from(enough_for_three) * 1e-6);
    for (statuses, written) in [(&[200, 200][..], 2), (&[200, 429], 4)] {
        let stand = stand(&upstream, &path, &format!(", budget: [{budget}, {{usd: 1, per: total}}]")).await;
        for status in statuses {
            assert_eq!(stand.chat(bounded.clone()).await.status, *status);
        }
        rows(&path, written).await;
        stand.app.books.ledger().unwrap().end();
    }
    let stand = stand(&upstream, &path, &format!(", budget: {budget}")).await;
    let text = Client::connect(stand.admin).await.last(get("/metrics")).await.text().await;
    let shown: f64 = values(&text, "pointsman_budget_spent_usd", &["per=\"month\""])[0].parse().unwrap();
    assert!((shown - 39e-6).abs() < 1e-12, "{shown}");
    assert_eq!(stand.chat(bounded).await.status, 429);
    // A budget that a reload brings knows what was spent before it, too.
    let yaml = Setup::new().model("m", &upstream.base_url(), PRICE).tenants(&format!(
        "{{t: {{keys: [{{key: {KEY}, name: ci}}], pool: [m], budget: {{usd: 9, per: day}}}}}}"
    ));
    pointsman::gateway::reload(&stand.app, &yaml.config()).unwrap();
    let text = Client::connect(stand.admin).await.last(get("/metrics")).await.text().await;
    let today: f64 = values(&text, "pointsman_budget_spent_usd", &["per=\"day\""])[0].parse().unwrap();
    assert!((today - shown).abs() < 1e-12, "{today}");
}

/// A running program; killed when dropped.
pub(super) struct Serving(pub(super) Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the program, and gives where clients and operators connect.
pub(super) fn serve(config: &Path) -> (Serving, SocketAddr, SocketAddr) {
    let mut command = crate::cli::program(&["serve", "--config", config.to_str().unwrap()]);
    let mut serving = Serving(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(serving.0.stderr.take().unwrap()).lines();
    let mut said = String::new();
    let mut behind = |what: &str| -> SocketAddr {
        loop {
            let line = lines.next().unwrap_or_else(|| panic!("never said {what:?}: {said}")).unwrap();
            if let Some((_, rest)) = line.split_once(what) {
                return rest.trim().parse().unwrap();
            }
            said += &line;
        }
    };
    let (public, admin) = (behind("listening on http://"), behind("listener on http://"));
    (serving, public, admin)
}

async fn until_answered(answers: &AtomicU64, count: u64) {
    let begun = Instant::now();
    while answers.load(Ordering::Relaxed) < count {
        assert!(begun.elapsed() < PATIENCE, "answers never came");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_no_row_and_gives_no_money_back() {
    let folder = tempfile::tempdir().unwrap();
    let (config, path) = (folder.path().join("config.yaml"), folder.path().join("pointsman.db"));
    let gate = Gate::default();
    let held = gate.clone();
    // A stream that never ends, or a whole answer.
    let upstream = Upstream::playing(move |request| match request.text().contains("\"stream\"") {
        true => Script::stream().chunk(word("four")).wait(&held).end(),
        false => Script::json(200, &answer("x")),
    })
    .await;
    let yaml = format!(
        "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\nmodels: {{m: {{base_url: \"{}\", price: {{input: 0, output: 1}}}}}}\n\
         routes: {{auto: {{models: [m]}}}}\ntenants: {{t: {{keys: [{{key: {KEY}}}], pool: [m], budget: {{usd: 1, per: total}}}}}}\n",
        upstream.base_url()
    );
    fs::write(&config, yaml).unwrap();
    let bounded = |request: String, tokens: u32| {
        request.replace("\"messages\"", &format!("\"max_tokens\":{tokens},\"messages\""))
    };
    let (mut serving, public, _) = serve(&config);
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut reply = Client::connect(public)
            .await
            .last(post("/v1/chat/completions", bounded(chat_stream("m"), 100)))
            .await;
        reply.until("four").await;
        streams.push(reply);
    }
    // Load, until the process is gone: when each answer was there.
    let answers = std::sync::Arc::new(AtomicU64::new(0));
    let mut load = JoinSet::new();
    for _ in 0..4 {
        let answers = std::sync::Arc::clone(&answers);
        load.spawn(async move {
            let mut client = Client::connect(public).await;
            let mut ended = Vec::new();
            let body = chat("m").replace("\"messages\"", "\"max_tokens\":3,\"messages\"");
            while let Ok(mut reply) = client.try_send(post("/v1/chat/completions", body.clone())).await {
                while let Some(Ok(_)) = reply.frame().await {}
                ended.push(Instant::now());
                answers.fetch_add(1, Ordering::Relaxed);
            }
            ended
        });
    }
    until_answered(&answers, 60).await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    let killed = Instant::now();
    serving.0.kill().unwrap();
    serving.0.wait().unwrap();
    let ended: Vec<Instant> = load.join_all().await.into_iter().flatten().collect();
    let old =
        ended.iter().filter(|ended| killed.duration_since(**ended) > Duration::from_millis(100)).count();
    assert!(old >= 60, "{old} of {}", ended.len());

    let (_serving, public, admin) = serve(&config);
    let whole = number(&path, "SELECT count(*) FROM requests WHERE outcome = 'ok'");
    assert!(whole >= i64::try_from(old).unwrap(), "{whole} rows of {old} answers older than 100 ms");
    // The streams and, it may be, some of the last requests: as much as was held for them.
    let interrupted = number(&path, "SELECT count(*) FROM requests WHERE code = 'interrupted'");
    assert!((5..=9).contains(&interrupted), "{interrupted}");
    let estimated = number(&path, "SELECT sum(cost_pico_usd) FROM calls WHERE estimated");
    assert_eq!(estimated, (5 * 100 + (interrupted - 5) * 3) * 1_000_000);
    let text = Client::connect(admin).await.last(get("/metrics")).await.text().await;
    let spent: f64 = values(&text, "pointsman_budget_spent_usd", &[])[0].parse().unwrap();
    let sum = number(&path, "SELECT sum(cost_pico_usd) FROM usage");
    assert_eq!(format!("{:.0}", spent * 1e12), sum.to_string());
    let again = Client::connect(public).await.last(post("/v1/chat/completions", bounded(chat("m"), 3))).await;
    assert_eq!(again.status, 200);
    gate.open();
}
