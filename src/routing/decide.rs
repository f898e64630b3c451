//! One decision: filter, score, rank.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pointsman_routers::{
    Candidate,
    select::{Offer, Rule, hash::text_hash, rank, win_rate_of_dearest},
};

use super::{
    candidates::{Exclusion, PoolModel},
    engine::Question,
    plan::{Costs, LearnedPlan, Plan, RulePlan},
    text::routing_text,
    worker,
};
use crate::{
    openai::{messages::Message, request::Requirements},
    telemetry::outcome::FailOpen,
};

/// The label of a route without a router.
pub const STATIC: &str = "static";

/// The label of requests that name a model.
pub const DIRECT: &str = "direct";

/// What was decided, and why. Models are named by their place in the pool.
#[derive(Debug, Clone)]
pub struct Decision {
    /// The models to ask, best first. Empty when none can serve the request.
    pub ranking: Vec<usize>,
    /// Who decided.
    pub router: &'static str,
    /// The version of the artefact that it is made of, if it is made of one.
    pub artifact: Option<Arc<str>>,
    /// The models that cannot serve the request.
    pub excluded: Vec<(usize, Exclusion)>,
    /// What the router has said; nothing, where none was asked or it failed.
    pub scores: Scores,
    /// Why the router's word was not heard.
    pub fail_open: Option<FailOpen>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a router has said of a request.
#[derive(Debug, Clone, Default)]
pub struct Scores {
    /// The skill of each candidate that was scored.
    pub skills: Vec<(usize, f64)>,
    /// The probability that the dearest of them beats every cheaper one; none where all are equally dear.
    pub win_rate: Option<f64>,
    /// One of the dearest of them was chosen.
    pub is_strong: bool,
    /// The one with the highest global rating.
    pub best: Option<usize>,
    /// The skill of the model that utilities compare with, where they choose.
    pub reference_skill: Option<f64>,
    /// How long the router's thread was waited for, where it has one.
    pub queued: Option<Duration>,
}

impl Decision {
    /// Nobody decides: the request names its model.
    #[must_use]
    pub fn named(place: Option<usize>) -> Self {
        Self {
            ranking: place.into_iter().collect(),
            router: DIRECT,
            artifact: None,
            excluded: Vec::new(),
            scores: Scores::default(),
            fail_open: None,
            elapsed: Duration::ZERO,
        }
    }
}

/// What is known of a request when its model is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its messages.
    pub messages: &'a [Message<'a>],
    /// What it needs.
    pub needs: &'a Requirements,
}

/// Decides.
pub async fn decide(plan: &Plan, pool: &[PoolModel], asked: Asked<'_>) -> Decision {
    let started = Instant::now();
    let mut decision = match plan {
        Plan::Static { order } => {
            let (eligible, excluded) = filter(order.iter().copied(), pool, asked.needs);
            Decision {
                ranking: eligible,
                router: STATIC,
                artifact: None,
                excluded,
                scores: Scores::default(),
                fail_open: None,
                elapsed: Duration::ZERO,
            }
        }
        Plan::Learned(plan) => by_router(plan, plan.rule, pool, asked).await,
    };
    decision.elapsed = started.elapsed();
    decision
}

/// Decides by a router under a rule that the request brings.
pub async fn decide_with(
    plan: &LearnedPlan,
    rule: RulePlan,
    pool: &[PoolModel],
    asked: Asked<'_>,
) -> Decision {
    let started = Instant::now();
    let mut decision = by_router(plan, rule, pool, asked).await;
    decision.elapsed = started.elapsed();
    decision
}

/// The models that can serve a request, and those that cannot.
fn filter(
    models: impl Iterator<Item = usize>,
    pool: &[PoolModel],
    needs: &Requirements,
) -> (Vec<usize>, Vec<(usize, Exclusion)>) {
    let mut eligible = Vec::with_capacity(pool.len());
    let mut excluded = Vec::new();
    for index in models {
        match pool.get(index).map(|model| model.exclusion(needs)) {
            Some(None) => eligible.push(index),
            Some(Some(exclusion)) => excluded.push((index, exclusion)),
            None => {}
        }
    }
    (eligible, excluded)
}

async fn by_router(plan: &LearnedPlan, rule: RulePlan, pool: &[PoolModel], asked: Asked<'_>) -> Decision {
    let (eligible, mut excluded) = filter(0..pool.len(), pool, asked.needs);
    let candidate = |index: usize| plan.candidates.get(index)?.as_ref();
    let rated: Vec<(usize, &Candidate)> =
        eligible.iter().filter_map(|&index| Some((index, candidate(index)?))).collect();
    let unrated = eligible.iter().filter(|&&index| candidate(index).is_none());
    excluded.extend(unrated.map(|&index| (index, Exclusion::Unrated)));
    let router = plan.engine.router().name();
    let artifact = plan.engine.version().cloned();
    let decided =
        if rated.is_empty() { Err(FailOpen::Unrated) } else { choose(plan, rule, &rated, pool, asked).await };
    match decided {
        Ok((ranking, scores)) => {
            Decision { ranking, router, artifact, excluded, scores, fail_open: None, elapsed: Duration::ZERO }
        }
        Err(reason) => {
            let mut ranking = plan.fail_open_order.clone();
            ranking.retain(|index| eligible.contains(index));
            let fail_open = (!ranking.is_empty()).then_some(reason);
            Decision {
                ranking,
                router,
                artifact,
                excluded,
                scores: Scores::default(),
                fail_open,
                elapsed: Duration::ZERO,
            }
        }
    }
}

/// A skill for each candidate, and how long the router's thread was waited for, where it has one.
async fn score(
    plan: &LearnedPlan,
    text: String,
    candidates: Vec<Candidate>,
) -> Result<(Vec<f64>, Option<Duration>), FailOpen> {
    let deadline = tokio::time::Instant::now() + plan.timeout;
    let read = plan.engine.read_elsewhere(&text, &candidates, deadline).await?;
    let Some(worker) = &plan.worker else {
        let question = Question { text: &text, candidates: &candidates, read: read.as_ref() };
        return Ok((plan.engine.score(question)?, None));
    };
    let left = deadline.saturating_duration_since(tokio::time::Instant::now());
    let asked = worker::Asked { text, read, candidates: candidates.into() };
    let (scored, waited) = worker.score(asked, left).await?;
    Ok((scored, Some(waited)))
}

async fn choose(
    plan: &LearnedPlan,
    rule: RulePlan,
    rated: &[(usize, &Candidate)],
    pool: &[PoolModel],
    asked: Asked<'_>,
) -> Result<(Vec<usize>, Scores), FailOpen> {
    let text = routing_text(plan.text, asked.messages, plan.text_chars_max);
    let query_hash = text_hash(&text);
    let mut candidates: Vec<Candidate> = rated.iter().map(|&(_, candidate)| candidate.clone()).collect();
    // The reference is scored even when the request's filters excluded it.
    if let RulePlan::Utility { reference, .. } = rule {
        candidates.extend(plan.candidates.get(reference).cloned().flatten());
    }
    let (scored, queued) = score(plan, text, candidates).await?;
    let skills: Vec<(usize, f64)> =
        rated.iter().map(|&(index, _)| index).zip(scored.iter().copied()).collect();
    let rule = match rule {
        RulePlan::Threshold { alpha, split } => Rule::Threshold { alpha, split },
        RulePlan::Utility { lambda, .. } => {
            Rule::Utility { lambda, reference_skill: scored.last().copied().unwrap_or_default() }
        }
    };
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    let prompt_tokens = asked.needs.prompt_tokens as f64;
    let costs: Vec<f64> =
        skills.iter().map(|&(index, _)| plan.costs.expected(index, prompt_tokens)).collect();
    let is_free = matches!((&rule, &plan.costs), (Rule::Utility { .. }, Costs::ByRating(_)));
    let offers: Vec<Offer<'_>> = rated
        .iter()
        .zip(skills.iter().zip(&costs))
        .map(|(&(index, candidate), (&(_, skill), &cost))| Offer {
            name: &candidate.name,
            pool_name: pool.get(index).map_or("", |model| &model.name),
            skill,
            cost_usd: if is_free { 0.0 } else { cost },
        })
        .collect();
    let ranking = rank(&rule, &offers, query_hash);
    let highest = costs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let is_strong = ranking.first().and_then(|&place| costs.get(place)).is_some_and(|cost| *cost >= highest);
    let win_rate = win_rate_of_dearest(skills.iter().map(|&(_, skill)| skill).zip(costs.iter().copied()));
    let rating = |index: usize| plan.ratings.get(index).copied().unwrap_or(f64::NEG_INFINITY);
    let best = skills.iter().map(|&(index, _)| index).max_by(|&a, &b| rating(a).total_cmp(&rating(b)));
    let ranking = ranking.into_iter().filter_map(|place| rated.get(place).map(|&(index, _)| index)).collect();
    let reference_skill = match rule {
        Rule::Utility { reference_skill, .. } => Some(reference_skill),
        Rule::Threshold { .. } => None,
    };
    Ok((ranking, Scores { skills, win_rate, is_strong, best, reference_skill, queued }))
}
