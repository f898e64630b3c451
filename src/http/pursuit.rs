//! One attempt after another, until an upstream answers or nobody is left to be asked.
//!
//! Owns all that it needs: after the commit it goes on from within the body of the answer, should that break.

mod hedge;
mod securing;

use std::{future::Future, sync::Arc, time::Duration};

use http::HeaderValue;
use tokio::time::Instant;

use self::securing::Secured;
use super::{
    app::App,
    attempt::{Answer, Attempt, Call, Refusal, attempt},
    error::{AttemptFault, whole_seconds},
};
use crate::{
    config::{Delivery, StreamRecovery, WhenLow},
    resilience::{
        attempts::{Attempts, Next},
        breaker::Verdict,
        budget::RetryBudget,
        health::{Admission, LeftAlone},
    },
    snapshot::Tenant,
    stream::{fault::StreamFault, transcript::Transcript},
    telemetry::bill::{Bill, Meter},
    upstream::model::{Model, Passage},
};

/// The attempts of one request.
#[derive(Debug)]
pub(super) struct Pursuit {
    app: Arc<App>,
    tenant: Arc<Tenant>,
    call: Arc<Call>,
    bill: Arc<Bill>,
    attempts: Attempts,
    budget: Arc<RetryBudget>,
    recovery: StreamRecovery,
    hedges: bool,
    /// What is too dear for a budget is followed by what is cheaper.
    prefers_cheaper: bool,
    /// When the request must be over.
    deadline: Instant,
    /// Addresses that a call failed at, each by its model's place and its own.
    failed_at: Vec<(usize, usize)>,
    /// Who has not answered since a call was made last, and why.
    left: Vec<(Arc<Model>, &'static str)>,
}

/// A call that somebody waits for. Dropped before its end it is cancelled, and what was held for it beyond its cost is free.
#[derive(Debug)]
struct WaitedFor(Option<Arc<Meter>>);

impl WaitedFor {
    fn no_more(mut self) {
        self.0 = None;
    }
}

impl Drop for WaitedFor {
    fn drop(&mut self) {
        if let Some(meter) = self.0.take() {
            meter.fail("cancelled");
            meter.close();
        }
    }
}

/// What came of the attempts.
#[derive(Debug)]
pub(super) enum Found {
    /// An answer that begins well.
    Answer(Answered),
    /// An upstream's refusal of the request as such.
    Refusal(Arc<Model>, Refusal, Arc<Meter>),
    /// Nothing: why the last attempt failed.
    Nothing(AttemptFault),
}

/// An answer, and who gives it.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) place: usize,
    pub(super) model: Arc<Model>,
    pub(super) answer: Answer,
    pub(super) passage: Passage,
    pub(super) meter: Arc<Meter>,
}

/// A call, and what came of it.
struct Tried {
    place: usize,
    model: Arc<Model>,
    passage: Passage,
    meter: Arc<Meter>,
    outcome: Attempt,
    took: Duration,
}

impl Pursuit {
    /// Attempts at the models of `ranking`; each call is written down on `bill`.
    pub(super) fn new(
        app: &Arc<App>,
        tenant: &Arc<Tenant>,
        (call, bill): (Call, Arc<Bill>),
        (route, delivery): (&str, &Delivery),
        ranking: &[usize],
    ) -> Self {
        let now = Instant::now();
        let budget = app.retry_budgets.of(&tenant.name, route, now);
        budget.deposit(delivery.retry.budget);
        Self {
            app: Arc::clone(app),
            tenant: Arc::clone(tenant),
            attempts: Attempts::new(delivery.retry, ranking),
            budget,
            recovery: if call.can_be_gone_on_with() {
                delivery.stream_recovery
            } else {
                StreamRecovery::Error
            },
            hedges: delivery.hedge,
            prefers_cheaper: delivery.when_low == WhenLow::Cheaper,
            deadline: now + delivery.request_timeout,
            call: Arc::new(call),
            bill,
            failed_at: Vec::new(),
            left: Vec::new(),
        }
    }

    /// What is asked.
    pub(super) fn call(&self) -> &Call {
        &self.call
    }

    /// When the request must be over.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// A streamed answer that breaks is to be gone on with.
    pub(super) fn recovers(&self) -> bool {
        self.recovery != StreamRecovery::Error
    }

    /// Asks until one answers. With `broken`, for the rest of that answer.
    pub(super) async fn next_answer(&mut self, mut broken: Option<Transcript>) -> Found {
        let mut last = None;
        let mut refusal = None;
        while let Some(place) = self.next_place().await {
            let Some(model) = self.tenant.upstreams.get(place).map(Arc::clone) else {
                self.attempts.out(place);
                continue;
            };
            let passage = match self.admit(place, &model) {
                Ok(passage) => passage,
                Err(fault) => {
                    last.get_or_insert(fault);
                    continue;
                }
            };
            let aimed = |broken: &Transcript| Some(self.aimed(broken, &model));
            let transcript = broken.as_ref().map_or_else(|| self.first(), aimed);
            let secured = match self.secure(place, &model, transcript.as_ref()).await {
                Ok(secured) => secured,
                Err(fault) if self.prefers_cheaper => {
                    self.attempts.out(place);
                    self.left.push((model, fault.code()));
                    last = Some(fault);
                    continue;
                }
                Err(fault) => return Found::Nothing(fault),
            };
            let hedge_after = self.hedge_after(&passage.admission).filter(|_| broken.is_none());
            let first = self.ask((place, model, passage), secured, transcript);
            let Tried { place, model, passage, meter, outcome, took } = match hedge_after {
                Some(delay) => self.hedged(first, place, delay).await,
                None => first.await,
            };
            let Passage { address, mut admission } = passage;
            match outcome {
                Attempt::Answered(answer) => {
                    admission.begun(Instant::now());
                    if broken.is_none() {
                        admission.health().answered(self.call.streams(), took);
                    }
                    let passage = Passage { address, admission };
                    return Found::Answer(Answered { place, model, answer, passage, meter });
                }
                Attempt::Refused(refused) => {
                    self.refused(place, &model, admission);
                    if !(self.looks_further(place, &refused) || broken.is_some()) {
                        return Found::Refusal(model, refused, meter);
                    }
                    refusal = Some((model, refused, meter));
                }
                Attempt::Failed(fault) => {
                    self.failed(place, &model, &fault, Passage { address, admission });
                    if let (Some(broken), Some(used)) = (&mut broken, meter.used()) {
                        broken.add_usage(used.usage);
                    }
                    let is_final = fault.ends_the_request();
                    // Who could have taken what another refused has failed: that is what is left to be told.
                    refusal = None;
                    last = Some(fault);
                    if is_final {
                        break;
                    }
                }
            }
        }
        match (refusal, last) {
            (Some((model, refused, meter)), _) if broken.is_none() => Found::Refusal(model, refused, meter),
            (_, last) => Found::Nothing(last.unwrap_or(AttemptFault::Unavailable { retry_after: None })),
        }
    }

    /// Takes part in the upstream's work, unless it is to be left alone.
    fn admit(&mut self, place: usize, model: &Arc<Model>) -> Result<Passage, AttemptFault> {
        let failed = |address| self.failed_at.contains(&(place, address));
        model.admit(Instant::now(), failed).map_err(|left_alone| {
            self.count(model, "left_alone");
            self.left.push((Arc::clone(model), "left_alone"));
            self.leave_alone(place, left_alone)
        })
    }

    /// A call of one model, written down from now on.
    fn ask(
        &mut self,
        (place, model, passage): (usize, Arc<Model>, Passage),
        secured: Option<Secured>,
        transcript: Option<Transcript>,
    ) -> impl Future<Output = Tried> + Send + use<> {
        self.count_way(&model);
        let (call, deadline) = (Arc::clone(&self.call), self.deadline);
        let meter = self.bill.call(&model.name, model.price, call.prompt_tokens);
        if let Some(bound) = self.answer_bound(place) {
            meter.bound(bound.saturating_mul(call.request.answers()));
        }
        if let Some(Secured { hold, unbounded_answers, written }) = secured {
            meter.secure(hold, unbounded_answers, written);
        }
        let waited_for = WaitedFor(Some(Arc::clone(&meter)));
        async move {
            let called = Instant::now();
            meter.send();
            let outcome = attempt(&model, passage.address, &call, deadline, &meter, transcript).await;
            waited_for.no_more();
            if outcome.is_free() {
                meter.spare();
            }
            match &outcome {
                Attempt::Answered(_) => {}
                Attempt::Refused(_) => meter.fail("refused"),
                Attempt::Failed(fault) => meter.fail(fault.code()),
            }
            if !matches!(outcome, Attempt::Answered(_)) {
                meter.close();
            }
            Tried { place, model, passage, meter, outcome, took: called.elapsed() }
        }
    }

    /// An answer broke after its commit: the model at `place` failed so.
    pub(super) fn broke(
        &mut self,
        (place, model): (usize, &Arc<Model>),
        fault: StreamFault,
        passage: Passage,
    ) {
        self.left.push((Arc::clone(model), fault.code()));
        self.take_note(place, &fault.into(), passage);
    }

    /// Whom to ask now; waits until it is time.
    async fn next_place(&mut self) -> Option<usize> {
        let now = Instant::now();
        let budget = &self.budget;
        match self.attempts.next(now, fastrand::f64(), || budget.withdraw(now)) {
            Next::Ask(place) => Some(place),
            Next::AskAt(_, at) if at >= self.deadline => None,
            Next::AskAt(place, at) => {
                tokio::time::sleep_until(at).await;
                Some(place)
            }
            Next::Stop => None,
        }
    }

    /// A model that is not to be called now, as a fault.
    fn leave_alone(&mut self, place: usize, left_alone: LeftAlone) -> AttemptFault {
        let now = Instant::now();
        match left_alone {
            LeftAlone::Open { until } => {
                self.attempts.out(place);
                AttemptFault::Unavailable { retry_after: seconds_until(now, until) }
            }
            LeftAlone::Cooling { until } => {
                self.attempts.cooling(place, until);
                AttemptFault::RateLimited { retry_after: seconds_until(now, until) }
            }
        }
    }

    fn refused(&mut self, place: usize, model: &Arc<Model>, admission: Admission) {
        self.left.push((Arc::clone(model), "refused"));
        admission.settle(Instant::now(), Verdict::Neither);
        self.count(model, "refused");
        self.attempts.out(place);
    }

    fn failed(&mut self, place: usize, model: &Arc<Model>, fault: &AttemptFault, passage: Passage) {
        self.left.push((Arc::clone(model), fault.code()));
        // Not the fault's own words: an upstream's may repeat the prompt.
        tracing::warn!(model = %model.name, code = fault.code(), "attempt failed");
        self.count(model, fault.code());
        self.take_note(place, fault, passage);
    }

    /// What a failure says of the upstream, and of whether to ask it again.
    fn take_note(&mut self, place: usize, fault: &AttemptFault, passage: Passage) {
        let Passage { address, admission } = passage;
        // One request's failures at an address are one failure: a client must not have it left alone for all.
        let is_first = !self.failed_at.contains(&(place, address));
        self.failed_at.push((place, address));
        let now = Instant::now();
        let pause = fault.pause();
        if !pause.is_zero() {
            admission.health().cool(now, pause);
        }
        admission.settle(now, if is_first { fault.verdict() } else { Verdict::Neither });
        if fault.may_pass() {
            self.attempts.failed(place, now, pause);
        } else {
            self.attempts.out(place);
        }
    }

    /// A refusal that another model may not share: the prompt is too long for this one. The larger ones are left.
    fn looks_further(&mut self, place: usize, refused: &Refusal) -> bool {
        if !refused.is_too_long_for_the_context() {
            return false;
        }
        let models = Arc::clone(&self.tenant.plans.models);
        let window = |place: usize| models.get(place).and_then(|model| model.context_tokens());
        let of_this = window(place);
        self.attempts.retain(|other| match (window(other), of_this) {
            (Some(other), Some(this)) => other > this,
            _ => other != place,
        });
        true
    }

    /// The transcript of a first attempt, where one is kept.
    fn first(&self) -> Option<Transcript> {
        self.recovers().then(Transcript::default)
    }

    /// The transcript of a broken answer for the next model, which continues it if it can.
    fn aimed(&self, broken: &Transcript, model: &Model) -> Transcript {
        let mut transcript = broken.clone();
        let continues = self.recovery == StreamRecovery::Continue && self.call.request.can_be_continued();
        transcript.aims_at(continues && model.continues());
        transcript
    }

    /// A model is called: again, or in place of another.
    fn count_way(&mut self, model: &Model) {
        let metrics = &self.app.metrics;
        for (left, cause) in self.left.drain(..) {
            let way = if left.name == model.name {
                &metrics.upstreams.retries
            } else {
                &metrics.upstreams.fallbacks
            };
            way.with_label_values(&[&*left.name, cause]).inc();
        }
    }

    fn count(&self, model: &Model, result: &str) {
        self.app.metrics.upstreams.attempts.with_label_values(&[&*model.name, result]).inc();
    }
}

/// The `Retry-After` of something that is over at `until`.
fn seconds_until(now: Instant, until: Instant) -> Option<HeaderValue> {
    Some(whole_seconds(until.saturating_duration_since(now)))
}
