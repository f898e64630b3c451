//! A model as the gateway calls it.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::{
    address::Address,
    body::SegmentsBody,
    check::Check,
    client::{Clients, HttpClient},
    egress::ConnectTimeout,
    headers,
    tls::TlsError,
};
use crate::{
    config::{Continuation, HttpBaseUrl, ModelConfig, Price, ResponseModel, Timeouts, UsageMode},
    openai::{
        endpoint::Endpoint,
        request,
        rewrite::{Partial, Segments},
    },
    resilience::{
        breaker::{BreakerRules, Position},
        health::{Admission, CheckRules, LeftAlone},
    },
    secret::{Redactor, Secret},
};

/// A model of the configuration, ready to be called.
#[derive(Debug)]
pub struct Model {
    /// Its name in pools.
    pub name: Arc<str>,
    /// What it is called upstream and where that is, and how its answers are named: all that makes it answer as it does.
    pub origin: Arc<str>,
    /// What its tokens cost.
    pub price: Option<Price>,
    /// How long it may take for each part of an answer.
    pub timeouts: Timeouts,
    /// The JSON text that takes the place of the upstream's `model` in answers.
    pub answer_model: Option<Bytes>,
    /// Takes our keys out of what the upstream says.
    pub redactor: Arc<Redactor>,
    upstream_model: String,
    ask_usage: bool,
    client: HttpClient,
    breaker: BreakerRules,
    check: Option<CheckRules>,
    continuation: Continuation,
    /// At least one.
    addresses: Vec<Address>,
}

/// A call that was let pass, and where it goes.
#[derive(Debug)]
pub struct Passage {
    /// The place of the address among the model's.
    pub address: usize,
    /// Its part in the upstream's work.
    pub admission: Admission,
}

/// Why a model cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// Its TLS material cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Its key cannot stand in a header.
    #[error("the api_key holds characters that a header cannot carry")]
    Key,
    /// Its address, with a path appended, is no URL.
    #[error("base_url and query do not make a URL")]
    Url,
}

/// Why a call brought no answer's head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFault {
    /// No connection.
    #[error("the upstream cannot be reached")]
    Connect,
    /// No connection in time.
    #[error("the upstream could not be connected to in time")]
    ConnectTimeout,
    /// No answer's head in time.
    #[error("the upstream did not begin to answer in time")]
    HeadersTimeout,
    /// No answer's head before the request's own time was over.
    #[error("the request took longer than it may")]
    RequestTimeout,
    /// It says that it has not begun with the call, and will not.
    #[error("the upstream did not take the request")]
    Unprocessed,
    /// The connection broke before the answer's head.
    #[error("the upstream closed the connection before answering")]
    Broken,
}

impl SendFault {
    /// A stable word for metrics and for the error object's `code`.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Connect => "upstream_unreachable",
            Self::ConnectTimeout => "upstream_connect_timeout",
            Self::HeadersTimeout => "upstream_headers_timeout",
            Self::RequestTimeout => "upstream_request_timeout",
            Self::Unprocessed => "upstream_unprocessed",
            Self::Broken => "upstream_closed",
        }
    }
}

impl Model {
    /// Prepares a model.
    ///
    /// # Errors
    /// When its key, address or TLS material cannot be used.
    pub fn prepare(name: &str, config: &ModelConfig, clients: &Clients) -> Result<Self, ModelError> {
        let address = |base_url: &HttpBaseUrl| Address::prepare(config, base_url, clients);
        Ok(Self {
            name: name.into(),
            origin: format!("{} {:?} {:?}", config.upstream_model, config.base_urls, config.response_model)
                .into(),
            price: config.price,
            timeouts: config.timeouts,
            continuation: config.continuation,
            answer_model: match config.response_model {
                ResponseModel::Pool => Some(Bytes::from(serde_json::Value::from(name).to_string())),
                ResponseModel::Upstream => None,
            },
            redactor: Arc::new(Redactor::new(secrets(config))),
            upstream_model: config.upstream_model.clone(),
            ask_usage: config.usage == UsageMode::Request,
            client: clients.client(config)?,
            breaker: config.breaker,
            check: config.health_check.clone(),
            addresses: config.base_urls.iter().map(address).collect::<Result<_, _>>()?,
        })
    }

    /// A request as it goes to this model; with `written`, as one to go on from there.
    #[must_use]
    pub fn body(&self, endpoint: Endpoint, request: &request::Request, written: Option<&str>) -> Segments {
        let ask_usage = self.ask_usage && endpoint.has_stream_options();
        let partial = match (written, self.continuation) {
            (None, _) | (_, Continuation::None) => None,
            (Some(text), Continuation::Prefill) => Some(Partial { text, vllm: false }),
            (Some(text), Continuation::Vllm) => Some(Partial { text, vllm: true }),
        };
        request.forward(&self.upstream_model, ask_usage, partial)
    }

    /// It can be given an answer to go on with.
    #[must_use]
    pub fn continues(&self) -> bool {
        self.continuation != Continuation::None
    }

    /// Lets a call pass, to one of its addresses: of two that lots name the less loaded, and those that `failed` only where no
    /// other takes calls.
    ///
    /// # Errors
    /// When all are to be left alone: why the first is, and until when.
    pub fn admit(&self, now: Instant, failed: impl Fn(usize) -> bool) -> Result<Passage, LeftAlone> {
        let mut order: Vec<usize> = (0..self.addresses.len()).collect();
        if order.len() > 1 {
            fastrand::shuffle(&mut order);
            let load =
                |place: usize| self.addresses.get(place).map_or(0, |address| address.health.in_flight());
            if let [one, other, ..] = order[..]
                && load(other) < load(one)
            {
                order.swap(0, 1);
            }
            order.sort_by_key(|&place| failed(place));
        }
        let mut refused = None;
        for address in order {
            match self.addresses.get(address).map(|address| address.health.admit(&self.breaker, now)) {
                Some(Ok(admission)) => return Ok(Passage { address, admission }),
                Some(Err(left_alone)) => refused = refused.or(Some(left_alone)),
                None => {}
            }
        }
        Err(refused.unwrap_or(LeftAlone::Open { until: now }))
    }

    /// A call of it was given up after so long, before its answer had begun.
    pub fn note_late(&self, is_stream: bool, after: Duration) {
        self.addresses.iter().for_each(|address| address.health.answered(is_stream, after));
    }

    /// The checks of its addresses.
    pub fn checks(&self) -> impl Iterator<Item = Check> {
        let check = |address: &Address| {
            Some(Check {
                rules: self.check.clone()?,
                uri: address.check_uri.clone()?,
                headers: address.headers.clone(),
                client: self.client.clone(),
                health: Arc::clone(&address.health),
            })
        };
        self.addresses.iter().filter_map(check)
    }

    /// How its breaker stands: that of its best address.
    #[must_use]
    pub fn breaker(&self, now: Instant) -> Position {
        let positions = self.addresses.iter().map(|address| address.health.position(now));
        positions.min().unwrap_or(Position::Closed)
    }

    /// Sends a request and waits for the head of the answer. Dropping the future cancels the call.
    ///
    /// # Errors
    /// When there is no connection, or no head in time.
    pub async fn send(
        &self,
        address: usize,
        endpoint: Endpoint,
        client_headers: &HeaderMap,
        body: Segments,
        deadline: Instant,
    ) -> Result<Response<Incoming>, SendFault> {
        let Some(address) = self.addresses.get(address) else { return Err(SendFault::Connect) };
        let headers_at = Instant::now() + self.timeouts.response_headers;
        let mut call = Request::new(SegmentsBody(body));
        *call.method_mut() = Method::POST;
        *call.uri_mut() = address.uris.of(endpoint).clone();
        *call.headers_mut() = headers::for_upstream(client_headers);
        for (name, value) in &address.headers {
            call.headers_mut().insert(name, value.clone());
        }
        match timeout_at(headers_at.min(deadline), self.client.request(call)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => {
                // The cause stays here: a client is told that the call failed, not how the network looks.
                tracing::info!(model = %self.name, error = %ErrorChain(&error), "upstream call failed");
                Err(fault_of(&error))
            }
            Err(_) if deadline <= headers_at => Err(SendFault::RequestTimeout),
            Err(_) => Err(SendFault::HeadersTimeout),
        }
    }
}

/// What a call's error says of the call.
fn fault_of(error: &hyper_util::client::legacy::Error) -> SendFault {
    let causes = || std::iter::successors(error.source(), |cause| Error::source(*cause));
    if error.is_connect() {
        let took_too_long = |cause: &(dyn Error + 'static)| {
            cause.is::<ConnectTimeout>()
                || cause.downcast_ref::<io::Error>().is_some_and(|of| of.kind() == io::ErrorKind::TimedOut)
        };
        return if causes().any(took_too_long) { SendFault::ConnectTimeout } else { SendFault::Connect };
    }
    // RFC 9113, 8.7: a refused stream, and one above the last that a GOAWAY names, were not processed.
    let is_unprocessed = |cause: &h2::Error| {
        (cause.is_reset() && cause.is_remote() && cause.reason() == Some(h2::Reason::REFUSED_STREAM))
            || (cause.is_go_away() && cause.is_remote())
    };
    let unprocessed = causes().filter_map(|cause| cause.downcast_ref()).any(is_unprocessed);
    if unprocessed { SendFault::Unprocessed } else { SendFault::Broken }
}

/// All that is sent to an upstream and is nobody else's business.
fn secrets(config: &ModelConfig) -> Vec<Secret> {
    let headers = config.headers.iter().filter_map(|(_, value)| value.to_str().ok());
    let query = config.query.iter().flat_map(|query| query.expose().split('&'));
    let query_values = query.filter_map(|pair| pair.split_once('=')).map(|(_, value)| value);
    let texts = headers.chain(query_values).map(Secret::new);
    config.api_key.iter().cloned().chain(texts).collect()
}

/// An error with its causes, for the log.
struct ErrorChain<'a>(&'a dyn std::error::Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(formatter, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
