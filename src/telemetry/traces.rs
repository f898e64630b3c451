//! Spans of requests, as OpenTelemetry has them: one for the request, and in it one for the decision and one for each call of a model.
//!
//! A client's own trace (W3C `traceparent`) is gone on with, and passed on to upstreams. No text of a prompt or an answer is in a span.

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, HeaderValue};
use opentelemetry::{
    Context, KeyValue, StringValue, Value,
    propagation::TextMapPropagator,
    trace::{SpanKind, Status, TraceContextExt, Tracer, TracerProvider},
};
use opentelemetry_http::{HeaderExtractor, HeaderInjector, HttpClient};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider},
};

use super::{account::Event, bill::Used, metrics::NONE, outcome::Outcome};
use crate::config::TracesConfig;

/// How often spans are sent.
const INTERVAL: Duration = Duration::from_secs(1);

/// How long the end of the process waits for those that are left.
const END_MAX: Duration = Duration::from_secs(5);

/// Where spans are made, and sent from.
#[derive(Clone)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl fmt::Debug for Traces {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Traces")
    }
}

/// The span of a request. It ends when the last of those who tell of it is gone.
#[derive(Debug, Clone)]
pub struct RequestSpan(Arc<InRequest>);

#[derive(Debug)]
struct InRequest {
    tracer: SdkTracer,
    context: Context,
    /// When the request was over.
    over: Mutex<Option<SystemTime>>,
}

/// The span of a call of a model.
#[derive(Debug)]
pub struct CallSpan(Context);

impl Traces {
    /// Sends spans by this client, from a thread of its own.
    ///
    /// # Errors
    /// When the collector's address cannot be used.
    pub fn start(
        config: &TracesConfig,
        client: impl HttpClient + 'static,
    ) -> Result<Self, ExporterBuildError> {
        let endpoint = match config.endpoint.path() {
            "" => format!("{}/v1/traces", config.endpoint),
            _ => config.endpoint.to_string(),
        };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_endpoint(endpoint)
            .with_protocol(opentelemetry_otlp::Protocol::HttpBinary)
            .build()?;
        let batches = BatchConfigBuilder::default().with_scheduled_delay(INTERVAL).build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.sample.get())));
        let resource = Resource::builder()
            .with_service_name(config.service.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(sampler)
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("pointsman");
        Ok(Self { provider, tracer })
    }

    /// The span of a request that has arrived: in its client's trace, if it has one.
    #[must_use]
    pub fn request(&self, path: &'static str, headers: &HeaderMap, request_id: &str) -> RequestSpan {
        let parent =
            TraceContextPropagator::new().extract_with_context(&Context::new(), &HeaderExtractor(headers));
        let attributes = vec![
            KeyValue::new("http.request.method", "POST"),
            KeyValue::new("http.route", path),
            KeyValue::new("pointsman.request_id", request_id.to_owned()),
        ];
        let builder = self.tracer.span_builder(format!("POST {path}"));
        let builder = builder.with_kind(SpanKind::Server).with_attributes(attributes);
        let span = self.tracer.build_with_context(builder, &parent);
        RequestSpan(Arc::new(InRequest {
            tracer: self.tracer.clone(),
            context: parent.with_span(span),
            over: Mutex::new(None),
        }))
    }

    /// Sends what is left. Waits for it, on this thread.
    pub fn end(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(END_MAX) {
            tracing::warn!("traces: the last spans could not be sent: {error}");
        }
    }
}

impl RequestSpan {
    /// A call of a model begins.
    pub(super) fn call(&self, operation: &'static str, model: &str) -> CallSpan {
        let attributes = vec![
            KeyValue::new("gen_ai.operation.name", operation),
            KeyValue::new("gen_ai.provider.name", "openai"),
            KeyValue::new("gen_ai.request.model", model.to_owned()),
        ];
        let builder = self.0.tracer.span_builder(format!("{operation} {model}"));
        let builder = builder.with_kind(SpanKind::Client).with_attributes(attributes);
        let span = self.0.tracer.build_with_context(builder, &self.0.context);
        CallSpan(self.0.context.with_span(span))
    }

    /// A decision was made just now, and took so long.
    pub(super) fn decided(&self, router: &'static str, took: Duration, scored: &[(Arc<str>, f64)]) {
        if !self.0.context.span().is_recording() {
            return;
        }
        let now = SystemTime::now();
        let began = now.checked_sub(took).unwrap_or(now);
        let builder = self.0.tracer.span_builder(format!("route {router}"));
        let names: Vec<StringValue> = scored.iter().map(|(name, _)| name.to_string().into()).collect();
        let skills: Vec<f64> = scored.iter().map(|&(_, skill)| skill).collect();
        let attributes = vec![
            KeyValue::new("pointsman.router", router),
            KeyValue::new("pointsman.candidates", Value::Array(names.into())),
            KeyValue::new("pointsman.skills", Value::Array(skills.into())),
        ];
        let builder =
            builder.with_kind(SpanKind::Internal).with_start_time(began).with_attributes(attributes);
        let span = self.0.tracer.build_with_context(builder, &self.0.context);
        self.0.context.with_span(span).span().end_with_timestamp(now);
    }

    /// The status that the client gets.
    pub fn answered(&self, status: u16) {
        self.0.context.span().set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
    }

    /// The request is over.
    pub(super) fn ended(&self, event: &Event, operation: &'static str) {
        let span = self.0.context.span();
        if !span.is_recording() {
            return;
        }
        let text = |name: &Option<Arc<str>>| name.as_deref().unwrap_or(NONE).to_owned();
        span.set_attributes([
            KeyValue::new("gen_ai.operation.name", operation),
            KeyValue::new("gen_ai.response.model", text(&event.model)),
            KeyValue::new("pointsman.tenant", text(&event.tenant)),
            KeyValue::new("pointsman.route", text(&event.route)),
            KeyValue::new("pointsman.outcome", event.outcome.label()),
        ]);
        if event.outcome != Outcome::Ok {
            let code = event.code.unwrap_or_else(|| event.outcome.label());
            span.set_attribute(KeyValue::new("error.type", code));
            span.set_status(Status::error(code));
        }
        *self.0.over.lock().unwrap_or_else(PoisonError::into_inner) = Some(SystemTime::now());
    }
}

impl Drop for InRequest {
    fn drop(&mut self) {
        let over = self.over.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.context.span().end_with_timestamp(over.unwrap_or_else(SystemTime::now));
    }
}

impl CallSpan {
    /// The headers of a client's request with this call's place in the trace in them.
    #[must_use]
    pub fn headers<'a>(&self, client: &'a HeaderMap) -> Cow<'a, HeaderMap> {
        let mut headers = client.clone();
        TraceContextPropagator::new().inject_context(&self.0, &mut HeaderInjector(&mut headers));
        if headers.get("tracestate").is_some_and(HeaderValue::is_empty) {
            headers.remove("tracestate");
        }
        Cow::Owned(headers)
    }

    /// The call is over; with the code of what went wrong, and what it has used.
    pub(super) fn end(&self, fault: Option<&'static str>, used: Option<Used>, first_token: Option<Duration>) {
        let span = self.0.span();
        if let Some(Used { usage, is_estimate: false, .. }) = used {
            let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
            span.set_attribute(KeyValue::new("gen_ai.usage.input_tokens", count(usage.prompt_tokens)));
            span.set_attribute(KeyValue::new("gen_ai.usage.output_tokens", count(usage.completion_tokens)));
        }
        if let Some(first_token) = first_token {
            let seconds = first_token.as_secs_f64();
            span.set_attribute(KeyValue::new("gen_ai.server.time_to_first_token", seconds));
        }
        if let Some(fault) = fault {
            span.set_attribute(KeyValue::new("error.type", fault));
            span.set_status(Status::error(fault));
        }
        span.end();
    }
}
