//! The program under mixed faults for as long as one likes: `tests/soak --minutes N`.
//!
//! Every client must get a whole answer or an honest error, every request have one outcome and one line in the access log, and what
//! the process holds when it is idle must not grow.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    fs::File,
    io::{BufRead, BufReader},
    process::{Child, Stdio},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use crate::{
    answers::{done, event, finish, role, word},
    cli::program,
    client::{Client, KEY, RawClient, get, post},
    stand::values,
    upstream::{Gate, Received, Script, Upstream, chunk},
};

const WORDS: usize = 40;
const WORKERS: usize = 64;
const STREAMS: usize = 2_000;
const PATH: &str = "/v1/chat/completions";
const ACCESS_LOG: &str = "access.jsonl";

/// The whole answer, the same from every upstream: a replay repeats it.
fn answer_text() -> String {
    (0..WORDS).map(|number| format!("w{number} ")).collect()
}

fn begun(words: usize) -> Script {
    (0..words)
        .fold(Script::stream().chunk(role()), |script, number| script.chunk(word(&format!("w{number} "))))
}

/// What an upstream does with a request: mostly what it should.
fn play(request: &Received, hold: &Gate) -> Script {
    let streams = request.text().contains("\"stream\":true");
    if request.text().contains("hold") {
        return begun(WORDS / 2).wait(hold).chunk(rest(WORDS / 2)).end();
    }
    let error = r#"{"error":{"message":"no","type":"server_error"}}"#;
    match fastrand::u32(..100) {
        0..3 => Script::json(429, error),
        3..6 => Script::json(500, error),
        6..8 => Script::whole(503, "retry-after: 1", b""),
        8..10 => Script::empty().reset(),
        10 => Script::empty().silence(),
        11 => Script::whole(200, "content-type: text/html", b"<html>no</html>"),
        12 => Script::json(200, error),
        13 => Script::whole(200, "content-encoding: gzip", b"\x1f\x8b"),
        14..16 if streams => begun(0).end(),
        16 if streams => begun(0).silence(),
        17..20 if streams => begun(fastrand::usize(1..WORDS)).close(),
        20 if streams => begun(fastrand::usize(1..WORDS)).silence(),
        21 if streams => begun(fastrand::usize(1..WORDS)).chunk(event("{\"choices\":[")).end(),
        22 if streams => begun(WORDS).chunk(finish(0)).end(),
        23 if streams => {
            let whole = [role(), rest(0)].concat().replace('\n', "\r\n");
            whole
                .as_bytes()
                .chunks(7)
                .fold(Script::stream(), |script, piece| script.write(chunk(piece)))
                .end()
        }
        _ if streams => begun(WORDS).chunk(finish(0)).chunk(done()).end(),
        _ => Script::json(200, &crate::answers::answer(&answer_text())),
    }
}

/// The events from a word on.
fn rest(from: usize) -> String {
    (from..WORDS).map(|number| word(&format!("w{number} "))).collect::<String>() + &finish(0) + &done()
}

/// The program; ends when dropped.
struct Gateway {
    process: Child,
    public: std::net::SocketAddr,
    admin: std::net::SocketAddr,
    folder: tempfile::TempDir,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    fn start(upstreams: &[Upstream]) -> Self {
        let mut models = String::new();
        for (place, upstream) in upstreams.iter().enumerate() {
            let _ = writeln!(
                models,
                "  m{place}: {{base_url: \"{}\", price: {{input: 1, output: 2}}, breaker: {{open_for: 200ms}}, timeouts: {{response_headers: 1s, first_token: 1s, between_tokens: 1s}}}}",
                upstream.base_url()
            );
        }
        let _ = writeln!(
            models,
            "  patient: {{base_url: \"{}\", price: {{input: 1, output: 2}}}}",
            upstreams[0].base_url()
        );
        let route = "models: [m0, m1, m2], retry: {max: 2, backoff: 10ms, retry_after_max: 1s, budget: 1}";
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("soak.yaml");
        let config = format!(
            "listen: 127.0.0.1:0\nadmin_listen: 127.0.0.1:0\naccess_log: {ACCESS_LOG}\nmodels:\n{models}routes:\n  plain: {{{route}}}\n  \
             replayed: {{{route}, stream_recovery: replay}}\ntenants:\n  t: {{keys: [{{key: {KEY}}}], pool: [m0, m1, m2, patient], default_route: plain, \
             budget: {{usd: 1000000, per: total}}}}\n"
        );
        std::fs::write(&file, config).unwrap();
        let mut command = program(&["serve", "--config", file.to_str().unwrap()]);
        let mut process =
            command.env("RUST_LOG", "info,pointsman::http=error").stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut listening = |what: &str| {
            let line = lines.find_map(|line| Some(line.unwrap().split_once(what)?.1.trim().parse().unwrap()));
            line.expect("it listens")
        };
        let (public, admin) =
            (listening("listening on http://"), listening("operators' listener on http://"));
        // Read on, so that the program never waits for its log.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, public, admin, folder }
    }

    async fn metric(&self, name: &str) -> f64 {
        self.metric_of(name, &[]).await
    }

    /// The sum of a metric's series that have all of these labels.
    async fn metric_of(&self, name: &str, labels: &[&str]) -> f64 {
        let text = Client::connect(self.admin).await.last(get("/metrics")).await.text().await;
        values(&text, name, labels).iter().map(|value| value.parse::<f64>().unwrap()).sum()
    }

    /// How many lines of the access log tell of each outcome; no request has two.
    fn accounted(&self) -> BTreeMap<String, f64> {
        #[derive(serde::Deserialize)]
        struct Line {
            request_id: String,
            outcome: String,
        }
        let (mut ids, mut outcomes) = (HashSet::new(), BTreeMap::new());
        for line in BufReader::new(File::open(self.folder.path().join(ACCESS_LOG)).unwrap()).lines() {
            let Line { request_id, outcome } = serde_json::from_str(&line.unwrap()).unwrap();
            *outcomes.entry(outcome).or_insert(0.0) += 1.0;
            assert!(ids.insert(request_id), "a request with two lines");
        }
        outcomes
    }

    /// Waits until nothing is going on, and gives the resident memory in KiB and the tasks alive.
    async fn idle(&self) -> (f64, f64) {
        let begun = Instant::now();
        while self.metric("pointsman_requests_in_flight").await > 0.0
            || self.metric("pointsman_connections").await > 1.0
        {
            assert!(begun.elapsed() < Duration::from_secs(30), "requests or connections that never end");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        (resident.trim().trim_end_matches(" kB").parse().unwrap(), self.metric("pointsman_tasks").await)
    }
}

/// What clients got, counted.
#[derive(Default)]
struct Tally {
    whole: AtomicU64,
    honest: AtomicU64,
    left: AtomicU64,
}

impl Tally {
    fn all(&self) -> u64 {
        [&self.whole, &self.honest, &self.left].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

fn body(route: &str, stream: bool, prompt: &str) -> String {
    format!(r#"{{"model":"{route}","stream":{stream},"messages":[{{"role":"user","content":"{prompt}"}}]}}"#)
}

/// Whole, or an honest error; anything else is what this is for.
fn judge(status: u16, text: &str, stream: bool) -> bool {
    if status != 200 {
        assert!(text.contains(r#"{"error":{"message""#), "{status} without an error object: {text}");
        return false;
    }
    let contents: String = if stream {
        text.split("\"content\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect()
    } else {
        text.split("\"content\":\"")
            .nth(1)
            .and_then(|rest| rest.split('"').next())
            .unwrap_or_default()
            .to_owned()
    };
    let is_done = !stream || text.ends_with("data: [DONE]\n\n") || text.ends_with("data: [DONE]\r\n\r\n");
    if is_done {
        assert_eq!(contents, answer_text(), "a part that looks whole");
    } else {
        assert!(text.contains(r#"{"error":{"message""#), "cut without a word: {text}");
        assert!(answer_text().starts_with(&contents), "another answer: {contents}");
    }
    is_done
}

/// One request of a worker, of one of the kinds that clients come in.
async fn visit(public: std::net::SocketAddr, tally: &Tally) {
    let stream = fastrand::u32(..10) < 7;
    let body = body(if fastrand::bool() { "plain" } else { "replayed" }, stream, "hi");
    let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
    let kind = fastrand::u32(..100);
    if kind < 3 {
        // Writes slowly.
        let mut client = RawClient::connect(public).await;
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        for piece in format!("{head}{body}").as_bytes().chunks(40) {
            client.send(piece).await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let raw = client.rest().await;
        assert!(raw.starts_with("HTTP/1.1 "), "{raw}");
        count(if raw.starts_with("HTTP/1.1 200") { &tally.whole } else { &tally.honest });
        return;
    }
    let mut reply = Client::connect(public).await.last(post(PATH, body)).await;
    if kind < 8 {
        let _ = reply.frame().await;
        count(&tally.left);
        return;
    }
    let mut text = Vec::new();
    while let Some(frame) = reply.frame().await {
        text.extend_from_slice(&frame.unwrap());
        if kind < 11 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let is_whole = judge(reply.status.as_u16(), &String::from_utf8(text).unwrap(), stream);
    count(if is_whole { &tally.whole } else { &tally.honest });
}

async fn work(gateway: &Gateway, tally: &std::sync::Arc<Tally>, time: Duration) {
    let until = Instant::now() + time;
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (public, tally) = (gateway.public, std::sync::Arc::clone(tally));
        workers.spawn(async move {
            while Instant::now() < until {
                visit(public, &tally).await;
            }
        });
    }
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
}

/// All open at once, all brought to their ends, every byte looked at.
async fn many_streams(gateway: &Gateway, hold: &Gate, tally: &Tally) {
    let mut streams = JoinSet::new();
    for _ in 0..STREAMS {
        let public = gateway.public;
        streams.spawn(async move {
            let mut reply =
                Client::connect(public).await.last(post(PATH, body("patient", true, "hold"))).await;
            judge(reply.status.as_u16(), &reply.text().await, true)
        });
    }
    let begun = Instant::now();
    while gateway.metric("pointsman_requests_in_flight").await < STREAMS as f64 {
        assert!(begun.elapsed() < Duration::from_secs(60), "they never were all open at once");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    hold.open();
    while let Some(is_whole) = streams.join_next().await {
        assert!(is_whole.unwrap(), "nothing was wrong with these");
        tally.whole.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes: run it by tests/soak"]
async fn soak() {
    let minutes: f64 =
        std::env::var("SOAK_MINUTES").map_or(1.0, |text| text.parse().expect("SOAK_MINUTES is a number"));
    let time = Duration::from_secs_f64(minutes * 60.0);
    let hold = Gate::default();
    let mut upstreams = Vec::new();
    for _ in 0..3 {
        let hold = hold.clone();
        upstreams.push(Upstream::playing(move |request| play(&request, &hold)).await);
    }
    let gateway = Gateway::start(&upstreams);
    let tally = std::sync::Arc::new(Tally::default());
    many_streams(&gateway, &hold, &tally).await;
    work(&gateway, &tally, time.mul_f64(0.3)).await;
    let (warm_kib, warm_tasks) = gateway.idle().await;
    work(&gateway, &tally, time.mul_f64(0.7)).await;
    let (idle_kib, idle_tasks) = gateway.idle().await;

    let counted = gateway.metric("pointsman_requests_total").await;
    let [whole, honest, left] =
        [&tally.whole, &tally.honest, &tally.left].map(|count| count.load(Ordering::Relaxed));
    println!(
        "{minutes} minutes: {} requests, {whole} whole, {honest} honest errors, {left} left; idle memory {warm_kib} KiB after the \
         warm-up, {idle_kib} KiB at the end; {idle_tasks} tasks (after the warm-up {warm_tasks}); rescued streams {}",
        tally.all(),
        gateway.metric("pointsman_streams_rescued_total").await,
    );
    assert!((counted - tally.all() as f64).abs() < 0.5, "one outcome for each request: {counted}");
    let accounted = gateway.accounted();
    println!("lines of the access log: {accounted:?}");
    assert!((accounted.values().sum::<f64>() - counted).abs() < 0.5, "one line for each request");
    for (outcome, lines) in accounted {
        let counted =
            gateway.metric_of("pointsman_requests_total", &[&format!("outcome=\"{outcome}\"")]).await;
        assert!((lines - counted).abs() < 0.5, "{outcome}: {lines} lines, {counted} counted");
    }
    // The ledger has a row for each, nothing is held any more, and the budget knows of every cent.
    let ledger = gateway.folder.path().join("pointsman.db");
    let ledger = rusqlite::Connection::open(ledger).unwrap();
    let number = |query: &str| -> i64 { ledger.query_row(query, [], |row| row.get(0)).unwrap() };
    let rows = number("SELECT count(*) FROM requests");
    assert!((rows as f64 - counted).abs() < 0.5, "one row for each request: {rows}");
    assert_eq!(number("SELECT count(*) FROM holds"), 0);
    assert!(gateway.metric("pointsman_budget_held_usd").await == 0.0, "nothing is held");
    let spent = number("SELECT sum(cost_pico_usd) FROM usage") as f64 / 1e12;
    let booked = gateway.metric("pointsman_budget_spent_usd").await;
    assert!((spent - booked).abs() < 1e-9, "{spent} in the ledger, {booked} of the budget");
    println!("rows of the ledger: {rows}, which cost {spent} USD");
    // Connections to upstreams that nobody needs end by themselves.
    assert!(idle_tasks <= warm_tasks.max(300.0), "tasks that never end: {warm_tasks}, {idle_tasks}");
    assert!(idle_kib <= 1.05 * warm_kib, "memory grows: {warm_kib} KiB, {idle_kib} KiB");
    assert!(whole as f64 > 0.9 * (whole + honest) as f64, "most of this can be rescued");
}
