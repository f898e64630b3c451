//! What an answer's end does to the books: law 13's guards, carried by the response body.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use hyper::body::Incoming;
use tokio::time::Instant;
use tracing::{Instrument, Span};

use super::{
    app::App,
    attempt::{AnswerBody, Call},
    cached::Recorder,
    error::{AttemptFault, Failure},
    limits::{self, Held},
    pursuit::{Answered, Found, Pursuit},
};
use crate::{
    admission::Permit,
    resilience::breaker::Verdict,
    snapshot::Tenant,
    stream::{
        body::{Rescue, Rescuer, StreamObserver},
        fault::StreamFault,
        transcript::Transcript,
    },
    telemetry::{account::Account, bill::Meter, metrics::Metrics, outcome::Outcome},
    upstream::model::{Model, Passage},
};

/// What lives as long as a request: its account, its permit, and what it holds of its tenant's limits, where there are any.
#[derive(Debug)]
pub(super) struct Guards {
    pub(super) account: Account,
    pub(super) permit: Option<Permit>,
    pub(super) held: Option<Held>,
    /// Why its model was chosen, where its client wants to know.
    pub(super) explanation: Option<Bytes>,
    /// Where its answer is to be kept, if it is.
    pub(super) recorder: Option<Box<Recorder>>,
}

impl Guards {
    /// Takes what a call is expected to use of its tenant's tokens, where they are limited.
    pub(super) async fn reserve(&mut self, app: &App, tenant: &Tenant, call: &Call) -> Result<(), Failure> {
        let Some(held) = &mut self.held else { return Ok(()) };
        held.reserve(call).await.map_err(|exceeded| limits::refused(&app.metrics, &tenant.name, exceeded))
    }
}

/// The call that an answer comes from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) place: usize,
    pub(super) model: Arc<Model>,
    pub(super) called: Instant,
    pub(super) meter: Arc<Meter>,
    /// Until its verdict is in.
    pub(super) passage: Option<Passage>,
}

/// Watches the answer of an upstream to its end, and looks for another should it break.
#[derive(Debug)]
pub(super) struct AnswerObserver {
    pub(super) guards: Guards,
    pub(super) metrics: Arc<Metrics>,
    pub(super) source: Source,
    /// Those that may be asked for the rest; with a rescue while it is on its way.
    pub(super) pursuit: Option<Pursuit>,
    /// What is set when the answer is whole, and all of it this model's: it is kept then.
    pub(super) is_whole: Option<Arc<AtomicBool>>,
    /// What lines logged later carry, too.
    pub(super) span: Span,
}

impl Drop for AnswerObserver {
    fn drop(&mut self) {
        if self.source.passage.is_some() {
            self.count("cancelled");
        }
    }
}

impl AnswerObserver {
    /// The call is over.
    fn call_ended(&mut self, fault: Option<&StreamFault>) {
        let Source { model, called, .. } = &self.source;
        let seconds = called.elapsed().as_secs_f64();
        self.metrics.upstreams.seconds.with_label_values(&[&*model.name]).observe(seconds);
        if let Some(fault) = fault {
            self.source.meter.fail(fault.code());
            let _request = self.span.enter();
            tracing::warn!(model = %model.name, code = fault.code(), "answer broke off");
        }
        self.count(fault.map_or("ok", StreamFault::code));
    }

    fn count(&self, result: &str) {
        self.metrics.upstreams.attempts.with_label_values(&[&*self.source.model.name, result]).inc();
    }
}

impl StreamObserver for AnswerObserver {
    fn ended(&mut self, fault: Option<&StreamFault>) {
        // None where a rescue was looked for in vain: its attempts are counted as they end.
        if let Some(Passage { admission, .. }) = self.source.passage.take() {
            self.call_ended(fault);
            let verdict = |fault: &StreamFault| AttemptFault::from(fault.clone()).verdict();
            admission.settle(Instant::now(), fault.map_or(Verdict::Success, verdict));
        }
        if let Some(is_whole) = &self.is_whole {
            is_whole.store(fault.is_none(), Ordering::Release);
        }
        let outcome = fault.map_or(Outcome::Ok, StreamFault::outcome);
        self.guards.account.ended(outcome, fault.map(StreamFault::code));
        // The permit is for the next request as soon as the last byte is on its way.
        self.guards.permit = None;
        self.guards.held = None;
    }
}

/// What came of a rescue.
#[derive(Debug)]
pub(super) struct Rescued {
    pursuit: Pursuit,
    /// Where the rest comes from.
    source: Option<Source>,
}

impl Rescuer<Incoming> for AnswerObserver {
    type Found = Rescued;

    fn rescue(
        &mut self,
        fault: &StreamFault,
        mut transcript: Transcript,
    ) -> Option<Rescue<Incoming, Self::Found>> {
        if !AttemptFault::from(fault.clone()).may_pass() || *fault == StreamFault::RequestTimeout {
            return None;
        }
        let mut pursuit = self.pursuit.take()?;
        self.is_whole = None;
        self.call_ended(Some(fault));
        if let Some(passage) = self.source.passage.take() {
            pursuit.broke((self.source.place, &self.source.model), fault.clone(), passage);
        }
        self.source.meter.close();
        if let Some(used) = self.source.meter.used() {
            transcript.add_usage(used.usage);
        }
        let fault = fault.clone();
        let rescue = async move {
            let found = pursuit.next_answer(Some(transcript)).await;
            let (committed, source) = match found {
                Found::Answer(Answered { place, model, answer, passage, meter }) => match answer.body {
                    AnswerBody::Stream(committed) => {
                        let passage = Some(passage);
                        let source = Source { place, model, called: answer.called, meter, passage };
                        (Ok(*committed), Some(source))
                    }
                    AnswerBody::Whole(..) | AnswerBody::Passing(..) => (Err(fault), None),
                },
                Found::Refusal(..) => (Err(fault), None),
                Found::Nothing(last) => (Err(last.of_stream().unwrap_or(fault)), None),
            };
            (committed, Rescued { pursuit, source })
        };
        Some(Box::pin(rescue.instrument(self.span.clone())))
    }

    fn rescued(&mut self, Rescued { pursuit, source }: Rescued) {
        let Some(source) = source else { return };
        self.guards.account.answered_by(&source.meter);
        self.metrics.upstreams.streams_rescued.with_label_values(&[&*source.model.name]).inc();
        self.source = source;
        self.pursuit = Some(pursuit);
    }
}
