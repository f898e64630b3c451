//! An upstream's event stream, taken step by step: what may go to the client, and how it ended.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::Body;
use tokio::time::{Instant, Sleep};

use super::{
    fault::StreamFault,
    patience::Patience,
    progress::Progress,
    sse::{Decoder, Event},
    transcript::{Taken, Transcript},
};
use crate::{
    openai::{
        chunk::{self, Dialect},
        error,
    },
    secret::Redactor,
    telemetry::bill::Meter,
};

/// How one stream is to be treated.
#[derive(Debug, Clone)]
pub struct RelaySettings {
    /// The endpoint's event language.
    pub dialect: Dialect,
    /// How many choices the answer must have.
    pub choices: u32,
    /// The JSON text that replaces the upstream's `model`; `None` leaves it.
    pub model_json: Option<Bytes>,
    /// Drop the event that reports usage alone: the client did not ask for it.
    pub drop_usage_event: bool,
    /// How long it may take.
    pub patience: Patience,
    /// What the client has of the answer, where it could be gone on with should this stream break.
    pub transcript: Option<Transcript>,
    /// Longest event.
    pub event_bytes_max: usize,
    /// Takes secrets out of errors that the upstream reports.
    pub redactor: Arc<Redactor>,
    /// What the call uses.
    pub meter: Arc<Meter>,
}

/// One step of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Bytes for the client; `commits` when they show it anything of the answer.
    Forward {
        /// The event as the client gets it.
        bytes: Bytes,
        /// The client would see something: from here on nothing may be retried.
        commits: bool,
    },
    /// The answer is whole; these bytes close it.
    Whole(Bytes),
    /// The answer will never be whole.
    Broken(StreamFault),
}

/// Reads an upstream's body as a stream of answer events.
#[derive(Debug)]
pub struct Relay<B> {
    body: Pin<Box<B>>,
    decoder: Decoder,
    progress: Progress,
    settings: RelaySettings,
    silence: Pin<Box<Sleep>>,
    /// What it is when that is over.
    silence_is: StreamFault,
    /// The step to take once the answer is paid for so far.
    next: Option<Step>,
    /// It has come further since that was looked at.
    has_grown: bool,
    has_content: bool,
    /// An event of the answer has come since that was set.
    has_moved: bool,
    ended: bool,
    /// Bytes that may still come after the end of the answer; `None` before it.
    linger_bytes: Option<usize>,
}

/// How long an upstream may take to end its body after its answer is whole.
const LINGER_MAX: Duration = Duration::from_secs(1);
/// White space, at most, is to be expected there.
const LINGER_BYTES_MAX: usize = 1024;

impl<B: Body<Data = Bytes>> Relay<B> {
    /// A relay at the start of `body`.
    #[must_use]
    pub fn new(body: B, settings: RelaySettings) -> Self {
        let (due, silence_is) = settings.patience.due(Instant::now(), false);
        Self {
            body: Box::pin(body),
            decoder: Decoder::new(settings.event_bytes_max),
            progress: Progress::new(settings.dialect, settings.choices),
            silence: Box::pin(tokio::time::sleep_until(due)),
            silence_is,
            next: None,
            has_grown: false,
            has_content: false,
            has_moved: false,
            settings,
            ended: false,
            linger_bytes: None,
        }
    }

    /// How far the answer has come.
    #[must_use]
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// The next step. After [`Step::Whole`] or [`Step::Broken`] there is none.
    pub fn poll_step(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        loop {
            if self.has_grown {
                let covered = self.settings.meter.poll_cover(context, self.progress.characters());
                if let Err(over_budget) = ready!(covered) {
                    return Poll::Ready(self.broken(StreamFault::OverBudget(over_budget)));
                }
                self.has_grown = false;
            }
            if let Some(step) = self.next.take() {
                return Poll::Ready(step);
            }
            match self.decoder.next_event() {
                Err(_) => return Poll::Ready(self.broken(StreamFault::TooLong)),
                Ok(Some(event)) => {
                    self.next = match self.take(&event) {
                        Some(Step::Broken(fault)) => return Poll::Ready(self.broken(fault)),
                        step => step,
                    };
                    continue;
                }
                Ok(None) if self.ended => return Poll::Ready(self.end()),
                Ok(None) => {}
            }
            self.next = ready!(self.poll_more(context));
        }
    }

    /// After [`Step::Whole`]: waits for the end of the upstream's body, so that its connection can serve again. The
    /// last chunk often comes as a packet of its own. At most `LINGER_MAX` from the first call, and a few bytes.
    pub fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.ended {
            return Poll::Ready(());
        }
        let left = self.linger_bytes.get_or_insert_with(|| {
            self.silence.as_mut().reset(Instant::now() + LINGER_MAX);
            LINGER_BYTES_MAX
        });
        while let Poll::Ready(frame) = self.body.as_mut().poll_frame(context) {
            let Some(Ok(frame)) = frame else { return Poll::Ready(()) };
            match left.checked_sub(frame.data_ref().map_or(1, |bytes| bytes.len().max(1))) {
                Some(fewer) => *left = fewer,
                None => return Poll::Ready(()),
            }
        }
        self.silence.as_mut().poll(context)
    }

    /// Reads one frame into the decoder, or learns that there is none to come.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Option<Step>> {
        match self.body.as_mut().poll_frame(context) {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(bytes) = frame.data_ref() {
                    self.decoder.push(bytes);
                }
                // However much there is to read: a request has its time.
                let is_late = Instant::now() >= self.settings.patience.request_at;
                Poll::Ready(is_late.then(|| self.broken(StreamFault::RequestTimeout)))
            }
            // A connection that breaks after the last choice's end takes nothing from the answer.
            Poll::Ready(Some(Err(_)) | None) => {
                self.ended = true;
                let last = self.decoder.finish().and_then(|event| self.take(&event));
                // Half an event is not malformed: the rest of it is missing.
                let cut = matches!(last, Some(Step::Broken(StreamFault::Malformed)));
                Poll::Ready(if cut { Some(self.end()) } else { last })
            }
            Poll::Pending => {
                if std::mem::take(&mut self.has_moved) {
                    let (due, silence_is) = self.settings.patience.due(Instant::now(), self.has_content);
                    self.silence.as_mut().reset(due);
                    self.silence_is = silence_is;
                }
                ready!(self.silence.as_mut().poll(context));
                let whole = self.progress.is_whole();
                Poll::Ready(Some(if whole { self.end() } else { Step::Broken(self.silence_is.clone()) }))
            }
        }
    }

    /// The answer has begun, and come so far.
    pub fn note_written(&self) {
        self.settings.meter.write(self.progress.characters());
    }

    /// An event of these data, under the pool's name for the model.
    fn rewritten(&self, data: &str) -> Bytes {
        let model = chunk::observe(self.settings.dialect, data).ok().and_then(|seen| seen.model);
        let data = match (&self.settings.model_json, model) {
            (Some(name), Some(span)) => {
                let (before, after) = (data.get(..span.start), data.get(span.end..));
                let parts =
                    [before.unwrap_or_default().as_bytes(), name, after.unwrap_or_default().as_bytes()];
                parts.concat()
            }
            _ => data.as_bytes().to_vec(),
        };
        [b"data: ", &data[..], b"\n\n"].concat().into()
    }

    /// What the client has of the answer, once the stream has broken.
    pub fn into_transcript(self) -> Option<Transcript> {
        self.settings.transcript
    }

    /// What comes after the last choice's end takes nothing from the answer, whatever it is.
    fn broken(&self, fault: StreamFault) -> Step {
        if self.progress.is_whole() { self.end() } else { Step::Broken(fault) }
    }

    fn end(&self) -> Step {
        if self.progress.is_whole() {
            Step::Whole(Bytes::from_static(self.progress.closing()))
        } else {
            Step::Broken(StreamFault::Truncated)
        }
    }

    /// What an event means for the client; `None` when it is not for the client.
    fn take(&mut self, event: &Event) -> Option<Step> {
        let Some(data) = event.data() else {
            return Some(Step::Forward { bytes: event.raw.clone(), commits: false });
        };
        if data.trim_ascii() == b"[DONE]" && self.settings.dialect == Dialect::Choices {
            return Some(if self.progress.is_whole() { Step::Whole(event.raw.clone()) } else { self.end() });
        }
        let Ok(text) = std::str::from_utf8(&data) else { return Some(Step::Broken(StreamFault::Malformed)) };
        let Ok(seen) = chunk::observe(self.settings.dialect, text) else {
            return Some(Step::Broken(StreamFault::Malformed));
        };
        if let Some(error) = &seen.error {
            if error::blames_the_request(error) {
                return Some(Step::Broken(StreamFault::Rejected(error.clone())));
            }
            return Some(Step::Broken(StreamFault::reported(error, &self.settings.redactor)));
        }
        let before = self.progress.characters();
        self.progress.observe(&seen);
        if let Some(usage) = seen.usage {
            self.settings.meter.report(usage);
        }
        // A role alone may come of an answer that never begins.
        if self.progress.characters() > 0 {
            if self.progress.characters() > before {
                self.settings.meter.write_on(self.progress.characters());
            }
            self.has_grown = true;
        }
        self.has_content |= seen.content || seen.terminal;
        self.has_moved = true;
        if seen.usage_only && self.settings.drop_usage_event {
            return None;
        }
        match self.settings.transcript.as_mut().map_or(Taken::AsItIs, |transcript| transcript.take(text)) {
            Taken::AsItIs => {}
            Taken::Known => return None,
            Taken::Differs => return Some(Step::Broken(StreamFault::Differs)),
            Taken::With(text) => {
                let bytes = self.rewritten(&text);
                return Some(Step::Forward { bytes, commits: seen.content || seen.terminal });
            }
        }
        let bytes = match (&self.settings.model_json, seen.model) {
            (Some(name), Some(span)) if text.as_bytes().get(span.clone()) != Some(name) => {
                event.with_replaced(span, name)
            }
            _ => event.raw.clone(),
        };
        Some(Step::Forward { bytes, commits: seen.content || seen.terminal })
    }
}
