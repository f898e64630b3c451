//! The body of a streamed answer as the client gets it.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::{
    fault::StreamFault,
    relay::{Relay, Step},
    transcript::Transcript,
};
use crate::openai::error::ErrorBody;

/// Most bytes held before the answer is committed; with more, it is committed as it stands.
const HELD_BYTES_MAX: usize = 64 * 1024;

/// Watches a stream from its commit to its end. Dropped without [`StreamObserver::ended`]: the client left.
pub trait StreamObserver: Send + Unpin {
    /// The stream ended: whole, or with a fault.
    fn ended(&mut self, fault: Option<&StreamFault>);
}

/// Goes on with an answer that broke after its first content.
pub trait Rescuer<B> {
    /// What a rescue brings beside the stream, for [`Rescuer::rescued`].
    type Found: Send;

    /// Looks for another upstream to give the rest; `None` where there is none to be asked.
    fn rescue(&mut self, fault: &StreamFault, transcript: Transcript) -> Option<Rescue<B, Self::Found>>;

    /// The rescue is over.
    fn rescued(&mut self, found: Self::Found);
}

/// A rescue on its way: the stream that gives the rest, or why there is none.
pub type Rescue<B, F> = Pin<Box<dyn Future<Output = (Result<Committed<B>, StreamFault>, F)> + Send>>;

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
    pub fn into_body<O: StreamObserver + Rescuer<B>>(self, observer: O) -> RelayBody<B, O>
    where
        B: Body<Data = Bytes>,
    {
        self.relay.note_written();
        RelayBody {
            relay: Some(self.relay),
            held: self.held,
            observer: Some(observer),
            whole: self.whole,
            stage: Stage::Streaming,
            rescue: None,
        }
    }
}

/// A streamed answer: the held events, then each event as it comes, then an honest end.
pub struct RelayBody<B, O: Rescuer<B>> {
    /// Not there while another is looked for, nor after none was found.
    relay: Option<Relay<B>>,
    held: VecDeque<Bytes>,
    /// Let go with the answer's last event: its books are closed before the upstream's body ends.
    observer: Option<O>,
    /// The answer was whole before the body was first polled.
    whole: bool,
    stage: Stage,
    /// While the stage is that.
    rescue: Option<Rescue<B, O::Found>>,
}

impl<B, O: Rescuer<B>> std::fmt::Debug for RelayBody<B, O> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("RelayBody").field("stage", &self.stage).finish_non_exhaustive()
    }
}

/// How far a body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The answer is coming.
    Streaming,
    /// It broke, and another upstream is looked for.
    Rescuing,
    /// The client has all of it; the upstream's body has not ended yet.
    Lingering,
    /// There is nothing more to send.
    Over,
}

impl<B: Body<Data = Bytes>, O: StreamObserver + Rescuer<B>> RelayBody<B, O> {
    fn end(&mut self, fault: Option<&StreamFault>) {
        self.stage = if fault.is_none() { Stage::Lingering } else { Stage::Over };
        // Passed on as it came, and no success for it.
        let has_failed = self.relay.as_ref().is_some_and(|relay| relay.progress().has_failed());
        let failed = has_failed.then_some(StreamFault::Failed);
        if let Some(mut observer) = self.observer.take() {
            observer.ended(fault.or(failed.as_ref()));
        }
    }

    /// The next frame, while the answer is coming. Empty where there is nothing to send now.
    fn poll_answer(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        if self.whole {
            self.end(None);
            return Poll::Ready(Bytes::new());
        }
        let Some(relay) = &mut self.relay else { return Poll::Ready(Bytes::new()) };
        Poll::Ready(match ready!(relay.poll_step(context)) {
            Step::Forward { bytes, .. } => bytes,
            Step::Whole(bytes) => {
                self.end(None);
                bytes
            }
            Step::Broken(fault) => self.broken(&fault),
        })
    }

    /// The answer broke: another upstream is looked for, or the client is told.
    fn broken(&mut self, fault: &StreamFault) -> Bytes {
        // Dropped here: the call is over, whatever comes of the answer.
        let transcript = self.relay.take().and_then(Relay::into_transcript).filter(Transcript::can_go_on);
        if let (Some(transcript), Some(observer)) = (transcript, &mut self.observer) {
            self.rescue = observer.rescue(fault, transcript);
        }
        if self.rescue.is_some() {
            self.stage = Stage::Rescuing;
            return Bytes::new();
        }
        self.end(Some(fault));
        error_event(fault)
    }

    /// What there is to send once the rescue is over.
    fn poll_rescue(&mut self, context: &mut Context<'_>) -> Poll<Bytes> {
        let Some(rescue) = &mut self.rescue else { return Poll::Ready(Bytes::new()) };
        let (committed, found) = ready!(rescue.as_mut().poll(context));
        self.rescue = None;
        if let Some(observer) = &mut self.observer {
            observer.rescued(found);
        }
        Poll::Ready(match committed {
            Ok(Committed { relay, held, whole }) => {
                relay.note_written();
                self.relay = Some(relay);
                self.held = held;
                self.whole = whole;
                self.stage = Stage::Streaming;
                self.held.pop_front().unwrap_or_default()
            }
            Err(fault) => {
                self.end(Some(&fault));
                error_event(&fault)
            }
        })
    }
}

impl<B: Body<Data = Bytes>, O: StreamObserver + Rescuer<B>> Body for RelayBody<B, O> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        loop {
            if let Some(bytes) = this.held.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            let bytes = match this.stage {
                Stage::Streaming => ready!(this.poll_answer(context)),
                Stage::Rescuing => ready!(this.poll_rescue(context)),
                Stage::Lingering => {
                    if let Some(relay) = &mut this.relay {
                        ready!(relay.poll_linger(context));
                    }
                    this.stage = Stage::Over;
                    continue;
                }
                Stage::Over => return Poll::Ready(None),
            };
            if !bytes.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stage == Stage::Over && self.held.is_empty()
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
