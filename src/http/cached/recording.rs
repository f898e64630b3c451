//! Answers into a route's cache: written down on their way to the client, and kept once they are whole.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use super::Recorder;
use crate::{
    cache::{Kept, control},
    http::{
        attempt::{Answer, AnswerBody, Call},
        observe::Guards,
        respond::{BodyError, ResponseBody},
    },
    openai::{answer, chunk::Dialect},
    stream::sse::Decoder,
    upstream::model::Model,
};

/// An answer that is written down.
#[derive(Debug)]
pub(in crate::http) struct Recording {
    recorder: Recorder,
    /// Without its body.
    kept: Kept,
    dialect: Dialect,
    choices: u32,
    body: Vec<u8>,
    ends: Vec<u32>,
    is_whole: Arc<AtomicBool>,
}

impl Recording {
    /// Of an answer that begins so; `None` where it is not to be kept.
    pub(in crate::http) fn begin(
        guards: &mut Guards,
        (answer, model): (&Answer, &Model),
        call: &Call,
    ) -> Option<Self> {
        let recorder = guards.recorder.take()?;
        if answer.head.status != StatusCode::OK || !control::may_be_kept(&answer.head.headers) {
            return None;
        }
        let content_type = |headers: &HeaderMap| headers.get(header::CONTENT_TYPE).cloned();
        let is_stream = matches!(answer.body, AnswerBody::Stream(_));
        Some(Self {
            recorder: *recorder,
            kept: Kept {
                model: Arc::clone(&model.name),
                origin: Arc::clone(&model.origin),
                router: guards.account.decision().map(|(router, _)| HeaderValue::from_static(router)),
                content_type: content_type(&answer.head.headers),
                body: Bytes::new(),
                events: is_stream.then(Box::default),
                at: Instant::now(),
            },
            dialect: call.endpoint.dialect(),
            choices: call.request.choices(),
            body: Vec::new(),
            ends: Vec::new(),
            is_whole: Arc::default(),
        })
    }

    /// What whoever reads the answer to its end sets when it is whole.
    pub(in crate::http) fn verdict(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.is_whole)
    }

    /// Keeps an answer that is there already, if it is whole.
    pub(in crate::http) fn take_all(mut self, bytes: &[u8]) {
        if self.take(bytes) && self.is_whole.load(Ordering::Acquire) {
            self.keep();
        }
    }

    /// Takes some more of it down; not where it grows too long to be kept.
    fn take(&mut self, bytes: &[u8]) -> bool {
        if self.body.len() + bytes.len() > self.recorder.rules.max_entry_bytes {
            return false;
        }
        self.body.extend_from_slice(bytes);
        if self.kept.events.is_some() {
            self.ends.extend(u32::try_from(self.body.len()));
        }
        true
    }

    fn keep(self) {
        let is_finished = if self.kept.events.is_some() { self.events_finish() } else { self.finishes() };
        let Recorder { caches, shared, route, key, rules } = self.recorder;
        // By the configuration in force now, it may have none.
        let Some(cache) = caches.of(&route).filter(|_| is_finished) else { return };
        let events = self.kept.events.map(|_| self.ends.into_boxed_slice());
        let kept =
            Kept { body: self.body.into_boxed_slice().into(), events, at: Instant::now(), ..self.kept };
        let kept = Arc::new(kept);
        if let Some(shared) = shared {
            shared.keep(key, &kept, rules);
        }
        cache.keep(key, kept, rules.ttl);
    }

    fn finishes(&self) -> bool {
        match self.dialect {
            Dialect::Choices => {
                answer::finished_choices(&self.body).is_some_and(|finished| finished >= self.choices)
            }
            Dialect::Responses | Dialect::Embeddings => answer::read(self.dialect, &self.body).is_ok(),
        }
    }

    /// That all choices finish was seen as they came; here, that each does as models do.
    fn events_finish(&self) -> bool {
        let mut decoder = Decoder::new(self.body.len());
        decoder.push(&self.body);
        while let Ok(Some(event)) = decoder.next_event() {
            let Some(data) = event.data() else { continue };
            if data.trim_ascii() != b"[DONE]" && answer::finished_choices(&data).is_none() {
                return false;
            }
        }
        true
    }
}

/// A body that is written down on its way.
pub(in crate::http) struct Recorded {
    body: ResponseBody,
    recording: Option<Recording>,
}

impl Recorded {
    /// The same body, written down where there is something to write it down in.
    pub(in crate::http) fn body(body: ResponseBody, recording: Option<Recording>) -> ResponseBody {
        match recording {
            Some(_) => Self { body, recording }.boxed_unsync(),
            None => body,
        }
    }
}

impl Body for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(context);
        if let (Poll::Ready(Some(frame)), Some(recording)) = (&polled, &mut this.recording) {
            let bytes = frame.as_ref().ok().and_then(Frame::data_ref);
            if !bytes.is_some_and(|bytes| recording.take(bytes)) {
                this.recording = None;
            }
        }
        // The verdict comes with the last frame, if not after it: all of the answer has been taken down.
        if let Some(recording) =
            this.recording.take_if(|recording| recording.is_whole.load(Ordering::Acquire))
        {
            recording.keep();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
