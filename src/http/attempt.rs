//! One call of one upstream, up to the point where its answer is certain to begin well.

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header, response};
use hyper::body::Incoming;

use super::error::AttemptFault;
use crate::{
    openai::{answer, chunk::Dialect, endpoint::Endpoint, request::Request},
    stream::{
        body::{Committed, commit},
        fault::StreamFault,
        relay::{Relay, RelaySettings},
        whole::{self, Held},
    },
    upstream::model::Model,
};

/// Longest event of a stream, well above the longest that a tool call or an image makes.
const EVENT_BYTES_MAX: usize = 16 << 20;
/// Longest error body that is read.
const ERROR_BYTES_MAX: usize = 256 << 10;

/// A request as every attempt sends it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) headers: &'a HeaderMap,
    pub(super) request: &'a Request,
    pub(super) response_buffer: usize,
}

/// What an upstream did with a call.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It answers.
    Answered(Answer),
    /// It refuses the request as such; another model would hardly do otherwise.
    Refused(Refusal),
    /// It failed; another model may be asked.
    Failed(AttemptFault),
}

/// An answer: its head, and what is known of its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) head: response::Parts,
    pub(super) body: AnswerBody,
    pub(super) called: Instant,
    pub(super) first_byte_seconds: f64,
}

/// The body of an answer.
#[derive(Debug)]
pub(super) enum AnswerBody {
    /// A stream past its commit point.
    Stream(Box<Committed<Incoming>>),
    /// All of it, its `model` rewritten.
    Whole(Bytes, answer::Answer),
    /// More than may be held.
    Passing(Bytes, Incoming),
}

/// A refusal of the request, passed on as it came.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) head: response::Parts,
    pub(super) body: Bytes,
}

/// Calls `model`.
pub(super) async fn attempt(model: &Model, call: Call<'_>) -> Attempt {
    let called = Instant::now();
    let response = match model.send(call.endpoint, call.headers, call.request).await {
        Ok(response) => response,
        Err(fault) => return Attempt::Failed(fault.into()),
    };
    let first_byte_seconds = called.elapsed().as_secs_f64();
    if !response.status().is_success() {
        return refused_or_failed(response, model).await;
    }
    let (head, body) = response.into_parts();
    match read_answer(&head, body, model, call).await {
        Ok(body) => Attempt::Answered(Answer { head, body, called, first_byte_seconds }),
        Err(fault) => Attempt::Failed(fault.into()),
    }
}

async fn read_answer(
    head: &response::Parts,
    body: Incoming,
    model: &Model,
    call: Call<'_>,
) -> Result<AnswerBody, StreamFault> {
    let encodings = head.headers.get_all(header::CONTENT_ENCODING);
    if let Some(encoding) = encodings.iter().find(|value| *value != "identity") {
        let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
        return Err(StreamFault::NotAnAnswer(format!(
            "it is encoded as {encoding}, which was not asked for"
        )));
    }
    if call.request.stream() && call.endpoint.dialect() != Dialect::Embeddings {
        if is_other_than_events(&head.headers) {
            return Err(StreamFault::NotAnAnswer(
                "a stream was asked for, and something else came".to_owned(),
            ));
        }
        let relay = Relay::new(body, relay_settings(model, call));
        return Ok(AnswerBody::Stream(Box::new(commit(relay).await?)));
    }
    match whole::hold(body, call.response_buffer, model.timeout).await? {
        Held::Overflow(first, rest) => {
            let span = answer::read_beginning(&first).map_err(no_answer)?;
            Ok(AnswerBody::Passing(named(model, first, span), rest))
        }
        Held::Whole(bytes) => {
            let answer = answer::read(call.endpoint.dialect(), &bytes).map_err(no_answer)?;
            Ok(AnswerBody::Whole(named(model, bytes, answer.model.clone()), answer))
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "a function for map_err")]
fn no_answer(error: answer::AnswerError) -> StreamFault {
    StreamFault::NotAnAnswer(error.to_string())
}

/// The answer with the pool's name in place of the upstream's, which stands at `span`.
fn named(model: &Model, bytes: Bytes, span: Option<std::ops::Range<usize>>) -> Bytes {
    match (&model.answer_model, span) {
        (Some(name), Some(span)) => replace(&bytes, span, name),
        _ => bytes,
    }
}

fn relay_settings(model: &Model, call: Call<'_>) -> RelaySettings {
    RelaySettings {
        dialect: call.endpoint.dialect(),
        choices: call.request.choices(),
        model_json: model.answer_model.clone(),
        drop_usage_event: call.endpoint.has_stream_options() && !call.request.wants_usage(),
        silence_max: model.timeout,
        event_bytes_max: EVENT_BYTES_MAX,
        redactor: Arc::clone(&model.redactor),
    }
}

/// Some servers stream events without naming the type; a page or a JSON object they name.
fn is_other_than_events(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|text| {
        let kind = text.trim_start().to_ascii_lowercase();
        kind.starts_with("application/json") || kind.starts_with("text/html")
    })
}

fn replace(bytes: &Bytes, span: std::ops::Range<usize>, with: &[u8]) -> Bytes {
    let before = bytes.get(..span.start).unwrap_or_default();
    let after = bytes.get(span.end..).unwrap_or_default();
    [before, with, after].concat().into()
}

/// A status that is no success: the request's fault, ours, or the upstream's.
async fn refused_or_failed(response: Response<Incoming>, model: &Model) -> Attempt {
    let (head, body) = response.into_parts();
    let retry_after = || head.headers.get(header::RETRY_AFTER).cloned();
    let fault = match head.status {
        // Our key, our account, our address there, our way out: none of it is the client's to mend.
        StatusCode::UNAUTHORIZED
        | StatusCode::PAYMENT_REQUIRED
        | StatusCode::FORBIDDEN
        | StatusCode::NOT_FOUND
        | StatusCode::METHOD_NOT_ALLOWED
        | StatusCode::PROXY_AUTHENTICATION_REQUIRED
        | StatusCode::MISDIRECTED_REQUEST
        | StatusCode::UPGRADE_REQUIRED => {
            tracing::error!(model = %model.name, status = head.status.as_u16(), "upstream refuses the gateway: check its api_key, account, base_url and model");
            AttemptFault::Misconfigured
        }
        StatusCode::TOO_MANY_REQUESTS => AttemptFault::RateLimited { retry_after: retry_after() },
        StatusCode::SERVICE_UNAVAILABLE => AttemptFault::Unavailable { retry_after: retry_after() },
        status if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => {
            return match whole::hold(body, ERROR_BYTES_MAX, model.timeout).await {
                Ok(Held::Whole(body)) => Attempt::Refused(Refusal { head, body }),
                Ok(Held::Overflow(..)) | Err(_) => Attempt::Failed(AttemptFault::Status(status.as_u16())),
            };
        }
        status => AttemptFault::Status(status.as_u16()),
    };
    Attempt::Failed(fault)
}
