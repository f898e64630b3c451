//! The accounting of one request: lives as long as the request and its answer, and makes exactly one event of it,
//! whichever way both end.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use pointsman_routers::select::win_probability;

use crate::{
    budget::Reason,
    config::Price,
    ledger::{Slot, row::Row},
    money,
};

use super::{
    Books,
    bill::{Bill, Meter, Used},
    metrics::{GenAiLabel, Metrics, NONE},
    outcome::{CacheUse, Estimated, Outcome},
    traces::RequestSpan,
};

/// What is recorded of one request. Dropped without [`Account::ended`]: the client left.
#[derive(Debug)]
pub struct Account {
    books: Arc<Books>,
    began: Instant,
    bill: Arc<Bill>,
    /// Whose answer the client gets.
    answering: Option<Arc<Meter>>,
    /// What is asked of models, as OpenTelemetry calls it.
    operation: &'static str,
    /// The best model that could have been asked, with its price, where a router has scored it.
    best: Option<(Arc<str>, Option<Price>)>,
    said: Said,
    span: Option<RequestSpan>,
    /// A place for its row.
    slot: Option<Slot>,
    event: Event,
}

/// What a decision says of itself in an answer's head.
#[derive(Debug, Clone, Default)]
pub(crate) struct Said {
    /// The rule that has chosen.
    pub(crate) rule: Option<String>,
    /// The probability that the dearest model beats every cheaper one.
    pub(crate) win_rate: Option<f64>,
    /// Why the router's word was not heard.
    pub(crate) fail_open: Option<&'static str>,
}

/// The end of a request, and what there is to tell of it. No text of the client's is in it but a request id of its own, and what
/// was asked where the tenant wants that kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// When it arrived.
    pub arrived: SystemTime,
    /// What answers and logs call it.
    pub request_id: Arc<str>,
    /// Whose it was; none where that was not recognised.
    pub tenant: Option<Arc<str>>,
    /// The tenant's project.
    pub project: Option<Arc<str>>,
    /// What its key is called.
    pub key: Option<Arc<str>>,
    /// The tenant's tags, as an object of JSON.
    pub tags: Option<Arc<str>>,
    /// What was asked, where the tenant wants that kept. For the ledger alone.
    pub prompt: Option<String>,
    /// The route it took.
    pub route: Option<Arc<str>>,
    /// Who decided, and how long that took.
    pub decision: Option<(&'static str, Duration)>,
    /// The version of the artefact that the router is made of.
    pub artifact: Option<Arc<str>>,
    /// The models that were scored, and their skills.
    pub candidates: Vec<(Arc<str>, f64)>,
    /// What the route's cache was to it, where the route has one.
    pub cache: Option<CacheUse>,
    /// The model that answered, or else was asked last.
    pub model: Option<Arc<str>>,
    /// How it ended.
    pub outcome: Outcome,
    /// The code of the error that it ended in.
    pub code: Option<&'static str>,
    /// From its arrival until its answer began.
    pub until_answer: Option<Duration>,
    /// From its arrival to its end.
    pub duration: Duration,
    /// The calls made for it, in order: the models, and what is known to have been used.
    pub calls: Vec<(Arc<str>, Option<Used>)>,
}

impl Account {
    /// Opens the account of a request that has just arrived.
    #[must_use]
    pub fn open(books: &Arc<Books>, request_id: &str) -> Self {
        books.metrics.in_flight.inc();
        Self {
            books: Arc::clone(books),
            began: Instant::now(),
            bill: Arc::default(),
            answering: None,
            operation: "chat",
            best: None,
            said: Said::default(),
            span: None,
            slot: None,
            event: Event {
                arrived: SystemTime::now(),
                request_id: request_id.into(),
                tenant: None,
                project: None,
                key: None,
                tags: None,
                prompt: None,
                route: None,
                decision: None,
                artifact: None,
                candidates: Vec::new(),
                cache: None,
                model: None,
                outcome: Outcome::Cancelled,
                code: None,
                until_answer: None,
                duration: Duration::ZERO,
                calls: Vec::new(),
            },
        }
    }

    /// What is asked of models, as OpenTelemetry calls it.
    pub fn set_operation(&mut self, operation: &'static str) {
        self.operation = operation;
    }

    /// The request's span, once it is known what is asked.
    pub fn set_span(&mut self, span: RequestSpan) {
        self.bill.set_span(span.clone(), self.operation);
        self.span = Some(span);
    }

    /// It is known whose it is: the tenant, its project and its key.
    pub fn set_caller(&mut self, tenant: &Arc<str>, project: Option<&Arc<str>>, key: Option<&Arc<str>>) {
        self.event.tenant = Some(Arc::clone(tenant));
        self.event.project = project.cloned();
        self.event.key = key.cloned();
    }

    /// What the tenant wants to be kept with its requests.
    pub fn set_tags(&mut self, tags: Option<&Arc<str>>) {
        self.event.tags = tags.cloned();
    }

    /// What was asked, of a tenant that wants that kept.
    pub fn set_prompt(&mut self, prompt: String) {
        self.event.prompt = Some(prompt);
    }

    /// Its row has a place.
    pub fn keep(&mut self, slot: Slot) {
        self.bill.set_row(slot.id);
        self.slot = Some(slot);
    }

    /// What answers and logs call it.
    #[must_use]
    pub fn request_id(&self) -> &str {
        &self.event.request_id
    }

    /// The route is known. A name of the configuration, never a client's text.
    pub fn set_route(&mut self, route: &Arc<str>) {
        self.event.route = Some(Arc::clone(route));
    }

    /// That route.
    #[must_use]
    pub fn route(&self) -> Option<&str> {
        self.event.route.as_deref()
    }

    /// A router has decided, and scored these candidates; with the best of them, and its price.
    pub fn set_decision(
        &mut self,
        (router, artifact): (&'static str, Option<Arc<str>>),
        elapsed: Duration,
        candidates: Vec<(Arc<str>, f64)>,
        best: Option<(Arc<str>, Option<Price>)>,
    ) {
        self.best = best;
        if let Some(span) = &self.span {
            span.decided(router, elapsed, &candidates);
        }
        self.event.decision = Some((router, elapsed));
        self.event.artifact = artifact;
        self.event.candidates = candidates;
    }

    /// What the decision says of itself in the answer's head.
    pub(crate) fn set_said(&mut self, said: Said) {
        self.said = said;
    }

    /// That.
    pub(crate) fn said(&self) -> &Said {
        &self.said
    }

    /// That router, and how long it took.
    #[must_use]
    pub fn decision(&self) -> Option<(&'static str, Duration)> {
        self.event.decision
    }

    /// The route has a cache, and this is what it was to the request.
    pub fn set_cache(&mut self, cache: CacheUse) {
        self.event.cache = Some(cache);
    }

    /// That use.
    #[must_use]
    pub fn cache(&self) -> Option<CacheUse> {
        self.event.cache
    }

    /// The answer is a kept one, which this model gave before.
    pub fn answered_from_cache(&mut self, model: &Arc<str>) {
        self.set_cache(CacheUse::Hit);
        self.event.model = Some(Arc::clone(model));
        self.event.until_answer = Some(self.began.elapsed());
    }

    /// Where the request's calls are written down.
    #[must_use]
    pub fn bill(&self) -> Arc<Bill> {
        Arc::clone(&self.bill)
    }

    /// The answer comes from this call.
    pub fn answered_by(&mut self, meter: &Arc<Meter>) {
        self.answering = Some(Arc::clone(meter));
        self.event.until_answer.get_or_insert_with(|| self.began.elapsed());
    }

    /// Calls of models made so far.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.bill.meters().len()
    }

    /// The model that answers, or else was asked last.
    #[must_use]
    pub fn model(&self) -> Option<Arc<str>> {
        let told = self.told(&self.bill.meters()).map(|meter| Arc::clone(&meter.model));
        told.or_else(|| self.event.model.clone())
    }

    /// The call that the request is told of by.
    fn told(&self, calls: &[Arc<Meter>]) -> Option<Arc<Meter>> {
        self.answering.as_ref().or_else(|| calls.last()).map(Arc::clone)
    }

    /// The request ended so; with the code of an error, where it ended in one.
    pub fn ended(&mut self, outcome: Outcome, code: Option<&'static str>) {
        self.event.outcome = outcome;
        self.event.code = code;
    }
}

impl Account {
    /// What the router's choice has saved, and what it has given up by its own estimate.
    fn count_routed(&self, metrics: &Metrics) {
        let (Some((best, price)), Outcome::Ok, Some(answering)) =
            (&self.best, self.event.outcome, &self.answering)
        else {
            return;
        };
        let tenant = [self.event.tenant.as_deref().unwrap_or(NONE)];
        let skill = |model: &Arc<str>| {
            self.event.candidates.iter().find(|(name, _)| name == model).map(|&(_, skill)| skill)
        };
        if let (Some(answered), Some(best)) = (skill(&answering.model), skill(best)) {
            metrics.routing.routed.with_label_values(&tenant).inc();
            let win_rate = win_probability(answered, best);
            metrics.routing.routed_win_rate.with_label_values(&tenant).inc_by(win_rate);
        }
        let cost = |used: &Option<Used>| used.as_ref().and_then(Used::cost_usd);
        let costs: Vec<f64> = self.event.calls.iter().filter_map(|(_, used)| cost(used)).collect();
        if let (Some(price), Some(used), false) = (price, answering.used(), costs.is_empty()) {
            let of_best = Used { cost_pico_usd: Some(money::cost(price, used.usage).pico()), ..used };
            metrics.routing.routed_cost_usd.with_label_values(&tenant).inc_by(costs.iter().sum());
            let of_best = of_best.cost_usd().unwrap_or_default();
            metrics.routing.routed_best_cost_usd.with_label_values(&tenant).inc_by(of_best);
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let metrics = &self.books.metrics;
        let meters = self.bill.meters();
        let last = self.told(&meters);
        let calls = meters.iter().map(|meter| {
            let used = meter.used();
            let why = if last.as_ref().is_some_and(|last| Arc::ptr_eq(last, meter)) {
                Estimated::after(self.event.outcome)
            } else {
                Estimated::Truncated
            };
            if let Some(used) = used {
                count_tokens(metrics, self.event.tenant.as_deref(), &meter.model, used, why);
                count_call(metrics, self.operation, meter, used);
            }
            (Arc::clone(&meter.model), used)
        });
        self.event.calls = calls.collect();
        if let Some(first) = meters.first().and_then(|meter| meter.sent_at()) {
            let added = first.saturating_duration_since(self.began);
            let route = self.event.route.as_deref().unwrap_or(NONE);
            metrics.overhead_seconds.with_label_values(&[route]).observe(added.as_secs_f64());
        }
        meters.iter().for_each(|meter| meter.close());
        if let Some(last) = last {
            self.event.model = Some(Arc::clone(&last.model));
        }
        self.event.duration = self.began.elapsed();
        count(metrics, &self.event);
        self.count_routed(metrics);
        self.books.note(&self.event);
        if let Some(span) = &self.span {
            span.ended(&self.event, self.operation);
        }
        if let Some(slot) = self.slot.take() {
            let row = Row::of(slot.id, &self.event);
            slot.write(row);
        }
        metrics.in_flight.dec();
    }
}

fn count(metrics: &Metrics, event: &Event) {
    let [tenant, route, model] =
        [&event.tenant, &event.route, &event.model].map(|name| name.as_deref().unwrap_or(NONE));
    let counted = metrics.requests.with_label_values(&[tenant, route, model, event.outcome.label()]);
    counted.inc();
    if let Some(code) = event.code.filter(|code| Reason::CODES.contains(code)) {
        metrics.budgets.refused.with_label_values(&[tenant, code]).inc();
    }
    if let Some(cache) = event.cache {
        metrics.cache.requests.with_label_values(&[route, cache.label()]).inc();
    }
    // The first of its series: its sisters are shown at zero with it.
    if counted.get() == 1 {
        metrics.seed_outcomes(tenant, route, model);
    }
}

fn count_tokens(metrics: &Metrics, tenant: Option<&str>, model: &str, used: Used, why: Estimated) {
    let tenant = tenant.unwrap_or(NONE);
    let count = |kind, tokens| metrics.tokens.with_label_values(&[tenant, model, kind]).inc_by(tokens);
    count("prompt", used.usage.prompt_tokens);
    count("completion", used.usage.completion_tokens);
    if let Some(cost) = used.cost_usd() {
        metrics.cost_usd.with_label_values(&[tenant, model]).inc_by(cost);
    }
    if used.is_estimate {
        metrics.usage_estimated.with_label_values(&[model, why.label()]).inc();
    }
}

fn count_call(metrics: &Metrics, operation: &str, meter: &Meter, used: Used) {
    let of = GenAiLabel { operation, model: &meter.model };
    if !used.is_estimate {
        metrics.gen_ai.used(of, used.usage);
    }
    if let Some((until_first, after)) = meter.stream_times() {
        metrics.gen_ai.streamed(of, until_first, (after, used.usage.completion_tokens));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::TokenPrice, openai::usage::Usage};

    fn books() -> Arc<Books> {
        Arc::new(Books::new(Arc::new(Metrics::new().unwrap())))
    }

    #[test]
    fn records_one_outcome_with_tokens_and_cost() {
        let books = books();
        let mut account = Account::open(&books, "req_1");
        account.set_caller(&"t".into(), None, None);
        account.set_route(&"auto".into());
        let price = Price::flat(TokenPrice::from_pico_usd(2_500_000), TokenPrice::from_pico_usd(10_000_000));
        let meter = account.bill().call(&"m".into(), Some(price), 7);
        meter.report(Usage::of(1000, 100));
        account.answered_by(&meter);
        account.ended(Outcome::Ok, None);
        let metrics = &books.metrics;
        assert_eq!(metrics.in_flight.get(), 1);
        drop(account);
        assert_eq!(metrics.in_flight.get(), 0);
        assert_eq!(metrics.requests.with_label_values(&["t", "auto", "m", "ok"]).get(), 1);
        assert_eq!(metrics.tokens.with_label_values(&["t", "m", "prompt"]).get(), 1000);
        let cost = metrics.cost_usd.with_label_values(&["t", "m"]).get();
        assert!((cost - 0.0035).abs() < 1e-12, "{cost}");
    }

    #[test]
    fn every_call_that_began_is_billed() {
        let books = books();
        let mut account = Account::open(&books, "req_1");
        let bill = account.bill();
        bill.call(&"never-began".into(), None, 10);
        bill.call(&"broke".into(), None, 10).write(40);
        let rest = bill.call(&"rest".into(), None, 10);
        rest.report(Usage::of(12, 3));
        // A third model was asked beside it, and cancelled.
        bill.call(&"beside".into(), None, 10).write(4);
        account.answered_by(&rest);
        account.ended(Outcome::Ok, None);
        drop(account);
        let metrics = &books.metrics;
        let tokens = |model, kind| metrics.tokens.with_label_values(&["none", model, kind]).get();
        assert_eq!((tokens("broke", "prompt"), tokens("broke", "completion")), (10, 10));
        assert_eq!((tokens("rest", "prompt"), tokens("rest", "completion")), (12, 3));
        assert_eq!((tokens("beside", "prompt"), tokens("beside", "completion")), (10, 1));
        assert_eq!(tokens("never-began", "prompt"), 0);
        assert_eq!(metrics.usage_estimated.with_label_values(&["broke", "truncated"]).get(), 1);
        assert_eq!(metrics.requests.with_label_values(&["none", "none", "rest", "ok"]).get(), 1);
    }

    #[test]
    fn a_request_that_is_dropped_was_cancelled() {
        let books = books();
        drop(Account::open(&books, "req_1"));
        assert_eq!(books.metrics.requests.with_label_values(&["none", "none", "none", "cancelled"]).get(), 1);
    }
}
