//! Responses: bodies of every kind under one type, and the headers that all of them carry.

use std::{
    convert::Infallible,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use serde::Serialize;

use super::error::Failure;
use crate::{
    telemetry::{account::Account, outcome::CacheUse},
    tenancy::AuthError,
};

/// Any response's body.
pub type ResponseBody = UnsyncBoxBody<Bytes, BodyError>;

/// A body that cannot be brought to its end; the server aborts the connection on it.
#[derive(Debug)]
pub struct BodyError(pub crate::stream::fault::StreamFault);

impl fmt::Display for BodyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for BodyError {}

/// A body that is there already.
pub(super) fn full(bytes: impl Into<Bytes>) -> ResponseBody {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A body with something before it.
pub(super) struct After {
    pub(super) first: Option<Bytes>,
    pub(super) rest: ResponseBody,
}

impl Body for After {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(Frame::data(first)))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }
}

/// A JSON text with a status.
pub(super) fn json_text(status: StatusCode, text: impl Into<Bytes>) -> Response<ResponseBody> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Response<ResponseBody> {
    json_text(StatusCode::OK, serde_json::to_vec(value).unwrap_or_default())
}

/// A failure as OpenAI's error object.
pub(super) fn failure(failure: &Failure) -> Response<ResponseBody> {
    let mut response = json_text(failure.status(), failure.body().to_json());
    let headers = response.headers_mut();
    if let Some(retry_after) = failure.retry_after() {
        headers.insert(header::RETRY_AFTER, retry_after);
    }
    if failure.forbids_retry() {
        headers.insert("x-should-retry", HeaderValue::from_static("false"));
    }
    match failure {
        Failure::Method(allowed) => {
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        Failure::Auth(why) if *why != AuthError::Unverifiable => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // What was not read of the request must not be read as the next one.
        Failure::Head(_) | Failure::BodyBroken | Failure::BodyTimeout | Failure::BodyTooLarge(_) => {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response
}

/// What the gateway says of itself in a response's head.
pub(super) fn trail(account: &Account) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: &'static str, value: Option<String>| {
        if let Some(value) = value.and_then(|text| header_text(&text)) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let (decision, calls) = (account.decision(), account.calls());
    put("x-pointsman-model", account.model().map(|name| name.to_string()));
    put("x-pointsman-route", account.route().map(str::to_owned));
    put("x-pointsman-router", decision.map(|(router, _)| router.to_owned()));
    put("x-pointsman-decision-us", decision.map(|(_, elapsed)| elapsed.as_micros().to_string()));
    let said = account.said();
    put("x-pointsman-rule", said.rule.clone());
    put("x-pointsman-win-rate", said.win_rate.map(|win_rate| format!("{win_rate:.4}")));
    put("x-pointsman-fail-open", said.fail_open.map(str::to_owned));
    put("x-pointsman-cache", account.cache().map(|cache| cache_text(cache).to_owned()));
    put("x-pointsman-attempts", (calls > 0).then(|| calls.to_string()));
    headers
}

/// What is not asked has no answer either.
const fn cache_text(cache: CacheUse) -> &'static str {
    match cache {
        CacheUse::Hit => "hit",
        CacheUse::Miss | CacheUse::Bypass => "miss",
    }
}

/// Names may be in any script, headers hardly: what does not fit is percent-encoded byte by byte.
fn header_text(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok().filter(|_| text.is_ascii()).or_else(|| {
        let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        HeaderValue::from_str(&encoded).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_ascii_are_encoded() {
        assert_eq!(header_text("gpt-4o").unwrap(), "gpt-4o");
        assert_eq!(header_text("é").unwrap(), "%C3%A9");
        assert_eq!(header_text("a\nb").unwrap(), "%61%0A%62");
    }
}
