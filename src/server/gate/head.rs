//! One HTTP/1 head, read as hyper will read it, and refused where it should not be: how long it is, and where the
//! body behind it ends (RFC 9112, sections 2 to 6).
//!
//! Must not know what a request is for.

use http::{Method, Uri, Version};
use httparse::{EMPTY_HEADER, Error, Request, Status};

use crate::http::{HEADER_FIELDS_MAX, HeadFault};

/// Longest request target; `http::Uri` holds no longer one.
const TARGET_BYTES_MAX: usize = u16::MAX as usize - 1;

/// A head that is there whole, and may be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// Its length, the blank line included, in bytes.
    pub(super) bytes: usize,
    /// What follows it.
    pub(super) body: BodyEnd,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyEnd {
    /// After so many bytes; none where nothing is said.
    Length(u64),
    /// By its last chunk.
    Chunked,
}

/// Reads the head at the beginning of `bytes`, none while its end is not there.
///
/// # Errors
/// As soon as it cannot become one that may be served. `bytes_max` is only said, not checked.
pub(super) fn read(bytes: &[u8], bytes_max: usize) -> Result<Option<Head>, HeadFault> {
    let mut fields = [EMPTY_HEADER; HEADER_FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    let length = match request.parse(bytes) {
        Ok(Status::Complete(length)) => length,
        Ok(Status::Partial) => return Ok(None),
        Err(Error::TooManyHeaders) => return Err(HeadFault::TooLarge(bytes_max)),
        Err(error) => return Err(HeadFault::Malformed(part(error, &request))),
    };
    let target = request.path.unwrap_or_default();
    if target.len() > TARGET_BYTES_MAX {
        return Err(HeadFault::TargetTooLong);
    }
    if Uri::try_from(target).is_err() {
        return Err(HeadFault::Malformed("target"));
    }
    if Method::from_bytes(request.method.unwrap_or_default().as_bytes()).is_err() {
        return Err(HeadFault::Malformed("method"));
    }
    let version = if request.version == Some(1) { Version::HTTP_11 } else { Version::HTTP_10 };
    let hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host")).count();
    if hosts > 1 || hosts == 0 && version == Version::HTTP_11 {
        return Err(HeadFault::Host);
    }
    Ok(Some(Head { bytes: length, body: body_end(version, request.headers)? }))
}

/// The part of a head that is malformed, for people.
fn part(error: Error, request: &Request<'_, '_>) -> &'static str {
    match error {
        Error::HeaderName => "header name",
        Error::HeaderValue => "header value",
        Error::Version => "version",
        Error::NewLine => "end of a line",
        Error::Token if request.method.is_none() => "method",
        _ => "target",
    }
}

/// Where the body ends. There is one answer, or the request is refused: two readers would disagree.
fn body_end(version: Version, fields: &[httparse::Header<'_>]) -> Result<BodyEnd, HeadFault> {
    let mut length = None;
    let mut coding = None;
    for field in fields {
        if field.name.eq_ignore_ascii_case("content-length") {
            let said = number(field.value).ok_or(HeadFault::Length)?;
            if length.is_some_and(|length| length != said) {
                return Err(HeadFault::Length);
            }
            length = Some(said);
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            // A second line, the same as the first or not, is a list of two codings.
            coding = Some(if coding.is_none() { field.value } else { b"," });
        }
    }
    match (length, coding) {
        (Some(_), Some(_)) => Err(HeadFault::TwoEnds),
        (length, None) => Ok(BodyEnd::Length(length.unwrap_or(0))),
        (None, Some(coding)) if version == Version::HTTP_11 => chunked(coding),
        (None, Some(_)) => Err(HeadFault::Endless),
    }
}

/// Digits and nothing else: no sign, no list. The greatest numbers mean other things to hyper.
fn number(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number: u64 = std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()?;
    (number < u64::MAX - 1).then_some(number)
}

fn chunked(coding: &[u8]) -> Result<BodyEnd, HeadFault> {
    let is_chunked = |name: &[u8]| name.trim_ascii().eq_ignore_ascii_case(b"chunked");
    if is_chunked(coding) {
        return Ok(BodyEnd::Chunked);
    }
    match coding.rsplitn(2, |&byte| byte == b',').collect::<Vec<_>>().as_slice() {
        [last, first] if is_chunked(last) && !first.split(|&byte| byte == b',').any(is_chunked) => {
            Err(HeadFault::UnknownCoding)
        }
        _ => Err(HeadFault::Endless),
    }
}
