//! Reading a client's body: bounded in length and in time.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
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
    if let Some(encoding) = headers.get(http::header::CONTENT_ENCODING).filter(|value| *value != "identity") {
        return Err(Failure::Encoding(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
    }
    let deadline = Instant::now() + limit;
    let announced = body.size_hint().lower();
    if usize::try_from(announced).map_or(true, |length| length > bytes_max) {
        discard(body, bytes_max, deadline).await;
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
            discard(body, bytes_max, deadline).await;
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

/// Reads a body that nobody wants, up to a limit: a client that is still sending when its connection is closed
/// loses the answer with it.
pub(super) async fn discard(mut body: Incoming, bytes_max: usize, deadline: Instant) {
    let mut left = bytes_max;
    while let Ok(Some(Ok(frame))) = timeout_at(deadline, body.frame()).await {
        left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
        if left == 0 {
            return;
        }
    }
}
