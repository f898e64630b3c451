//! The part that every forwarded request has in common: one attempt after another until an upstream answers,
//! and the answer on its way.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response, header};
use http_body_util::BodyExt;

use super::{
    app::App,
    attempt::{Answer, AnswerBody, Attempt, Call, Refusal, attempt},
    error::{AttemptFault, Failure},
    observe::{AnswerObserver, Guards},
    respond::{BodyError, ResponseBody, Trail, failure, full, json_text},
};
use crate::{
    openai::{chunk::Dialect, error::ErrorBody},
    snapshot::Tenant,
    stream::{body::StreamObserver, fault::StreamFault, whole::PassingBody},
    telemetry::outcome::Outcome,
    upstream::{headers, model::Model},
};

/// A request whose models are chosen, in their order.
pub(super) struct Exchange<'a> {
    pub(super) app: &'a App,
    pub(super) tenant: &'a Tenant,
    pub(super) call: Call<'a>,
    pub(super) guards: Guards,
    pub(super) trail: Trail,
}

impl Exchange<'_> {
    /// Asks the models of `ranking`, one attempt each, until one answers.
    pub(super) async fn run(mut self, ranking: &[usize]) -> Response<ResponseBody> {
        let mut last = None;
        for (attempts, model) in
            ranking.iter().filter_map(|&place| self.tenant.upstreams.get(place)).enumerate()
        {
            self.guards.account.set_model(&model.name, model.price);
            self.trail.model = Some(model.name.to_string());
            self.trail.attempts = Some(attempts + 1);
            match attempt(model, self.call).await {
                Attempt::Answered(answer) => return self.answer(model, answer),
                Attempt::Refused(refusal) => return self.refuse(model, refusal),
                Attempt::Failed(fault) => {
                    tracing::warn!(model = %model.name, code = fault.code(), %fault, "attempt failed");
                    self.count_attempt(model, fault.code());
                    last = Some(fault);
                }
            }
        }
        let attempts = self.trail.attempts.unwrap_or(0);
        let fault = last.unwrap_or(AttemptFault::Status(0));
        self.fail(&Failure::Exhausted { fault, attempts })
    }

    /// Answers with a failure, and books it.
    pub(super) fn fail(mut self, why: &Failure) -> Response<ResponseBody> {
        self.guards.account.ended(why.outcome());
        let mut response = failure(why);
        self.trail.write(response.headers_mut());
        response
    }

    fn count_attempt(&self, model: &Model, result: &str) {
        self.app.metrics.attempts.with_label_values(&[&*model.name, result]).inc();
    }

    fn answer(self, model: &Model, answer: Answer) -> Response<ResponseBody> {
        self.count_attempt(model, "ok");
        let metrics = &self.app.metrics;
        metrics
            .upstream_first_byte_seconds
            .with_label_values(&[&*model.name])
            .observe(answer.first_byte_seconds);
        let mut observer = AnswerObserver {
            guards: self.guards,
            metrics: Arc::clone(metrics),
            model: Arc::clone(&model.name),
            called: answer.called,
            writes: self.call.endpoint.dialect() != Dialect::Embeddings,
        };
        let is_stream = matches!(answer.body, AnswerBody::Stream(_));
        let body = match answer.body {
            AnswerBody::Stream(committed) => {
                committed.into_body(observer).map_err(|never| match never {}).boxed_unsync()
            }
            AnswerBody::Passing(first, rest) => {
                PassingBody::new(first, rest, model.timeout, observer).map_err(BodyError).boxed_unsync()
            }
            AnswerBody::Whole(bytes, answer) => {
                observer.written(answer.characters);
                if let Some(usage) = answer.usage {
                    observer.usage(usage);
                }
                observer.ended(answer.failed.then_some(&StreamFault::Failed));
                full(bytes)
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = answer.head.status;
        *response.headers_mut() = headers::for_client(&answer.head.headers);
        if is_stream {
            say_event_stream(&mut response);
        }
        self.trail.write(response.headers_mut());
        response
    }

    /// An upstream's own 4xx: in its words when they are OpenAI's error object and tell no secret, else in ours.
    fn refuse(mut self, model: &Model, refusal: Refusal) -> Response<ResponseBody> {
        self.count_attempt(model, "refused");
        self.guards.account.ended(Outcome::ClientError);
        let mut response = if is_error_object(&refusal.body) && !model.redactor.finds_in(&refusal.body) {
            json_text(refusal.head.status, refusal.body)
        } else {
            let message =
                format!("the upstream refused the request with status {}", refusal.head.status.as_u16());
            let body = ErrorBody {
                message,
                kind: "invalid_request_error",
                param: None,
                code: Some("upstream_refused"),
            };
            json_text(refusal.head.status, body.to_json())
        };
        self.trail.write(response.headers_mut());
        response
    }
}

fn is_error_object(body: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Value>(body).is_ok_and(|value| value.get("error").is_some())
}

/// Caches and buffering proxies on the way would break a stream.
fn say_event_stream(response: &mut Response<ResponseBody>) {
    let headers = response.headers_mut();
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert_with(|| HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.entry(header::CACHE_CONTROL).or_insert_with(|| HeaderValue::from_static("no-cache"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
}
