//! A decision, explained: in full by `POST /v1/route` and in an answer whose request asks for it, in short in every answer's head.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use pointsman_routers::KnownBattle;
use serde::Serialize;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::{
    app::App,
    chat::{decided, needs},
    error::Failure,
    exchange::Exchange,
    respond::{ResponseBody, json_text, trail},
    target::{self, Target},
};
use crate::{
    routing::{
        decide::{Asked, Decision},
        explain::{Explanation, NearestQuestion, Subject},
        plan::RulePlan,
    },
    telemetry::{account::Said, outcome::Outcome},
};

/// The header by which a request asks for an explanation in its answer.
const WISH: &str = "x-pointsman-explain";

/// The field of an answer that has it.
const FIELD: &str = "pointsman";

/// An explanation as `POST /v1/route` gives it.
#[derive(Serialize)]
struct Told<'a> {
    object: &'static str,
    route: &'a str,
    #[serde(flatten)]
    explanation: Explanation<'a>,
}

/// Decides about a chat request and says why. Nobody is called, and nothing of it counts as a decision.
pub(super) async fn route(mut exchange: Exchange<'_>) -> Response<ResponseBody> {
    match explained(&mut exchange).await {
        Ok(text) => {
            exchange.guards.account.ended(Outcome::Ok, None);
            let mut response = json_text(StatusCode::OK, text);
            response.headers_mut().extend(trail(&exchange.guards.account));
            response
        }
        Err(failure) => exchange.fail(&failure),
    }
}

async fn explained(exchange: &mut Exchange<'_>) -> Result<Bytes, Failure> {
    let (target, route) = target::resolve(exchange.tenant, exchange.call.request.model())?;
    exchange.guards.account.set_route(&route);
    let delivery = exchange.tenant.delivery(&route);
    let messages = exchange.call.request.messages()?;
    let needs = needs(exchange, &messages);
    let asked = Asked { messages: &messages, needs: &needs };
    let decision = decided(exchange, &target, &delivery, asked).await;
    let decision = decision.unwrap_or_else(|| Decision::named(target.model()));
    exchange.guards.account.set_said(said(&target, &decision));
    Ok(text(exchange, &target, asked, &decision).await)
}

/// What an answer's head says of a decision.
pub(super) fn said(target: &Target, decision: &Decision) -> Said {
    Said {
        rule: target.rule().map(rule_text),
        win_rate: decision.scores.win_rate,
        fail_open: decision.fail_open.map(|reason| reason.label()),
    }
}

fn rule_text(rule: RulePlan) -> String {
    match rule {
        RulePlan::Threshold { alpha, .. } => format!("threshold={alpha:.4}"),
        RulePlan::Utility { lambda, .. } => format!("utility={lambda}"),
    }
}

/// Whether a request asks for an explanation in its answer.
pub(super) fn is_asked_for(headers: &HeaderMap) -> bool {
    headers.get(WISH).is_some_and(|wish| matches!(wish.as_bytes(), b"true" | b"1"))
}

/// What there is to explain of such a request.
pub(super) fn subject<'a>(exchange: &'a Exchange<'_>, target: &'a Target, asked: Asked<'_>) -> Subject<'a> {
    Subject {
        models: &exchange.tenant.plans.models,
        plan: target.learned(),
        rule: target.rule(),
        prompt_tokens: asked.needs.prompt_tokens,
    }
}

/// An explanation as a JSON text, on one line.
pub(super) async fn text(
    exchange: &Exchange<'_>,
    target: &Target,
    asked: Asked<'_>,
    decision: &Decision,
) -> Bytes {
    let subject = subject(exchange, target, asked);
    let mut explanation = subject.explain(decision);
    if let Some(question) = subject.question(asked, decision) {
        let at_most = target.learned().map(|plan| plan.timeout).unwrap_or_default();
        explanation.nearest_battles = subject.battles(nearest(exchange.app, question, at_most).await);
    }
    let route = exchange.guards.account.route().unwrap_or_default();
    let told = Told { object: "route.decision", route, explanation };
    serde_json::to_vec(&told).unwrap_or_default().into()
}

/// The battles nearest to a request, as far as there is time and room for them: it takes as long as a decision of such a router.
async fn nearest(app: &App, question: NearestQuestion, at_most: Duration) -> Vec<([usize; 2], KnownBattle)> {
    let Ok(room) = Arc::clone(&app.explaining).try_acquire_owned() else { return Vec::new() };
    let found = TaskTracker::new().spawn_blocking(move || {
        let _room = room;
        question.answer()
    });
    timeout(at_most, found).await.ok().and_then(Result::ok).unwrap_or_default()
}

/// An answer's JSON object with an explanation in it; as it is, where it is none.
pub(super) fn added(answer: &Bytes, explanation: &Bytes) -> Bytes {
    let Some((&b'}', fields)) = answer.trim_ascii_end().split_last() else { return answer.clone() };
    let comma: &[u8] = if fields.trim_ascii_end().ends_with(b"{") { b"" } else { b"," };
    [fields, comma, b"\"", FIELD.as_bytes(), b"\":", explanation, b"}"].concat().into()
}

/// An explanation as a comment of an event stream, which whoever does not look for it skips.
pub(super) fn comment(explanation: &Bytes) -> Bytes {
    [b": ", FIELD.as_bytes(), b" ", explanation, b"\n\n"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_is_a_field_of_the_answer() {
        let explanation = Bytes::from_static(br#"{"model":"m"}"#);
        for (answer, expected) in [
            ("{\"id\":1}", r#"{"id":1,"pointsman":{"model":"m"}}"#),
            ("{\"id\": {}\n}\n", "{\"id\": {}\n,\"pointsman\":{\"model\":\"m\"}}"),
            ("{ }", r#"{ "pointsman":{"model":"m"}}"#),
            ("[1]", "[1]"),
            ("", ""),
        ] {
            assert_eq!(added(&Bytes::from(answer), &explanation), expected, "{answer}");
        }
    }
}
