//! Heads that cannot be served: why, and the answer they get.
//!
//! Must not know how a head is read; whoever reads it says what is wrong.

use std::sync::Arc;

use http::{HeaderMap, Response};

use super::{
    app::App,
    error::Failure,
    respond::{ResponseBody, failure},
    serve::{Face, request_id},
};
use crate::telemetry::account::Account;

/// What is wrong with a request's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadFault {
    /// It is no HTTP/1.
    #[error("the request is no HTTP as it should be: its {0} is malformed")]
    Malformed(&'static str),
    /// It is longer than this many bytes, or has more fields than any client sends.
    #[error("the request head is longer than {0} bytes, or has too many fields")]
    TooLarge(usize),
    /// Its path and query are longer than any of ours.
    #[error("the request target is too long")]
    TargetTooLong,
    /// It does not say, or says twice, whom it is for (RFC 9112, section 3.2).
    #[error("an HTTP/1.1 request must have one Host header")]
    Host,
    /// Its length is no number, or two.
    #[error("the Content-Length of the request is not one number")]
    Length,
    /// It tells its body's end in two ways, and a server before us may have believed the other.
    #[error("a request must not have both Content-Length and Transfer-Encoding")]
    TwoEnds,
    /// Its body's end cannot be told.
    #[error("the Transfer-Encoding of a request must be 'chunked', and sent over HTTP/1.1")]
    Endless,
    /// Its body is coded, and then chunked.
    #[error("no Transfer-Encoding other than 'chunked' is known here")]
    UnknownCoding,
    /// It began, and did not come to its end.
    #[error("the request head did not arrive in time")]
    Slow,
}

/// Answers in place of a request whose head cannot be served: in OpenAI's form, and as the last of its connection.
/// A client's is counted like any other request.
pub fn refuse(app: &Arc<App>, face: Face, fault: HeadFault) -> Response<ResponseBody> {
    let why = Failure::Head(fault);
    tracing::debug!(%fault, "head refused");
    // Nothing of what was sent can be believed, a request id neither.
    let request_id = request_id(&HeaderMap::new());
    if face != Face::Admin {
        let mut account = Account::open(&app.books, request_id.to_str().unwrap_or_default());
        why.end(&mut account);
    }
    let mut response = failure(&why);
    response.headers_mut().insert("x-request-id", request_id);
    response
}
