//! The metrics: names that dashboards are built on, and labels that no client can make.

mod documented;
mod families;

use crate::{
    answers::{answer, chat, chat_stream, done, finish, usage, word},
    client::{Client, get},
    router::Scripted,
    stand::{Setup, Stand},
    upstream::{Script, Upstream},
};

async fn upstream() -> Upstream {
    Upstream::start([
        Script::json(200, &answer("hi")),
        Script::events(&[word("a"), finish(0), usage(100, 10), done()]),
    ])
    .await
}

async fn stand(upstream: &Upstream) -> Stand {
    Setup::new()
        .model(
            "m",
            &upstream.base_url(),
            "price: {input: 2.5, output: 10}, breaker: {failures: 1000, calls_min: 1000}",
        )
        .model("unused", "http://127.0.0.1:9/v1", "")
        .routes("{auto: {router: mf, threshold: 0.5}}")
        .tenants(
            "{t: {keys: [{key: tenant-key}], pool: [m], limits: {rpm: 1000, concurrency: 1000}}, \
              other: {keys: [{key: other-key}], pool: [unused, m]}}",
        )
        .engine("mf", Scripted::new("mf", &[("m", 0.0)]).engine())
        .start()
        .await
}

/// A series: its metric and its labels in their order.
fn series(line: &str) -> (String, Vec<(String, String)>) {
    let (series, _) = line.rsplit_once(' ').unwrap();
    let (name, labels) =
        series.strip_suffix('}').and_then(|text| text.split_once('{')).unwrap_or((series, ""));
    let labels = labels.split_terminator("\",").filter_map(|label| label.split_once("=\""));
    (
        name.to_owned(),
        labels.map(|(key, value)| (key.to_owned(), value.trim_end_matches('"').to_owned())).collect(),
    )
}

#[tokio::test]
async fn outcomes_and_reasons_are_there_before_the_first_request() {
    let upstream = upstream().await;
    let stand = stand(&upstream).await;
    let text = stand.metrics();
    for (tenant, model) in [("t", "m"), ("other", "m"), ("other", "unused")] {
        for outcome in ["ok", "client_error", "limited", "gateway_error", "upstream_error", "cancelled"] {
            let line = format!(
                r#"pointsman_requests_total{{model="{model}",outcome="{outcome}",route="auto",tenant="{tenant}"}} 0"#
            );
            assert!(text.contains(&line), "{line}");
        }
    }
    for limit in ["requests", "concurrency"] {
        assert!(
            text.contains(&format!(r#"pointsman_limited_total{{limit="{limit}",tenant="t"}} 0"#)),
            "{limit}"
        );
    }
    assert!(!text.contains(r#"limit="tokens""#), "it has no such limit");
    for reason in ["timeout", "overloaded", "error", "panic", "unrated"] {
        assert!(
            text.contains(&format!(
                r#"pointsman_fail_open_total{{reason="{reason}",route="auto",router="mf"}} 0"#
            )),
            "{reason}"
        );
    }
}

#[tokio::test]
async fn tokens_and_cost_are_what_upstreams_reported() {
    let upstream = upstream().await;
    let stand = stand(&upstream).await;
    stand.chat(chat("auto")).await.text().await;
    stand.chat(chat_stream("m")).await.text().await;
    stand.outcomes().await;
    let labels = |kind: &'static str| ["tenant=\"t\"", "model=\"m\"", kind];
    assert_eq!(stand.metric("pointsman_tokens_total", &labels("kind=\"prompt\"")), 107);
    assert_eq!(stand.metric("pointsman_tokens_total", &labels("kind=\"completion\"")), 13);
    let costs = stand.values("pointsman_cost_usd_total", &["tenant=\"t\"", "model=\"m\""]);
    let cost: f64 = costs[0].parse().unwrap();
    let expected = (107.0 * 2.5 + 13.0 * 10.0) / 1e6;
    assert!((cost - expected).abs() < 1e-12, "{cost} {expected}");
    for histogram in ["upstream_first_byte_seconds", "upstream_seconds"] {
        assert_eq!(stand.metric(&format!("pointsman_{histogram}_count"), &["model=\"m\""]), 2);
    }
}

/// Names out of requests would let any client make series without end.
#[tokio::test]
async fn no_client_can_make_a_series() {
    let upstream = upstream().await;
    let stand = stand(&upstream).await;
    let keys = |text: &str| {
        text.lines()
            .filter(|line| !line.starts_with('#'))
            .map(series)
            .collect::<std::collections::BTreeSet<_>>()
    };
    let visit = async |round: u32| {
        stand.chat(chat("auto")).await.text().await;
        for model in [
            format!("made-up-{round}"),
            format!("router-mf-0.{round}"),
            format!("router-made-{round}-0.5"),
            "router-mf-7".into(),
        ] {
            stand.chat(chat(&model)).await.text().await;
        }
        stand.get(&format!("/v1/made-up-{round}")).await.text().await;
        stand.post("/v1/embeddings", chat(&format!("made-up-{round}"))).await.text().await;
        stand.outcomes().await;
        keys(&stand.metrics())
    };
    let first = visit(1).await;
    for round in 2..6 {
        assert_eq!(visit(round).await, first);
    }
    assert!(!stand.metrics().contains("made"), "{}", stand.metrics());
}

#[tokio::test]
async fn each_face_shows_what_is_its_own() {
    let upstream = upstream().await;
    let stand = stand(&upstream).await;
    let on_admin =
        async |path: &str| Client::connect(stand.admin).await.last(get(path)).await.status.as_u16();
    for (path, admin, public) in [
        ("/metrics", 200, 404),
        ("/health/live", 200, 200),
        ("/health/ready", 200, 200),
        ("/v1/models", 404, 200),
    ] {
        assert_eq!(on_admin(path).await, admin, "{path}");
        assert_eq!(stand.get(path).await.status, public, "{path}");
    }
    // A scraper at the wrong door is not told that its key is wrong.
    let mut without_key = get("/metrics");
    without_key.headers_mut().remove("authorization");
    let mut reply = stand.client().await.last(without_key).await;
    assert_eq!(reply.status, 404);
    reply.error().await;
}
