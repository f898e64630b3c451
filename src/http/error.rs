//! Every way a request can fail, and the one place where failures become statuses and outcomes.

mod operator;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use http::{HeaderValue, StatusCode};
pub(super) use operator::OperatorFault;

use super::refuse::HeadFault;
use crate::{
    budget::OverBudget,
    openai::{duration::Shown, error::ErrorBody, request::RequestError},
    resilience::{backoff, breaker::Verdict},
    stream::fault::StreamFault,
    telemetry::{
        account::Account,
        outcome::{Limit, Outcome},
    },
    tenancy::{AuthError, limits::Exceeded},
    upstream::model::SendFault,
};

/// Why a request got no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Auth(#[from] AuthError),
    #[error("{0}")]
    Request(#[from] RequestError),
    #[error("the request body is longer than {0} bytes")]
    BodyTooLarge(usize),
    #[error("the request body did not arrive in time")]
    BodyTimeout,
    #[error("the request body broke off")]
    BodyBroken,
    #[error("{0}")]
    Head(#[from] HeadFault),
    #[error("the request body must not be encoded, not even as '{0}'")]
    Encoding(String),
    #[error("the model '{}' does not exist, or you do not have access to it", shortened(.0))]
    UnknownModel(String),
    #[error("the threshold of '{}' must be a number between 0 and 1", shortened(.0))]
    Threshold(String),
    #[error("no model of your pool can serve this request: {0}")]
    NoCandidate(String),
    #[error("there is nothing at this path")]
    UnknownPath,
    #[error("{0}")]
    Operator(#[from] OperatorFault),
    #[error("the parameter '{}' {why}", shortened(.name))]
    Parameter { name: String, why: String },
    #[error(
        "this gateway keeps no ledger (`database: none`, or its file could not be opened): usage is not recorded"
    )]
    NoLedger,
    #[error("usage cannot be reported: {0}")]
    LedgerUnreadable(String),
    #[error("this path takes {0}")]
    Method(&'static str),
    #[error("the gateway has as many requests in flight as it may have")]
    Overloaded,
    #[error("{0}")]
    OverBudget(OverBudget),
    #[error("the model '{}' has no price, which your budget needs", shortened(.0))]
    Unpriced(String),
    #[error("{}", exceeded(.0))]
    Limited(Exceeded),
    #[error("no answer to this request is kept, and the request wants no other")]
    NotCached,
    #[error("{fault} (after {attempts} {})", if *attempts == 1 { "attempt" } else { "attempts" })]
    Exhausted { fault: AttemptFault, attempts: usize },
}

fn head_status(fault: HeadFault) -> StatusCode {
    match fault {
        HeadFault::Malformed(_)
        | HeadFault::Host
        | HeadFault::Length
        | HeadFault::TwoEnds
        | HeadFault::Endless => StatusCode::BAD_REQUEST,
        HeadFault::TooLarge(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        HeadFault::TargetTooLong => StatusCode::URI_TOO_LONG,
        HeadFault::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
        HeadFault::Slow => StatusCode::REQUEST_TIMEOUT,
    }
}

/// As OpenAI words it.
fn exceeded(exceeded: &Exceeded) -> String {
    let Exceeded { limit, allowed, remaining, requested, wait } = *exceeded;
    let what = match limit {
        Limit::Requests => "requests per min (RPM)",
        Limit::Tokens => "tokens per min (TPM)",
        Limit::Concurrency => {
            return format!(
                "Concurrency limit reached for your tenant: Limit {allowed} requests in flight. Please try again when one of them has ended."
            );
        }
    };
    match wait {
        Some(wait) => {
            let (used, wait) = (allowed.saturating_sub(remaining), Shown(wait));
            format!(
                "Rate limit reached for your tenant on {what}: Limit {allowed}, Used {used}, Requested {requested}. Please try again in {wait}."
            )
        }
        None => format!(
            "Request too large for your tenant on {what}: Limit {allowed}, Requested {requested}. The prompt or the longest answer asked for must be reduced in order to run successfully."
        ),
    }
}

/// Longest part of a client's own text that an error repeats.
const REPEATED_CHARS_MAX: usize = 100;

/// A text of the client's, cut where it is longer than anyone reads.
fn shortened(text: &str) -> std::borrow::Cow<'_, str> {
    match text.char_indices().nth(REPEATED_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()).into(),
        None => text.into(),
    }
}

/// Why an upstream's attempt gave no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(super) enum AttemptFault {
    #[error(transparent)]
    Send(#[from] SendFault),
    #[error(transparent)]
    Stream(#[from] StreamFault),
    #[error("the upstream is limiting requests")]
    RateLimited { retry_after: Option<HeaderValue> },
    #[error("the upstream is not available")]
    Unavailable { retry_after: Option<HeaderValue> },
    /// 401, 403, 404: our configuration is wrong, not the client's request (law 12).
    #[error("the gateway is misconfigured for this upstream")]
    Misconfigured { status: u16 },
    /// A budget does not allow the call: nobody is asked.
    #[error("{0}")]
    OverBudget(OverBudget),
    #[error("the upstream failed with status {status}")]
    Status { status: u16, retry_after: Option<HeaderValue> },
}

impl AttemptFault {
    /// The budget that does not allow it, where that is why.
    pub(super) fn over_budget(&self) -> Option<&OverBudget> {
        match self {
            Self::OverBudget(over_budget) | Self::Stream(StreamFault::OverBudget(over_budget)) => {
                Some(over_budget)
            }
            _ => None,
        }
    }

    /// A stable word for metrics and for the error object's `code`.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Send(fault) => fault.code(),
            Self::Stream(fault) => fault.code(),
            Self::RateLimited { .. } => "rate_limit_exceeded",
            Self::Unavailable { .. } => "upstream_unavailable",
            Self::Misconfigured { .. } => "upstream_misconfigured",
            Self::OverBudget(over_budget) => over_budget.code(),
            Self::Status { .. } => "upstream_failed",
        }
    }

    /// Another try at the same upstream may do better.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Send(_) | Self::RateLimited { .. } | Self::Unavailable { .. } => true,
            Self::Stream(fault) => {
                !matches!(fault, StreamFault::Differs | StreamFault::Rejected(_) | StreamFault::OverBudget(_))
            }
            Self::Misconfigured { .. } | Self::OverBudget(_) => false,
            Self::Status { status, .. } => *status >= 500 || *status == StatusCode::REQUEST_TIMEOUT.as_u16(),
        }
    }

    /// Nothing is left to be tried.
    pub(super) fn ends_the_request(&self) -> bool {
        matches!(
            self,
            Self::Send(SendFault::RequestTimeout)
                | Self::Stream(
                    StreamFault::RequestTimeout | StreamFault::Differs | StreamFault::OverBudget(_)
                )
        )
    }

    /// Why the rest of a broken answer did not come, where that says more than why it broke.
    pub(super) fn of_stream(self) -> Option<StreamFault> {
        match self {
            Self::Stream(
                fault @ (StreamFault::Differs | StreamFault::RequestTimeout | StreamFault::OverBudget(_)),
            ) => Some(fault),
            Self::OverBudget(over_budget) => Some(StreamFault::OverBudget(over_budget)),
            _ => None,
        }
    }

    /// How long the upstream asks to be left alone.
    pub(super) fn pause(&self) -> Duration {
        let (Self::RateLimited { retry_after }
        | Self::Unavailable { retry_after }
        | Self::Status { retry_after, .. }) = self
        else {
            return Duration::ZERO;
        };
        let text = retry_after.as_ref().and_then(|value| value.to_str().ok());
        text.and_then(|text| backoff::retry_after(text, SystemTime::now())).unwrap_or_default()
    }

    /// What it says of the upstream. A client must not be able to have an upstream left alone: only what no request
    /// is to blame for counts.
    pub(super) fn verdict(&self) -> Verdict {
        let is_failure = match self {
            // Nothing came of it in all the time that the request had.
            Self::Send(_) => true,
            Self::Stream(StreamFault::Rejected(_)) => false,
            Self::Stream(_) => !self.ends_the_request(),
            Self::Unavailable { .. } => true,
            // It works, and has too much to do.
            Self::RateLimited { .. } | Self::OverBudget(_) => false,
            // Our account; not what upstreams answer to certain headers, prompts or paths.
            Self::Misconfigured { status } => *status == 402,
            Self::Status { .. } => self.may_pass(),
        };
        if is_failure { Verdict::Failure } else { Verdict::Neither }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Send(SendFault::ConnectTimeout | SendFault::HeadersTimeout | SendFault::RequestTimeout)
            | Self::Stream(StreamFault::FirstToken | StreamFault::Stalled | StreamFault::RequestTimeout) => {
                StatusCode::GATEWAY_TIMEOUT
            }
            Self::RateLimited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable { .. } => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

/// What the clients' SDKs wait for at most.
const RETRY_SOON: Duration = Duration::from_secs(60);

/// A `Retry-After`: seconds, rounded up, at least one.
pub(super) fn whole_seconds(wait: Duration) -> HeaderValue {
    let wait = wait.saturating_add(Duration::from_nanos(999_999_999));
    HeaderValue::from(wait.as_secs().max(1))
}

impl Failure {
    /// Its status.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::OverBudget(over_budget) if over_budget.is_known() => StatusCode::TOO_MANY_REQUESTS,
            Self::Auth(AuthError::Unverifiable)
            | Self::LedgerUnreadable(_)
            | Self::OverBudget(_)
            | Self::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            Self::Auth(_) => StatusCode::UNAUTHORIZED,
            Self::Request(_)
            | Self::BodyBroken
            | Self::Threshold(_)
            | Self::NoCandidate(_)
            | Self::Parameter { .. }
            | Self::Unpriced(_) => StatusCode::BAD_REQUEST,
            Self::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::Head(fault) => head_status(*fault),
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnknownModel(_) | Self::UnknownPath | Self::NoLedger => StatusCode::NOT_FOUND,
            Self::Operator(fault) => fault.status(),
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            // RFC 9111, section 5.2.1.7.
            Self::NotCached => StatusCode::GATEWAY_TIMEOUT,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Exhausted { fault, .. } => fault.status(),
        }
    }

    /// Whose fault it was.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::OverBudget(over_budget) => over_budget.into(),
            Self::Overloaded
            | Self::Limited(_)
            | Self::Exhausted { fault: AttemptFault::RateLimited { .. }, .. } => Outcome::Limited,
            Self::Exhausted { .. } => Outcome::UpstreamError,
            Self::Auth(AuthError::Unverifiable) | Self::LedgerUnreadable(_) => Outcome::GatewayError,
            _ => Outcome::ClientError,
        }
    }

    /// The request of this account ended so.
    pub(super) fn end(&self, account: &mut Account) {
        let (_, code, _) = self.kind_code_param();
        account.ended(self.outcome(), code);
    }

    /// The error object.
    pub(super) fn body(&self) -> ErrorBody {
        let (kind, code, param) = self.kind_code_param();
        ErrorBody { message: self.to_string(), kind, param: param.map(str::to_owned), code }
    }

    fn kind_code_param(&self) -> (&'static str, Option<&'static str>, Option<&str>) {
        match self {
            Self::Auth(AuthError::Unverifiable) => ("server_error", Some("token_unverifiable"), None),
            Self::Auth(_) => ("authentication_error", Some("invalid_api_key"), None),
            Self::Request(error) => ("invalid_request_error", None, error.param()),
            Self::UnknownModel(_) => ("invalid_request_error", Some("model_not_found"), Some("model")),
            Self::Threshold(_) => ("invalid_request_error", Some("invalid_threshold"), Some("model")),
            Self::Parameter { name, .. } => ("invalid_request_error", Some("invalid_parameter"), Some(name)),
            Self::NoLedger => ("invalid_request_error", Some("no_ledger"), None),
            Self::LedgerUnreadable(_) => ("server_error", Some("ledger_unreadable"), None),
            Self::NoCandidate(_) => ("invalid_request_error", Some("no_capable_model"), None),
            Self::BodyTooLarge(_) => ("invalid_request_error", Some("request_too_large"), None),
            Self::BodyTimeout | Self::Head(HeadFault::Slow) => {
                ("invalid_request_error", Some("request_timeout"), None)
            }
            Self::Overloaded => ("server_error", Some("overloaded"), None),
            Self::OverBudget(over_budget) => (over_budget.kind(), Some(over_budget.code()), None),
            Self::Unpriced(_) => ("invalid_request_error", Some("model_without_price"), Some("model")),
            Self::Limited(Exceeded { limit: limit @ Limit::Concurrency, .. }) => {
                (limit.label(), Some("concurrency_limit_exceeded"), None)
            }
            Self::Limited(Exceeded { limit, .. }) => (limit.label(), Some("rate_limit_exceeded"), None),
            Self::NotCached => ("invalid_request_error", Some("not_cached"), None),
            Self::Operator(fault) => (fault.kind(), fault.code(), fault.param()),
            Self::Exhausted { fault: fault @ AttemptFault::RateLimited { .. }, .. } => {
                ("rate_limit_error", Some(fault.code()), None)
            }
            Self::Exhausted { fault, .. } => ("upstream_error", Some(fault.code()), None),
            _ => ("invalid_request_error", None, None),
        }
    }

    /// When it is worth asking again.
    pub(super) fn retry_after(&self) -> Option<HeaderValue> {
        match self {
            Self::Overloaded | Self::Auth(AuthError::Unverifiable) => Some(HeaderValue::from_static("1")),
            Self::OverBudget(over_budget) => over_budget.retry_after.map(whole_seconds),
            Self::Limited(Exceeded { wait, .. }) => wait.map(whole_seconds),
            Self::Exhausted {
                fault:
                    AttemptFault::RateLimited { retry_after }
                    | AttemptFault::Unavailable { retry_after }
                    | AttemptFault::Status { retry_after, .. },
                ..
            } => retry_after.clone(),
            _ => None,
        }
    }

    /// Whether a retry by the client's SDK would be in vain, or only multiply ours.
    pub(super) fn forbids_retry(&self) -> bool {
        match self {
            Self::Exhausted { .. } | Self::NotCached | Self::Limited(Exceeded { wait: None, .. }) => true,
            // What calls in flight hold is free in a moment; a budget that is spent stays so for longer than SDKs wait.
            Self::OverBudget(over_budget) => over_budget.retry_after.is_none_or(|after| after > RETRY_SOON),
            _ => false,
        }
    }
}
