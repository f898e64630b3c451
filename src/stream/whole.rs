//! A non-streamed answer: held up to a limit, passed on beyond it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::{body::StreamObserver, fault::StreamFault, patience::Patience};
use crate::{
    openai::{chunk::Dialect, scan::UsageScanner, usage::Usage},
    telemetry::bill::Meter,
};

/// What came of reading a body with a limit.
#[derive(Debug)]
pub enum Held<B> {
    /// All of it.
    Whole(Bytes),
    /// More than the limit: its beginning, and the rest still to come.
    Overflow(Bytes, B),
}

/// Reads up to `bytes_max` bytes of `body`.
///
/// # Errors
/// When the body breaks off or falls silent.
pub async fn hold<B>(mut body: B, bytes_max: usize, patience: Patience) -> Result<Held<B>, StreamFault>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut held = BytesMut::new();
    let mut only: Option<Bytes> = None;
    loop {
        let (due, silence_is) = patience.due(Instant::now(), false);
        let frame = timeout_at(due, body.frame()).await.map_err(|_| silence_is)?;
        let Some(frame) = frame else { break };
        let Ok(bytes) = frame.map_err(|_| StreamFault::Truncated)?.into_data() else { continue };
        // Most answers come in one frame: that one is not copied.
        if held.is_empty() && only.is_none() && bytes.len() <= bytes_max {
            only = Some(bytes);
            continue;
        }
        if let Some(first) = only.take() {
            held.extend_from_slice(&first);
        }
        held.extend_from_slice(&bytes);
        if held.len() > bytes_max {
            return Ok(Held::Overflow(held.freeze(), body));
        }
    }
    Ok(Held::Whole(only.unwrap_or_else(|| held.freeze())))
}

/// An answer too long to hold, passing by; its usage is read on the way. A cut, and a JSON object that does not come
/// to its end, end in an error, on which the server aborts the connection: a client never takes a part for the whole.
#[derive(Debug)]
pub struct PassingBody<B, O> {
    first: Option<Bytes>,
    rest: B,
    patience: Patience,
    silence: Pin<Box<Sleep>>,
    /// What it is when that is over.
    silence_is: StreamFault,
    scanner: UsageScanner,
    dialect: Dialect,
    meter: Arc<Meter>,
    observer: O,
    ended: bool,
}

impl<B, O> PassingBody<B, O> {
    /// Passes `first` and then `rest`, an answer in this dialect.
    pub fn new(
        (first, rest): (Bytes, B),
        dialect: Dialect,
        patience: Patience,
        meter: Arc<Meter>,
        observer: O,
    ) -> Self {
        let (due, silence_is) = patience.due(Instant::now(), false);
        Self {
            first: Some(first),
            rest,
            patience,
            silence: Box::pin(sleep_until(due)),
            silence_is,
            scanner: UsageScanner::default(),
            dialect,
            meter,
            observer,
            ended: false,
        }
    }
}

impl<B, O: StreamObserver> PassingBody<B, O> {
    fn end(&mut self, fault: Option<&StreamFault>) {
        if self.ended {
            return;
        }
        self.ended = true;
        if let Some(usage) = self.scanner.usage().and_then(Usage::parse) {
            self.meter.report(usage);
        }
        self.observer.ended(fault);
    }

    fn scan(&mut self, bytes: &[u8]) {
        self.scanner.push(bytes);
        // Vectors are not written.
        let is_written = self.dialect != Dialect::Embeddings;
        self.meter.write(if is_written { self.scanner.characters() } else { 0 });
    }

    fn broken(&mut self, fault: StreamFault) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        self.end(Some(&fault));
        Poll::Ready(Some(Err(fault)))
    }
}

impl<B, O> Body for PassingBody<B, O>
where
    B: Body<Data = Bytes> + Unpin,
    O: StreamObserver,
{
    type Data = Bytes;
    type Error = StreamFault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamFault>>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            this.scan(&first);
            // All of it had come when the limit was passed: the server will not ask for more.
            if this.rest.is_end_stream() {
                if !this.scanner.is_whole() {
                    return this.broken(StreamFault::Truncated);
                }
                this.end(None);
            }
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.rest).poll_frame(context) {
            Poll::Ready(Some(Ok(_))) if Instant::now() >= this.patience.request_at => {
                this.broken(StreamFault::RequestTimeout)
            }
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    this.scan(bytes);
                }
                let (due, silence_is) = this.patience.due(Instant::now(), false);
                this.silence.as_mut().reset(due);
                this.silence_is = silence_is;
                // The server drops a body of known length after its last byte, without asking for more.
                if this.rest.is_end_stream() {
                    if !this.scanner.is_whole() {
                        return this.broken(StreamFault::Truncated);
                    }
                    this.end(None);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => this.broken(StreamFault::Truncated),
            // An end of the connection is the end of the body where its length was not told, and may be a cut.
            Poll::Ready(None) if !this.scanner.is_whole() => this.broken(StreamFault::Truncated),
            Poll::Ready(None) => {
                this.end(None);
                Poll::Ready(None)
            }
            Poll::Pending => {
                ready!(this.silence.as_mut().poll(context));
                let fault = this.silence_is.clone();
                this.broken(fault)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && (self.ended || (self.rest.is_end_stream() && self.scanner.is_whole()))
    }

    fn size_hint(&self) -> SizeHint {
        let held = u64::try_from(self.first.as_ref().map_or(0, Bytes::len)).unwrap_or(u64::MAX);
        self.rest.size_hint().exact().map_or_else(SizeHint::default, |rest| SizeHint::with_exact(rest + held))
    }
}
