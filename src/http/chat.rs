//! `/v1/chat/completions`: the one place where a request's way is put together.

use std::{sync::Arc, time::SystemTime};

use http::Response;

use super::{
    app::{App, DecisionReport},
    error::Failure,
    exchange::Exchange,
    explain,
    respond::ResponseBody,
    target::{self, Target},
};
use crate::{
    config::{Delivery, RoutingText, WhenLow},
    openai::{messages::Message, request::Requirements},
    routing::{
        decide::{Asked, Decision, Scores, decide, decide_with},
        plan::Costs,
        text::routing_text,
    },
    snapshot::Tenant,
    telemetry::{
        live::{Decided, Name, Score, What},
        metrics::NONE,
    },
};

/// Characters of a prompt that are kept of a request where its tenant wants that.
const PROMPT_CHARACTERS_MAX: usize = 32_768;

/// Routes and answers a chat request.
pub(super) async fn chat(mut exchange: Exchange<'_>) -> Response<ResponseBody> {
    let (target, route) = match target::resolve(exchange.tenant, exchange.call.request.model()) {
        Ok(found) => found,
        Err(failure) => return exchange.fail(&failure),
    };
    exchange.guards.account.set_route(&route);
    let delivery = exchange.tenant.delivery(&route);
    if let Some(rules) = delivery.cache {
        match exchange.kept(&target, rules).await {
            Ok(Some(kept)) => return exchange.replay(&kept),
            Ok(None) => {}
            Err(failure) => return exchange.fail(&failure),
        }
    }
    match choose(&mut exchange, &target, &delivery).await {
        Ok(ranking) => exchange.run(&ranking, &delivery).await,
        Err(failure) => exchange.fail(&failure),
    }
}

/// The models to ask, best first.
async fn choose(
    exchange: &mut Exchange<'_>,
    target: &Target,
    delivery: &Delivery,
) -> Result<Vec<usize>, Failure> {
    let messages = exchange.call.request.messages()?;
    let needs = needs(exchange, &messages);
    exchange.call.prompt_tokens = needs.prompt_tokens;
    if exchange.tenant.config.keep_prompts {
        exchange.guards.account.set_prompt(routing_text(
            RoutingText::Conversation,
            &messages,
            PROMPT_CHARACTERS_MAX,
        ));
    }
    exchange.guards.reserve(exchange.app, exchange.tenant, &exchange.call).await?;
    let asked = Asked { messages: &messages, needs: &needs };
    let Some(decision) = decided(exchange, target, delivery, asked).await else {
        // Who names a model gets it, whatever the request needs.
        return Ok(target.model().into_iter().collect());
    };
    let pool = &exchange.tenant.plans.models;
    let scored = |&(place, skill): &(usize, f64)| Some((Arc::clone(&pool.get(place)?.name), skill));
    let best = decision.scores.best.and_then(|place| exchange.tenant.upstreams.get(place));
    exchange.guards.account.set_decision(
        (decision.router, decision.artifact.clone()),
        decision.elapsed,
        decision.scores.skills.iter().filter_map(scored).collect(),
        best.map(|best| (Arc::clone(&best.name), best.price)),
    );
    exchange.guards.account.set_said(explain::said(target, &decision));
    if explain::is_asked_for(&exchange.call.headers) {
        let explanation = explain::text(exchange, target, asked, &decision).await;
        exchange.guards.explanation = Some(explanation);
    }
    record(exchange, target, &decision);
    show(exchange, target, asked, &decision);
    report(exchange.app, exchange.tenant, &decision, &messages);
    if decision.ranking.is_empty() {
        return Err(Failure::NoCandidate(why_none(exchange.tenant, &decision, &needs)));
    }
    Ok(decision.ranking)
}

/// What the request needs of a model; where there is a budget, a price.
pub(super) fn needs(exchange: &Exchange<'_>, messages: &[Message<'_>]) -> Requirements {
    let price = exchange.call.caller.purse.is_some();
    Requirements { price, ..exchange.call.request.requirements(messages) }
}

/// The decision; none for a request that names a model.
pub(super) async fn decided(
    exchange: &Exchange<'_>,
    target: &Target,
    delivery: &Delivery,
    asked: Asked<'_>,
) -> Option<Decision> {
    let pool = &exchange.tenant.plans.models;
    let mut decision = match target {
        Target::Model(_) => return None,
        Target::Route(plan) => decide(plan, pool, asked).await,
        Target::Router(plan, rule) => decide_with(plan, *rule, pool, asked).await,
    };
    if let Some(purse) = &exchange.call.caller.purse
        && delivery.when_low == WhenLow::Cheaper
        && purse.is_low(SystemTime::now())
    {
        let chosen = decision.ranking.first().copied();
        cheapest_first(&mut decision.ranking, exchange.tenant, asked.needs.prompt_tokens);
        decision.scores.is_strong &= decision.ranking.first().copied() == chosen;
    }
    Some(decision)
}

/// A budget is low: what costs least is asked first.
fn cheapest_first(ranking: &mut [usize], tenant: &Tenant, prompt_tokens: u64) {
    let costs = Costs::priced(&tenant.plans.models);
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let cost = |place: &usize| costs.expected(*place, prompt_tokens as f64);
    ranking.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
}

fn record(exchange: &Exchange<'_>, target: &Target, decision: &Decision) {
    let metrics = &exchange.app.metrics.routing;
    let (route, router) = (exchange.guards.account.route().unwrap_or(NONE), decision.router);
    let chosen = decision.ranking.first().and_then(|&place| exchange.tenant.plans.models.get(place));
    if let Some(chosen) = chosen {
        metrics.decisions.with_label_values(&[route, router, &*chosen.name]).inc();
    }
    metrics.seconds.with_label_values(&[router]).observe(decision.elapsed.as_secs_f64());
    let Scores { win_rate, is_strong, queued, .. } = decision.scores;
    // Where there is nobody cheaper, nothing was chosen.
    if let Some(win_rate) = win_rate {
        let labels = [&*exchange.tenant.name, route];
        metrics.choices.with_label_values(&labels).inc();
        metrics.strong.with_label_values(&labels).inc_by(is_strong.into());
        metrics.win_rate.with_label_values(&[route]).observe(win_rate);
        if let Some(drift) = target.learned().and_then(|plan| plan.drift.as_ref()) {
            drift.note(win_rate);
        }
    }
    if let Some(queued) = queued {
        metrics.queue_seconds.with_label_values(&[router]).observe(queued.as_secs_f64());
    }
    if let Some(reason) = decision.fail_open {
        tracing::warn!(router, reason = reason.label(), "router failed open");
        metrics.fail_open.with_label_values(&[route, router, reason.label()]).inc();
    }
}

/// Tells those who watch.
fn show(exchange: &Exchange<'_>, target: &Target, asked: Asked<'_>, decision: &Decision) {
    let (tenant, account) = (exchange.tenant, &exchange.guards.account);
    let name = |place: &usize| tenant.plans.models.get(*place).map(|model| Name(Arc::clone(&model.name)));
    let subject = explain::subject(exchange, target, asked);
    let score = |&(place, skill): &(usize, f64)| {
        Some(Score { model: name(&place)?, skill, cost_usd: subject.cost(place) })
    };
    exchange.app.books.live.tell(What::Decision(Decided {
        at: SystemTime::now(),
        request_id: account.request_id().into(),
        tenant: Name(Arc::clone(&tenant.name)),
        route: Name(account.route().unwrap_or(NONE).into()),
        router: decision.router,
        model: decision.ranking.first().and_then(name),
        ranking: decision.ranking.iter().filter_map(name).collect(),
        rule: subject.by(),
        win_rate: decision.scores.win_rate,
        scores: decision.scores.skills.iter().filter_map(score).collect(),
        fail_open: decision.fail_open.map(|reason| reason.label()),
        decision_us: u64::try_from(decision.elapsed.as_micros()).unwrap_or(u64::MAX),
    }));
}

fn report(app: &App, tenant: &Tenant, decision: &Decision, messages: &[Message<'_>]) {
    let Some(watcher) = app.watcher() else { return };
    let name = |place: usize| tenant.plans.models.get(place).map_or("", |model| &*model.name);
    let Some(&chosen) = decision.ranking.first() else { return };
    let skill_of = |place: usize| {
        decision.scores.skills.iter().find(|&&(index, _)| index == place).map(|&(_, skill)| skill)
    };
    let win_rates = skill_of(chosen).map_or_else(Vec::new, |skill| {
        let others = decision.scores.skills.iter().filter(|&&(index, _)| index != chosen);
        others
            .map(|&(index, other)| (name(index), pointsman_routers::select::win_probability(skill, other)))
            .collect()
    });
    watcher(&DecisionReport {
        prompt: &routing_text(RoutingText::LastUser, messages, 200),
        model: name(chosen),
        win_rates,
        decision_us: decision.elapsed.as_micros(),
    });
}

/// Why no model is left. Names the tenant's own models alone.
fn why_none(tenant: &Tenant, decision: &Decision, needs: &Requirements) -> String {
    let reasons: Vec<String> = decision
        .excluded
        .iter()
        .filter_map(|(place, exclusion)| {
            let model: &Arc<str> = &tenant.plans.models.get(*place)?.name;
            Some(format!("{model} {exclusion}"))
        })
        .collect();
    if reasons.is_empty() { format!("it has no model for {needs:?}") } else { reasons.join("; ") }
}
