//! A request body made of slices: the client's bytes with the few replaced ones between them.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body::{Body, Frame, SizeHint};

use crate::openai::rewrite::Segments;

/// The slices, sent one after the other. Its length is known, so it goes out with a Content-Length.
#[derive(Debug, Clone)]
pub struct SegmentsBody(pub Segments);

/// A POST of JSON.
pub(super) fn post(uri: Uri, headers: HeaderMap, json: Bytes) -> Request<SegmentsBody> {
    let mut request = Request::new(SegmentsBody([json].into()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    request
}

impl SegmentsBody {
    fn bytes_left(&self) -> u64 {
        self.0.iter().map(|segment| segment.len() as u64).sum()
    }
}

impl Body for SegmentsBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|segment| Ok(Frame::data(segment))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left())
    }
}
