//! The part that every forwarded request has in common: an upstream is found, and its answer sent on its way.

use std::{borrow::Cow, sync::Arc};

use http::{HeaderName, HeaderValue, Response, header};
use http_body_util::BodyExt;
use tracing::{Instrument, Span};

use super::{
    app::App,
    attempt::{AnswerBody, Call, Refusal},
    cached::{Recorded, Recording},
    error::Failure,
    explain, heartbeat,
    observe::{AnswerObserver, Guards, Source},
    pursuit::{Answered, Found, Pursuit},
    respond::{After, BodyError, ResponseBody, failure, full, json_text, trail},
};
use crate::{
    config::Delivery,
    openai::error::ErrorBody,
    snapshot::Tenant,
    stream::{body::StreamObserver, fault::StreamFault, patience::Patience, whole::PassingBody},
    telemetry::outcome::Outcome,
    upstream::{headers, model::Model},
};

/// A request on its way to its models.
pub(super) struct Exchange<'a> {
    pub(super) app: &'a Arc<App>,
    pub(super) tenant: &'a Arc<Tenant>,
    pub(super) call: Call,
    pub(super) guards: Guards,
}

impl Exchange<'_> {
    /// Asks the models of `ranking` until one answers.
    pub(super) async fn run(self, ranking: &[usize], delivery: &Delivery) -> Response<ResponseBody> {
        let Self { app, tenant, call, guards } = self;
        let ranking = match priced(ranking, tenant, &call) {
            Ok(ranking) => ranking,
            Err(why) => return fail(&why, guards),
        };
        let route = guards.account.route().unwrap_or_default();
        let heartbeat = delivery.heartbeat.filter(|_| call.streams());
        let pursuit = Pursuit::new(app, tenant, (call, guards.account.bill()), (route, delivery), &ranking);
        let answering = pursue(Arc::clone(app), pursuit, guards);
        match heartbeat {
            None => answering.await,
            Some(interval) => heartbeat::answered(answering.in_current_span(), interval).await,
        }
    }

    /// Answers with a failure, and books it.
    pub(super) fn fail(self, why: &Failure) -> Response<ResponseBody> {
        fail(why, self.guards)
    }
}

/// The models of a ranking that may be asked: where there is a budget, those with a price.
fn priced<'a>(ranking: &'a [usize], tenant: &Tenant, call: &Call) -> Result<Cow<'a, [usize]>, Failure> {
    if call.caller.purse.is_none() {
        return Ok(ranking.into());
    }
    let has_price = |place: usize| tenant.upstreams.get(place).is_some_and(|model| model.price.is_some());
    let priced: Vec<usize> = ranking.iter().copied().filter(|&place| has_price(place)).collect();
    match ranking.first().and_then(|&place| tenant.upstreams.get(place)) {
        Some(first) if priced.is_empty() => Err(Failure::Unpriced(first.name.to_string())),
        _ => Ok(priced.into()),
    }
}

/// Asks until one answers, and sends its answer on its way.
async fn pursue(app: Arc<App>, mut pursuit: Pursuit, mut guards: Guards) -> Response<ResponseBody> {
    let found = pursuit.next_answer(None).await;
    if let Found::Answer(Answered { meter, .. }) | Found::Refusal(_, _, meter) = &found {
        guards.account.answered_by(meter);
    }
    match found {
        Found::Answer(answered) => answer(&app, pursuit, answered, guards),
        Found::Refusal(model, refusal, _) => refuse(&model, refusal, guards),
        Found::Nothing(fault) => {
            let why = match fault.over_budget() {
                Some(over_budget) => Failure::OverBudget(over_budget.clone()),
                None => Failure::Exhausted { fault, attempts: guards.account.calls() },
            };
            fail(&why, guards)
        }
    }
}

fn fail(why: &Failure, mut guards: Guards) -> Response<ResponseBody> {
    why.end(&mut guards.account);
    let mut response = failure(why);
    response.headers_mut().extend(trail(&guards.account));
    response
}

fn answer(app: &App, pursuit: Pursuit, answered: Answered, mut guards: Guards) -> Response<ResponseBody> {
    let Answered { place, model, answer, passage, meter } = answered;
    let trail = trail(&guards.account);
    let metrics = &app.metrics;
    metrics
        .upstreams
        .first_byte_seconds
        .with_label_values(&[&*model.name])
        .observe(answer.first_byte_seconds);
    let patience = Patience::of(&model.timeouts, pursuit.deadline());
    let dialect = pursuit.call().endpoint.dialect();
    let explanation = guards.explanation.take();
    let recording = Recording::begin(&mut guards, (&answer, &model), pursuit.call());
    let mut observer = AnswerObserver {
        guards,
        metrics: Arc::clone(metrics),
        source: Source {
            place,
            model,
            called: answer.called,
            meter: Arc::clone(&meter),
            passage: Some(passage),
        },
        is_whole: recording.as_ref().map(Recording::verdict),
        pursuit: pursuit.recovers().then_some(pursuit),
        span: Span::current(),
    };
    let is_stream = matches!(answer.body, AnswerBody::Stream(_));
    let body = match answer.body {
        AnswerBody::Stream(committed) => {
            let body = committed.into_body(observer).map_err(|never| match never {}).boxed_unsync();
            let rest = Recorded::body(body, recording);
            match explanation {
                Some(explanation) => {
                    After { first: Some(explain::comment(&explanation)), rest }.boxed_unsync()
                }
                None => rest,
            }
        }
        AnswerBody::Passing(first, rest) => {
            let body = PassingBody::new((first, rest), dialect, patience, meter, observer);
            Recorded::body(body.map_err(BodyError).boxed_unsync(), recording)
        }
        AnswerBody::Whole(bytes, has_failed) => {
            observer.ended(has_failed.then_some(&StreamFault::Failed));
            if let Some(recording) = recording {
                recording.take_all(&bytes);
            }
            full(
                explanation.map_or_else(|| bytes.clone(), |explanation| explain::added(&bytes, &explanation)),
            )
        }
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.head.status;
    *response.headers_mut() = headers::for_client(&answer.head.headers);
    if is_stream {
        say_event_stream(&mut response);
    }
    response.headers_mut().extend(trail);
    response
}

/// An upstream's own 4xx: in its words when they are OpenAI's error object and tell no secret, else in ours.
fn refuse(model: &Model, refusal: Refusal, mut guards: Guards) -> Response<ResponseBody> {
    guards.account.ended(Outcome::ClientError, Some("upstream_refused"));
    let mut response = if is_error_object(&refusal.body) && !model.redactor.finds_in(&refusal.body) {
        json_text(refusal.head.status, refusal.body)
    } else {
        let message =
            format!("the upstream refused the request with status {}", refusal.head.status.as_u16());
        let body =
            ErrorBody { message, kind: "invalid_request_error", param: None, code: Some("upstream_refused") };
        json_text(refusal.head.status, body.to_json())
    };
    response.headers_mut().extend(trail(&guards.account));
    response
}

fn is_error_object(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|value| value.get("error").is_some())
}

/// Caches and buffering proxies on the way would break a stream.
pub(super) fn say_event_stream(response: &mut Response<ResponseBody>) {
    let headers = response.headers_mut();
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert_with(|| HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.entry(header::CACHE_CONTROL).or_insert_with(|| HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}
