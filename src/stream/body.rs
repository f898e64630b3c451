//! The body of a streamed answer as the client gets it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::{
    fault::StreamFault,
    relay::{Relay, Step},
};
use crate::openai::{error::ErrorBody, usage::Usage};

/// Most bytes held before the answer is committed; with more, it is committed as it stands.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Watches a stream from its commit to its end. Dropped without [`StreamObserver::ended`]: the client left.
pub trait StreamObserver: Send + Unpin {
    /// Usage was reported.
    fn usage(&mut self, usage: Usage);
    /// The stream ended: whole, or with a fault.
    fn ended(&mut self, fault: Option<&StreamFault>);
}

/// A stream whose first content has arrived, with what came before it.
#[derive(Debug)]
pub struct Committed<B> {
    relay: Relay<B>,
    held: VecDeque<Bytes>,
    whole: bool,
}

/// Reads a stream up to its first content, holding what comes before (law 4).
///
/// # Errors
/// When the stream breaks before that: nothing was sent, and another model may be asked.
pub async fn commit<B: Body<Data = Bytes>>(mut relay: Relay<B>) -> Result<Committed<B>, StreamFault> {
    let mut held = VecDeque::new();
    let mut held_bytes = 0;
    loop {
        match poll_fn(|context| relay.poll_step(context)).await {
            Step::Forward { bytes, commits } => {
                held_bytes += bytes.len();
                held.push_back(bytes);
                if commits || held_bytes > HELD_BYTES_MAX {
                    return Ok(Committed { relay, held, whole: false });
                }
            }
            Step::Whole(bytes) => {
                held.push_back(bytes);
                return Ok(Committed { relay, held, whole: true });
            }
            Step::Broken(fault) => return Err(fault),
        }
    }
}

impl<B> Committed<B> {
    /// The body for the client, watched by `observer` to its end.
    pub fn into_body<O>(self, observer: O) -> RelayBody<B, O> {
        RelayBody { relay: self.relay, held: self.held, observer, whole: self.whole, ended: false }
    }
}

/// A streamed answer: the held events, then each event as it comes, then an honest end.
#[derive(Debug)]
pub struct RelayBody<B, O> {
    relay: Relay<B>,
    held: VecDeque<Bytes>,
    observer: O,
    /// The answer was whole before the body was first polled.
    whole: bool,
    ended: bool,
}

impl<B: Body<Data = Bytes>, O: StreamObserver> RelayBody<B, O> {
    fn end(&mut self, fault: Option<&StreamFault>) {
        self.ended = true;
        if let Some(usage) = self.relay.usage() {
            self.observer.usage(usage);
        }
        self.observer.ended(fault);
    }

    /// The last frame; none when there is nothing left to say.
    fn last(
        &mut self,
        bytes: Bytes,
        fault: Option<&StreamFault>,
    ) -> Option<Result<Frame<Bytes>, Infallible>> {
        self.end(fault);
        (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
    }
}

impl<B: Body<Data = Bytes>, O: StreamObserver> Body for RelayBody<B, O> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if let Some(bytes) = this.held.pop_front() {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if this.ended {
            return Poll::Ready(None);
        }
        if this.whole {
            this.end(None);
            return Poll::Ready(None);
        }
        let step = this.relay.poll_step(context);
        // Also while nothing is to be sent: a client may leave between the usage event, which is not for it, and
        // the end.
        if let Some(usage) = this.relay.usage() {
            this.observer.usage(usage);
        }
        Poll::Ready(match ready!(step) {
            Step::Forward { bytes, .. } => Some(Ok(Frame::data(bytes))),
            Step::Whole(bytes) => this.last(bytes, None),
            Step::Broken(fault) => this.last(error_event(&fault), Some(&fault)),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.ended && self.held.is_empty()
    }
}

/// Law 5: an error event, and no `[DONE]` after it.
fn error_event(fault: &StreamFault) -> Bytes {
    let error = ErrorBody {
        message: fault.to_string(),
        kind: "upstream_error",
        param: None,
        code: Some(fault.code()),
    };
    error.to_event().into()
}

#[cfg(test)]
mod tests;
