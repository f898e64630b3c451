//! The hot path in three parts, each as a request goes through it, without network and clocks: what arrives is in
//! memory before, and what leaves is thrown away.
//!
//! The same parts are timed by `hot_path` and counted by `instructions`.

use std::{convert::Infallible, hint::black_box, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use pointsman::{
    openai::{
        chunk::Dialect,
        request::{Request, Requirements},
        rewrite::Segments,
    },
    snapshot::Tenant,
    stream::{
        body::{Rescue, Rescuer, StreamObserver, commit},
        fault::StreamFault,
        patience::Patience,
        relay::{Relay, RelaySettings},
        transcript::Transcript,
    },
    telemetry::bill::Meter,
};
use tokio::{runtime::Runtime, time::Instant};

use crate::{pool, prompts, wire};

/// Reads a body and writes it anew for an upstream that calls its model otherwise.
pub(crate) fn parse_and_rewrite(body: &Bytes) -> (Requirements, Segments) {
    let request = Request::parse(body.clone()).expect("the body is a chat request");
    let messages = request.messages().expect("the body has messages");
    (request.requirements(&messages), request.forward("upstream-model-2024-06-01", true, None))
}

/// Decisions about prompts of one length, taken in turns, for a pool of one size.
pub(crate) struct Decisions {
    tenant: Arc<Tenant>,
    requests: Vec<Request>,
    next: usize,
}

impl Decisions {
    /// Everything that is made once a configuration or once a request, the decision itself excepted.
    pub(crate) fn prepare(tokens: usize, models: usize) -> Self {
        let request = |prompt: &String| Request::parse(wire::chat_body("auto", prompt, true));
        let requests = prompts::of_tokens(tokens).iter().map(request).collect::<Result<_, _>>();
        Self { tenant: pool::tenant(models), requests: requests.expect("bodies are chat requests"), next: 0 }
    }

    /// Reads the messages of the next request and decides who answers it: filter, text, embedding, skills, ranking.
    pub(crate) fn decide(&mut self) {
        let request = &self.requests[self.next];
        self.next = (self.next + 1) % self.requests.len();
        let messages = request.messages().expect("the body has messages");
        let needs = request.requirements(&messages);
        black_box(pool::decide_now(&self.tenant, &messages, &needs));
    }
}

/// A streamed answer on its way through, event by event.
pub(crate) struct Relaying {
    runtime: Runtime,
    events: Vec<Bytes>,
}

impl Relaying {
    /// An answer of `events` events, each in a frame of its own.
    pub(crate) fn prepare(events: usize) -> Self {
        // The relay keeps a timer for an upstream that falls silent.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        Self { runtime: runtime.expect("a runtime without threads"), events: wire::answer_events(events) }
    }

    /// Relays the whole answer, its model renamed and the usage event held back; returns the bytes let through.
    pub(crate) fn relay(&self) -> usize {
        let frames = self.events.iter().cloned().map(|event| Ok::<_, Infallible>(Frame::data(event)));
        let upstream = StreamBody::new(stream::iter(frames));
        self.runtime.block_on(async {
            let settings = settings();
            let meter = Arc::clone(&settings.meter);
            let committed = commit(Relay::new(upstream, settings)).await.expect("the answer has content");
            let mut seen = Seen::default();
            let mut body = committed.into_body(&mut seen);
            let mut bytes = 0;
            while let Some(Ok(frame)) = body.frame().await {
                bytes += frame.data_ref().map_or(0, Bytes::len);
            }
            drop(body);
            let is_reported = meter.used().is_some_and(|used| !used.is_estimate);
            assert!(seen.whole && is_reported, "the answer ends honestly and reports its usage");
            bytes
        })
    }
}

fn settings() -> RelaySettings {
    RelaySettings {
        dialect: Dialect::Choices,
        choices: 1,
        model_json: Some(Bytes::from_static(b"\"local-model\"")),
        drop_usage_event: true,
        patience: Patience {
            first_token_at: Some(Instant::now() + Duration::from_secs(60)),
            silence_max: Duration::from_secs(60),
            request_at: Instant::now() + Duration::from_secs(60),
        },
        transcript: None,
        event_bytes_max: 16 << 20,
        redactor: Arc::default(),
        meter: Meter::alone("m"),
    }
}

/// What the accounting of a request would be told.
#[derive(Default)]
struct Seen {
    whole: bool,
}

impl<B> Rescuer<B> for &mut Seen {
    type Found = ();

    fn rescue(&mut self, _: &StreamFault, _: Transcript) -> Option<Rescue<B, ()>> {
        None
    }

    fn rescued(&mut self, (): ()) {}
}

impl StreamObserver for &mut Seen {
    fn ended(&mut self, fault: Option<&StreamFault>) {
        self.whole = fault.is_none();
    }
}
