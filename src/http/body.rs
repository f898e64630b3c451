//! Reading a client's body: bounded in length and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use super::error::Failure;

/// Reads the whole body.
///
/// # Errors
/// When it is encoded, longer than `bytes_max`, slower than `limit`, or breaks off.
pub(super) async fn read(
    headers: &HeaderMap,
    mut body: Incoming,
    bytes_max: usize,
    limit: Duration,
) -> Result<Bytes, Failure> {
    let deadline = Instant::now() + limit;
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    if let Some(encoding) = encodings.find(|value| !value.as_bytes().eq_ignore_ascii_case(b"identity")) {
        discard(headers, body, bytes_max, deadline).await;
        return Err(Failure::Encoding(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
    }
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |length| length > bytes_max) {
        discard(headers, body, bytes_max, deadline).await;
        return Err(Failure::BodyTooLarge(bytes_max));
    }
    let mut whole = BytesMut::new();
    let mut only: Option<Bytes> = None;
    loop {
        let frame = timeout_at(deadline, body.frame()).await.map_err(|_| Failure::BodyTimeout)?;
        let Some(frame) = frame else { break };
        let Ok(bytes) = frame.map_err(|_| Failure::BodyBroken)?.into_data() else { continue };
        let held = only.as_ref().map_or(whole.len(), Bytes::len);
        if held + bytes.len() > bytes_max {
            discard_rest(body, bytes_max, deadline).await;
            return Err(Failure::BodyTooLarge(bytes_max));
        }
        // Most bodies come in one frame: that one is not copied.
        if held == 0 {
            only = Some(bytes);
            continue;
        }
        if let Some(first) = only.take() {
            whole.extend_from_slice(&first);
        }
        whole.extend_from_slice(&bytes);
    }
    Ok(only.unwrap_or_else(|| whole.freeze()))
}

/// Whether the client keeps its body until it is asked for it, which reading does.
pub(super) fn waits_to_be_asked(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Reads a body that nobody wants, up to a limit: a client that is still sending when its connection is closed
/// loses the answer with it. One that waits to be asked is not asked.
pub(super) async fn discard(headers: &HeaderMap, body: Incoming, bytes_max: usize, deadline: Instant) {
    if !waits_to_be_asked(headers) {
        discard_rest(body, bytes_max, deadline).await;
    }
}

async fn discard_rest(mut body: Incoming, bytes_max: usize, deadline: Instant) {
    let mut left = bytes_max;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}
