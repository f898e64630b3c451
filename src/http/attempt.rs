//! One call of one upstream, up to the point where its answer is certain to begin well.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header, response};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout_at};

use super::error::AttemptFault;
use crate::{
    openai::{self, answer, chunk::Dialect, endpoint::Endpoint, request::Request},
    snapshot::Caller,
    stream::{
        body::{Committed, commit},
        fault::StreamFault,
        patience::Patience,
        relay::{Relay, RelaySettings},
        transcript::Transcript,
        whole::{self, Held},
    },
    telemetry::bill::Meter,
    upstream::model::{Model, SendFault},
};

/// Longest event of a stream, well above the longest that a tool call or an image makes.
const EVENT_BYTES_MAX: usize = 16 << 20;
/// Longest error body that is read.
const ERROR_BYTES_MAX: usize = 256 << 10;

/// A request as every attempt sends it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) endpoint: Endpoint,
    pub(super) headers: HeaderMap,
    pub(super) request: Request,
    /// Tokens of the prompt, estimated.
    pub(super) prompt_tokens: u64,
    /// Whose it is.
    pub(super) caller: Arc<Caller>,
    pub(super) response_buffer: usize,
}

impl Call {
    /// Its answer is a stream.
    pub(super) fn streams(&self) -> bool {
        self.request.stream() && self.endpoint.dialect() != Dialect::Embeddings
    }

    /// Its answer is a stream of one text, which another model can go on with.
    pub(super) fn can_be_gone_on_with(&self) -> bool {
        self.endpoint == Endpoint::Chat && self.streams() && self.request.asks_for_text()
    }
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

impl Attempt {
    /// Nobody charges for it: the upstream refused it, failed, or did not come to it. One that was given up, or whose answer
    /// broke, may have been worked on.
    pub(super) fn is_free(&self) -> bool {
        match self {
            Self::Answered(_) => false,
            Self::Refused(_) => true,
            Self::Failed(AttemptFault::Send(fault)) => {
                !matches!(fault, SendFault::HeadersTimeout | SendFault::RequestTimeout)
            }
            Self::Failed(AttemptFault::Stream(fault)) => matches!(
                fault,
                StreamFault::NotAnAnswer(_)
                    | StreamFault::Rejected(_)
                    | StreamFault::Reported(_)
                    | StreamFault::Failed
            ),
            Self::Failed(_) => true,
        }
    }
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
    /// All of it, its `model` rewritten; and whether it says itself that it failed.
    Whole(Bytes, bool),
    /// More than may be held.
    Passing(Bytes, Incoming),
}

/// A refusal of the request, passed on as it came.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) head: response::Parts,
    pub(super) body: Bytes,
}

impl Refusal {
    /// The prompt does not fit into the model's context.
    pub(super) fn is_too_long_for_the_context(&self) -> bool {
        openai::error::is_too_long_for_the_context(&self.body)
    }
}

/// Times that a call is sent again which an upstream says it has not begun with.
const UNPROCESSED_MAX: usize = 3;

/// Calls `model` at one of its addresses; the answer must be over by `deadline`. With a transcript of an answer that broke, for the rest of it.
pub(super) async fn attempt(
    model: &Model,
    address: usize,
    call: &Call,
    deadline: Instant,
    meter: &Arc<Meter>,
    transcript: Option<Transcript>,
) -> Attempt {
    let called = Instant::now();
    let headers = meter.headers(&call.headers);
    let sending = send((model, address), call, &headers, deadline, transcript.as_ref());
    let sent = if call.streams() {
        let in_time = timeout_at(called + model.timeouts.first_token, sending).await;
        in_time.map_err(|_| StreamFault::FirstToken.into()).and_then(|sent| sent.map_err(AttemptFault::from))
    } else {
        sending.await.map_err(AttemptFault::from)
    };
    let response = match sent {
        Ok(response) => response,
        Err(fault) => return Attempt::Failed(fault),
    };
    let first_byte_seconds = called.elapsed().as_secs_f64();
    if !response.status().is_success() {
        let patience = Patience::of(&model.timeouts, deadline);
        return refused_or_failed(response, model, patience).await;
    }
    let (mut head, body) = response.into_parts();
    let times = Times { called, deadline };
    match read_answer((&head, body), model, call, times, meter, transcript).await {
        Ok(body) => Attempt::Answered(Answer { head, body, called, first_byte_seconds }),
        Err(StreamFault::Rejected(error)) => {
            // In the words of a refusal with the status of one.
            head.status = StatusCode::BAD_REQUEST;
            Attempt::Refused(Refusal { head, body: format!(r#"{{"error":{error}}}"#).into() })
        }
        Err(fault) => Attempt::Failed(fault.into()),
    }
}

/// When an attempt began, and when the request must be over.
#[derive(Debug, Clone, Copy)]
struct Times {
    called: Instant,
    deadline: Instant,
}

async fn send(
    (model, address): (&Model, usize),
    call: &Call,
    headers: &HeaderMap,
    deadline: Instant,
    transcript: Option<&Transcript>,
) -> Result<Response<Incoming>, SendFault> {
    let written = transcript.and_then(Transcript::given);
    let mut unprocessed = 0;
    loop {
        let body = model.body(call.endpoint, &call.request, written);
        match model.send(address, call.endpoint, headers, body, deadline).await {
            Err(SendFault::Unprocessed) if unprocessed < UNPROCESSED_MAX => unprocessed += 1,
            sent => return sent,
        }
    }
}

async fn read_answer(
    (head, body): (&response::Parts, Incoming),
    model: &Model,
    call: &Call,
    times: Times,
    meter: &Arc<Meter>,
    transcript: Option<Transcript>,
) -> Result<AnswerBody, StreamFault> {
    let patience = Patience::of(&model.timeouts, times.deadline);
    let encodings = head.headers.get_all(header::CONTENT_ENCODING);
    if let Some(encoding) = encodings.iter().find(|value| *value != "identity") {
        let encoding = String::from_utf8_lossy(encoding.as_bytes()).into_owned();
        let why = format!("it is encoded as {encoding}, which was not asked for");
        return Err(StreamFault::NotAnAnswer(why));
    }
    if call.streams() {
        if is_other_than_events(&head.headers) {
            return Err(not_events(body, call, patience).await);
        }
        let relay = Relay::new(body, relay_settings(model, call, times, meter, transcript));
        return Ok(AnswerBody::Stream(Box::new(commit(relay).await?)));
    }
    match whole::hold(body, call.response_buffer, patience).await? {
        Held::Overflow(first, rest) => {
            let span = answer::read_beginning(&first).map_err(no_answer)?;
            Ok(AnswerBody::Passing(named(model, first, span), rest))
        }
        Held::Whole(bytes) => {
            let answer = answer::read(call.endpoint.dialect(), &bytes)
                .map_err(|error| rejected(&bytes).unwrap_or_else(|| no_answer(error)))?;
            meter.write(answer.characters);
            if let Some(usage) = answer.usage {
                meter.report(usage);
            }
            Ok(AnswerBody::Whole(named(model, bytes, answer.model), answer.failed))
        }
    }
}

/// What came in place of events: an error that the request is to blame for, or anything else.
async fn not_events(body: Incoming, call: &Call, patience: Patience) -> StreamFault {
    let held = whole::hold(body, ERROR_BYTES_MAX.min(call.response_buffer), patience).await;
    let rejected = match &held {
        Ok(Held::Whole(bytes)) => rejected(bytes),
        _ => None,
    };
    let other = || StreamFault::NotAnAnswer("a stream was asked for, and something else came".to_owned());
    rejected.unwrap_or_else(other)
}

/// The fault, where a body with a status of success says that the request is to blame.
fn rejected(body: &[u8]) -> Option<StreamFault> {
    let error = openai::error::in_body(body)?;
    openai::error::blames_the_request(error).then(|| StreamFault::Rejected(error.to_owned()))
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

fn relay_settings(
    model: &Model,
    call: &Call,
    times: Times,
    meter: &Arc<Meter>,
    transcript: Option<Transcript>,
) -> RelaySettings {
    RelaySettings {
        dialect: call.endpoint.dialect(),
        choices: call.request.choices(),
        model_json: model.answer_model.clone(),
        drop_usage_event: call.endpoint.has_stream_options() && !call.request.wants_usage(),
        patience: Patience::with_stream(&model.timeouts, times.called, times.deadline),
        transcript,
        event_bytes_max: EVENT_BYTES_MAX,
        redactor: Arc::clone(&model.redactor),
        meter: Arc::clone(meter),
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
async fn refused_or_failed(response: Response<Incoming>, model: &Model, patience: Patience) -> Attempt {
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
            AttemptFault::Misconfigured { status: head.status.as_u16() }
        }
        StatusCode::TOO_MANY_REQUESTS => AttemptFault::RateLimited { retry_after: retry_after() },
        StatusCode::SERVICE_UNAVAILABLE => AttemptFault::Unavailable { retry_after: retry_after() },
        status if status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT => {
            return match whole::hold(body, ERROR_BYTES_MAX, patience).await {
                Ok(Held::Whole(body)) => Attempt::Refused(Refusal { head, body }),
                Ok(Held::Overflow(..)) | Err(_) => {
                    Attempt::Failed(AttemptFault::Status { status: status.as_u16(), retry_after: None })
                }
            };
        }
        status => AttemptFault::Status { status: status.as_u16(), retry_after: retry_after() },
    };
    Attempt::Failed(fault)
}
