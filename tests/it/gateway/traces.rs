//! Spans, as a collector gets them: one trace through client, gateway and upstream.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, status::StatusCode},
};
use prost::Message;

use crate::{
    answers::{answer, chat, done, finish, usage, word},
    client::post,
    stand::{Setup, Stand},
    upstream::{PATIENCE, Received, Script, Upstream},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// A collector that writes down what it gets.
struct Collector {
    server: Upstream,
    got: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
}

impl Collector {
    async fn start(status: u16) -> Self {
        let got = Arc::<Mutex<Vec<_>>>::default();
        let written = Arc::clone(&got);
        let server = Upstream::playing(move |received| {
            assert_eq!(received.target(), "/v1/traces");
            assert_eq!(received.header("content-type"), Some("application/x-protobuf"));
            assert_eq!(received.header("x-team"), Some("search"));
            written.lock().unwrap().push(ExportTraceServiceRequest::decode(&*received.body).unwrap());
            Script::json(status, "{}")
        })
        .await;
        Self { server, got }
    }

    fn endpoint(&self) -> String {
        self.server.base_url().strip_suffix("/v1").unwrap().to_owned()
    }

    fn spans(&self) -> Vec<Span> {
        let got = self.got.lock().unwrap();
        let scopes = got.iter().flat_map(|request| &request.resource_spans).flat_map(|of| &of.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// Once there are so many.
    async fn eventually(&self, count: usize) -> Vec<Span> {
        let begun = Instant::now();
        while self.spans().len() < count {
            assert!(begun.elapsed() < PATIENCE, "{} of {count} spans", self.spans().len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut spans = self.spans();
        assert_eq!(spans.len(), count);
        spans.sort_by_key(|span| span.start_time_unix_nano);
        spans
    }
}

async fn stand(collector: &Collector, sample: f64, upstream: &Upstream) -> Stand {
    Setup::new()
        .top(&format!(
            "traces: {{endpoint: \"{}\", sample: {sample}, headers: {{x-team: search}}, service: front}}",
            collector.endpoint()
        ))
        .model("strong", &upstream.base_url(), "rated_as: gpt-4-1106-preview, price: {input: 10, output: 30}")
        .model("weak", &upstream.base_url(), "rated_as: mixtral-8x7b-instruct-v0.1, price: {input: 1, output: 1}")
        .model("dead", "http://127.0.0.1:9/v1", "")
        .routes(
            "{auto: {router: mf, threshold: 0, timeout: 10s}, chain: {models: [dead, weak], retry: {max: 1, backoff: 1ms}}}",
        )
        .start_shipped()
        .await
}

fn whole(received: &Received) -> Script {
    if received.text().contains("\"stream\":true") {
        return Script::events(&[word("a"), word("b"), finish(0), usage(100, 10), done()]);
    }
    Script::json(200, &answer("hi"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        Value::DoubleValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    let one = |attribute: &'_ KeyValue| text(attribute.value.as_ref().unwrap().value.as_ref().unwrap());
    attributes.iter().map(|attribute| (attribute.key.as_str(), one(attribute))).collect()
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

async fn ask(stand: &Stand, body: String, flags: &str) -> String {
    let mut request = post("/v1/chat/completions", body);
    let parent = format!("00-{TRACE}-{PARENT}-{flags}");
    request.headers_mut().insert("traceparent", parent.parse().unwrap());
    request.headers_mut().insert("tracestate", "vendor=1".parse().unwrap());
    let mut reply = stand.client().await.last(request).await;
    assert_eq!(reply.status, 200);
    reply.text().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_trace_goes_through_the_gateway_to_the_upstream() {
    let sent = Arc::<Mutex<Vec<Vec<String>>>>::default();
    let heard = Arc::clone(&sent);
    let upstream = Upstream::playing(move |received| {
        let one = |name: &str| received.all(name).iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        heard.lock().unwrap().push([one("traceparent"), one("tracestate")].concat());
        whole(&received)
    })
    .await;
    let collector = Collector::start(200).await;
    let stand = stand(&collector, 0.0, &upstream).await;
    // Sampled, since its client has decided so.
    ask(&stand, chat("auto"), "01").await;
    let spans = collector.eventually(3).await;
    let [request, decision, call] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(
        (&*request.name, &*decision.name, &*call.name),
        ("POST /v1/chat/completions", "route mf", "chat strong")
    );
    for span in &spans {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano && !is_error(span), "{span:?}");
        assert!(span.start_time_unix_nano >= request.start_time_unix_nano, "{span:?}");
    }
    assert_eq!(hex(&request.parent_span_id), PARENT);
    assert_eq!((&decision.parent_span_id, &call.parent_span_id), (&request.span_id, &request.span_id));
    assert_eq!((request.kind, call.kind), (2, 3), "a server's, and a client's");
    assert_eq!(
        *sent.lock().unwrap(),
        [[format!("00-{TRACE}-{}-01", hex(&call.span_id)), "vendor=1".to_owned()]]
    );
    let of_request = texts(&request.attributes);
    assert_eq!(of_request["pointsman.tenant"], "t");
    assert_eq!((&*of_request["pointsman.route"], &*of_request["pointsman.outcome"]), ("auto", "ok"));
    assert_eq!(
        (&*of_request["http.response.status_code"], &*of_request["gen_ai.response.model"]),
        ("200", "strong")
    );
    let of_call = texts(&call.attributes);
    assert_eq!((&*of_call["gen_ai.operation.name"], &*of_call["gen_ai.request.model"]), ("chat", "strong"));
    assert_eq!((&*of_call["gen_ai.usage.input_tokens"], &*of_call["gen_ai.usage.output_tokens"]), ("7", "3"));
    let resource = collector.got.lock().unwrap()[0].resource_spans[0].resource.clone().unwrap();
    assert_eq!(texts(&resource.attributes)["service.name"], "front");
    assert!(!format!("{spans:?}").contains("Hello"), "no text of a prompt");
    stand
        .eventually("a batch", || stand.metric("pointsman_trace_exports_total", &["result=\"ok\""]) > 0)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_has_a_span_and_a_failed_one_says_why() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let collector = Collector::start(200).await;
    let stand = stand(&collector, 1.0, &upstream).await;
    let mut body: serde_json::Value = serde_json::from_str(&chat("chain")).unwrap();
    body["stream"] = serde_json::json!(true);
    let mut reply = stand.chat(body.to_string()).await;
    assert!(reply.text().await.ends_with("data: [DONE]\n\n"));
    // The decision of a route without a router is one, too.
    let spans = collector.eventually(4).await;
    let named =
        |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{spans:?}"));
    let (request, dead, weak) = (named("POST /v1/chat/completions"), named("chat dead"), named("chat weak"));
    assert!(request.parent_span_id.is_empty() && !is_error(request), "a trace of its own");
    assert_eq!(named("route static").parent_span_id, request.span_id);
    assert!(is_error(dead) && !is_error(weak));
    assert_eq!(texts(&dead.attributes)["error.type"], "upstream_unreachable");
    assert!(dead.end_time_unix_nano <= weak.end_time_unix_nano);
    assert!(texts(&weak.attributes).contains_key("gen_ai.server.time_to_first_token"), "{weak:?}");
    // One that fails as a whole.
    let mut reply = stand.chat(chat("dead")).await;
    assert_ne!(reply.status, 200);
    reply.text().await;
    // It is asked three times.
    let spans = collector.eventually(8).await;
    let failed: Vec<&Span> = spans.iter().filter(|span| span.trace_id != request.trace_id).collect();
    assert!(failed.len() == 4 && failed.iter().all(|span| is_error(span)), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_sampled_is_not_sent_and_passed_on_as_such() {
    let sent = Arc::<Mutex<Vec<String>>>::default();
    let heard = Arc::clone(&sent);
    let upstream = Upstream::playing(move |received| {
        heard.lock().unwrap().extend(received.header("traceparent").map(str::to_owned));
        whole(&received)
    })
    .await;
    let collector = Collector::start(200).await;
    let stand = stand(&collector, 0.0, &upstream).await;
    ask(&stand, chat("weak"), "00").await;
    stand.chat(chat("weak")).await.text().await;
    ask(&stand, chat("weak"), "01").await;
    let spans = collector.eventually(2).await;
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE), "{spans:?}");
    let sent = sent.lock().unwrap().clone();
    assert!(sent[0].starts_with(&format!("00-{TRACE}-")) && sent[0].ends_with("-00"), "{sent:?}");
    assert!(sent[1].ends_with("-00") && !sent[1].contains(TRACE), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_refuses_or_is_not_there_harms_nobody() {
    let upstream = Upstream::playing(|received| whole(&received)).await;
    let collector = Collector::start(503).await;
    let stand = stand(&collector, 1.0, &upstream).await;
    for _ in 0..20 {
        ask(&stand, chat("weak"), "01").await;
    }
    stand
        .eventually("a refused batch", || {
            stand.metric("pointsman_trace_exports_total", &["result=\"error\""]) > 0
        })
        .await;
    assert_eq!(stand.outcomes().await["ok"], 20);
}

/// Off, headers go through as they are.
#[tokio::test]
async fn without_the_key_a_clients_headers_pass_as_they_came() {
    let upstream = Upstream::start([Script::json(200, &answer("hi"))]).await;
    let stand = Setup::new().model("weak", &upstream.base_url(), "").start().await;
    ask(&stand, chat("weak"), "01").await;
    let request = upstream.request(0).await;
    assert_eq!(request.header("traceparent"), Some(&*format!("00-{TRACE}-{PARENT}-01")));
}
