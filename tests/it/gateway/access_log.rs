//! One line for each request, whatever becomes of it.

use std::path::PathBuf;

use pointsman::gateway::reload;
use serde_json::{Value, json};

use crate::{
    answers::{answer, chat, chat_stream, done, finish, usage, word},
    client::{Client, get, post},
    stand::{Setup, Stand},
    upstream::{Gate, Script, Upstream},
};

struct Log {
    directory: tempfile::TempDir,
}

impl Log {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn top(&self, name: &str) -> String {
        format!("access_log: \"{}\"", self.path(name).display())
    }

    /// Its lines once there are so many.
    async fn lines(&self, stand: &Stand, name: &str, count: usize) -> Vec<Value> {
        let read = || std::fs::read_to_string(self.path(name)).unwrap_or_default();
        stand.eventually("the lines", || read().matches('\n').count() >= count).await;
        read().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[tokio::test]
async fn every_request_has_its_line() {
    let gate = Gate::default();
    let upstream = Upstream::start([
        Script::json(200, &answer("hi")),
        Script::events(&[word("a"), finish(0), usage(100, 10), done()]),
        Script::stream().chunk(word("ten chars!")).wait(&gate).end(),
        Script::json(500, "{}"),
        Script::stream().chunk(word("ten chars!")).reset(),
    ])
    .await;
    let log = Log::new();
    let stand = Setup::new()
        .model("m", &upstream.base_url(), "price: {input: 1, output: 2}")
        .top(&log.top("log"))
        .start()
        .await;
    let mut ids: Vec<String> = Vec::new();
    let mut keep = |id: Option<&str>| ids.push(id.unwrap().to_owned());
    for body in [chat("auto"), chat_stream("m")] {
        let mut reply = stand.chat(body).await;
        keep(reply.header("x-request-id"));
        reply.text().await;
    }
    let mut left = stand.chat(chat_stream("m")).await;
    keep(left.header("x-request-id"));
    left.until("chars").await;
    drop(left);
    upstream.abandoned(2).await;
    for body in [chat("m"), chat_stream("m"), chat("nonesuch"), "{".to_owned()] {
        let mut reply = stand.chat(body).await;
        keep(reply.header("x-request-id"));
        reply.text().await;
    }
    let stranger = http::Request::get("/v1/models").header("host", "x").header("x-request-id", "my-own");
    let reply = stand.client().await.last(stranger.body(bytes::Bytes::new().into()).unwrap()).await;
    keep(reply.header("x-request-id"));

    let lines = log.lines(&stand, "log", ids.len()).await;
    let of = |place: usize| {
        let of_it: Vec<&Value> = lines.iter().filter(|line| line["request_id"] == *ids[place]).collect();
        assert_eq!(of_it.len(), 1, "{place}: {lines:?}");
        let line = of_it[0];
        let calls = line["calls"].as_array().unwrap();
        let used: Vec<[&Value; 3]> = calls
            .iter()
            .map(|call| ["prompt_tokens", "completion_tokens", "estimated"].map(|key| &call[key]))
            .collect();
        (line["outcome"].as_str().unwrap(), line["code"].as_str(), json!(used))
    };
    assert_eq!(lines.len(), ids.len());
    assert_eq!(of(1), ("ok", None, json!([[100, 10, false]])));
    assert_eq!(of(2), ("cancelled", None, json!([[5, 3, true]])));
    assert_eq!(of(3), ("upstream_error", Some("upstream_failed"), json!([[null, null, null]])));
    assert_eq!(of(4), ("upstream_error", Some("upstream_truncated"), json!([[5, 3, true]])));
    assert_eq!(of(5), ("client_error", Some("model_not_found"), json!([])));
    assert_eq!(of(6), ("client_error", None, json!([])));
    assert_eq!(of(7), ("client_error", Some("invalid_api_key"), json!([])));
    let first = lines.iter().find(|line| line["request_id"] == *ids[1]).unwrap();
    assert_eq!(
        (&first["tenant"], &first["route"], &first["model"]),
        (&json!("t"), &json!("direct"), &json!("m"))
    );
    assert!((first["calls"][0]["cost_usd"].as_f64().unwrap() - 0.000_12).abs() < 1e-12, "{first}");
    assert!(first["answer_ms"].as_f64().unwrap() <= first["duration_ms"].as_f64().unwrap(), "{first}");
    let written = std::fs::read_to_string(log.path("log")).unwrap();
    assert!(!written.contains("\"hi\"") && !written.contains("tenant-key"), "no prompt, no key: {written}");
}

/// A log that was moved away is opened anew, as whoever rotates logs expects.
#[tokio::test]
async fn a_reload_opens_the_log_anew() {
    let upstream = Upstream::start([Script::json(200, &answer("x"))]).await;
    let log = Log::new();
    let setup = |name: &str| Setup::new().model("m", &upstream.base_url(), "").top(&log.top(name));
    let stand = setup("log").start_shipped().await;
    stand.chat(chat("m")).await.text().await;
    log.lines(&stand, "log", 1).await;
    std::fs::rename(log.path("log"), log.path("log.1")).unwrap();
    reload(&stand.app, &setup("log").config()).unwrap();
    stand.chat(chat("m")).await.text().await;
    assert_eq!(log.lines(&stand, "log", 1).await.len(), 1);
    assert_eq!(log.lines(&stand, "log.1", 1).await.len(), 1);

    let error = reload(&stand.app, &setup("nonesuch/log").config()).unwrap_err().to_string();
    assert!(error.contains("access_log") && error.contains("nonesuch/log"), "{error}");
    let mut client = stand.client().await;
    client.send(post("/v1/chat/completions", chat("m"))).await.text().await;
    assert_eq!(log.lines(&stand, "log", 2).await.len(), 2, "the log in force is kept");
    let metrics = Client::connect(stand.admin).await.last(get("/metrics")).await.text().await;
    assert!(metrics.contains("pointsman_access_log_lost_total 0\n"), "{metrics}");
}
