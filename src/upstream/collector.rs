//! The way to a collector of traces: OpenTelemetry's interface for clients, over ours.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use http::{HeaderName, HeaderValue};
use http_body_util::{BodyExt, Limited};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use tokio::{runtime::Handle, time::timeout};

use super::{
    body::SegmentsBody,
    client::{self, Clients},
    tls::TlsError,
};
use crate::{
    config::{ModelConfig, TracesConfig},
    telemetry::metrics::Metrics,
};

/// How long a collector may take.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// What it says is of no use beyond that.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A way to a collector. It is used from a thread that is none of the runtime's.
#[derive(Clone)]
pub struct Collector {
    client: client::HttpClient,
    headers: Vec<(HeaderName, HeaderValue)>,
    runtime: Handle,
    metrics: Arc<Metrics>,
    /// It was told that it takes nothing.
    is_told: Arc<AtomicBool>,
}

impl fmt::Debug for Collector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Collector")
    }
}

impl Collector {
    /// A way to one. Must be called within a runtime.
    ///
    /// # Errors
    /// When TLS cannot be used.
    pub fn prepare(
        config: &TracesConfig,
        clients: &Clients,
        metrics: Arc<Metrics>,
    ) -> Result<Self, TlsError> {
        let client = clients.client(&ModelConfig::new("traces", config.endpoint.clone()))?;
        metrics.seed_traces();
        Ok(Self {
            client,
            headers: config.headers.clone(),
            runtime: Handle::current(),
            metrics,
            is_told: Arc::default(),
        })
    }

    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = request.map(|bytes| SegmentsBody([bytes].into()));
        request.headers_mut().extend(self.headers.iter().cloned());
        let answer = async {
            let (head, body) = self.client.request(request).await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        let answer = timeout(ANSWER_MAX, answer).await.map_err(HttpError::from).flatten();
        let is_taken = answer.as_ref().is_ok_and(|answer| answer.status().is_success());
        self.note(is_taken, answer.as_ref().map(|answer| answer.status().as_u16()).ok());
        answer
    }

    /// Told once, until it takes spans again.
    fn note(&self, is_taken: bool, status: Option<u16>) {
        let result = if is_taken { "ok" } else { "error" };
        self.metrics.trace_exports.with_label_values(&[result]).inc();
        if self.is_told.swap(!is_taken, Ordering::Relaxed) == is_taken {
            match (is_taken, status) {
                (true, _) => tracing::info!("traces: the collector takes spans again"),
                (false, Some(status)) => {
                    tracing::warn!("traces: the collector refuses spans with status {status}");
                }
                (false, None) => tracing::warn!("traces: the collector cannot be reached"),
            }
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // Its runtime is not the caller's.
        let sent = self.runtime.spawn(self.clone().send(request));
        sent.await?
    }
}
