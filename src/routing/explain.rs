//! Why a request goes where it goes: all that a decision was made of, and nothing else.

use std::collections::BTreeMap;

use pointsman_routers::{Candidate, KnownBattle, select::win_probability};
use serde::Serialize;

use super::{
    candidates::{Exclusion, PoolModel},
    decide::{Asked, Decision},
    engine::Engine,
    plan::{Costs, LearnedPlan, Plan, RulePlan},
    text::routing_text,
};
use crate::telemetry::live;

/// Battles that are shown.
const BATTLES_MAX: usize = 5;

/// A decision and its reasons. Models go by their names in the pool.
#[derive(Debug, Serialize)]
pub struct Explanation<'a> {
    /// The choice; none where no model can serve the request.
    pub model: Option<&'a str>,
    /// Who decided.
    pub router: &'static str,
    /// The version of the artefact that it is made of, if it is made of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact: Option<String>,
    /// What chose among the scored.
    pub rule: Rule<'a>,
    /// θ of every model that was scored.
    pub skills: BTreeMap<&'a str, f64>,
    /// P(a beats b), a tie counted half.
    pub win_rates: BTreeMap<&'a str, BTreeMap<&'a str, f64>>,
    /// The probability that the dearest beats every cheaper one, which a threshold is compared with first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub win_rate: Option<f64>,
    /// What each is expected to cost for this request, where prices are known.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub expected_cost_usd: BTreeMap<&'a str, f64>,
    /// Models that cannot be chosen, and why.
    pub excluded: BTreeMap<&'a str, String>,
    /// The choice, then the fallbacks in their order.
    pub ranking: Vec<&'a str>,
    /// Why the router's word was not heard, where it was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fail_open: Option<&'static str>,
    /// Battles between these models on the known prompts most like this one, of routers that keep battles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nearest_battles: Vec<Battle<'a>>,
    /// How long the decision took, in microseconds.
    pub decision_us: u64,
}

/// What chooses among scored models; of utilities, with what they are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rule<'a> {
    /// The rule.
    #[serde(flatten)]
    pub by: live::Rule,
    /// The model that all are compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<&'a str>,
    /// Each model's: P(it beats the reference) − λ · cost in USD.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub utilities: Option<BTreeMap<&'a str, f64>>,
}

/// A battle that the router knows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Battle<'a> {
    /// Where it is in the artefact.
    pub id: String,
    /// The cosine of its prompt with this one.
    pub similarity: f32,
    /// Who was compared.
    pub models: [&'a str; 2],
    /// The first one's share of the win.
    pub share: f64,
}

/// What is explained: a decision of this plan by this rule, about such a request.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The pool.
    pub models: &'a [PoolModel],
    /// Its plan; none for a request that names a model.
    pub plan: Option<&'a LearnedPlan>,
    /// The rule, where the plan has one.
    pub rule: Option<RulePlan>,
    /// About how long the prompt is.
    pub prompt_tokens: u64,
}

/// A question for the battles nearest to a request.
#[derive(Debug)]
pub struct NearestQuestion {
    engine: Engine,
    text: String,
    candidates: Vec<Candidate>,
    /// Those candidates' places in the pool.
    places: Vec<usize>,
}

impl NearestQuestion {
    /// The battles, the most similar first, with the places of their models in the pool. Takes milliseconds, on this thread.
    #[must_use]
    pub fn answer(&self) -> Vec<([usize; 2], KnownBattle)> {
        let known = self.engine.nearest(&self.text, &self.candidates, BATTLES_MAX);
        let placed = |known: KnownBattle| {
            let [a, b] = known.candidates.map(|candidate| self.places.get(candidate).copied());
            Some(([a?, b?], known))
        };
        known.into_iter().filter_map(placed).collect()
    }
}

impl<'a> Subject<'a> {
    /// By a plan's own rule.
    #[must_use]
    pub fn of(models: &'a [PoolModel], plan: &'a Plan, prompt_tokens: u64) -> Self {
        match plan {
            Plan::Static { .. } => Self { models, plan: None, rule: None, prompt_tokens },
            Plan::Learned(plan) => Self { models, plan: Some(plan), rule: Some(plan.rule), prompt_tokens },
        }
    }

    fn name(&self, place: usize) -> Option<&'a str> {
        self.models.get(place).map(|model| &*model.name)
    }

    /// Explains a decision.
    #[must_use]
    pub fn explain(&self, decision: &Decision) -> Explanation<'a> {
        let ranking: Vec<&str> = decision.ranking.iter().filter_map(|&place| self.name(place)).collect();
        let skills: BTreeMap<&str, f64> = self.named(decision.scores.skills.iter().copied());
        let against = |(name, skill): (&&'a str, &f64)| {
            let others = skills.iter().filter(|(other, _)| *other != name);
            (*name, others.map(|(other, of_other)| (*other, win_probability(*skill, *of_other))).collect())
        };
        Explanation {
            model: ranking.first().copied(),
            router: decision.router,
            artifact: decision.artifact.as_deref().map(str::to_owned),
            rule: self.rule(decision),
            win_rates: skills.iter().map(against).collect(),
            win_rate: decision.scores.win_rate,
            expected_cost_usd: self.named(
                decision.scores.skills.iter().filter_map(|&(place, _)| Some((place, self.cost(place)?))),
            ),
            skills,
            excluded: self
                .named(decision.excluded.iter().map(|&(place, why)| (place, self.reason(place, why)))),
            ranking,
            fail_open: decision.fail_open.map(|reason| reason.label()),
            nearest_battles: Vec::new(),
            decision_us: u64::try_from(decision.elapsed.as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// What is to be asked for the battles nearest to a request, where the router keeps any.
    #[must_use]
    pub fn question(&self, asked: Asked<'_>, decision: &Decision) -> Option<NearestQuestion> {
        let plan = self.plan.filter(|plan| plan.engine.router().keeps_battles())?;
        let rated = decision
            .scores
            .skills
            .iter()
            .filter_map(|&(place, _)| Some((place, plan.candidates.get(place)?.clone()?)));
        let (places, candidates): (Vec<usize>, Vec<Candidate>) = rated.unzip();
        let text = routing_text(plan.text, asked.messages, plan.text_chars_max);
        (!places.is_empty()).then(|| NearestQuestion {
            engine: plan.engine.clone(),
            text,
            candidates,
            places,
        })
    }

    /// The battles that were found, by the names of the pool.
    #[must_use]
    pub fn battles(&self, found: Vec<([usize; 2], KnownBattle)>) -> Vec<Battle<'a>> {
        let battle = |(places, known): ([usize; 2], KnownBattle)| {
            let [a, b] = places.map(|place| self.name(place));
            let KnownBattle { id, similarity, share, .. } = known;
            Some(Battle { id, similarity, models: [a?, b?], share })
        };
        found.into_iter().filter_map(battle).collect()
    }

    fn named<T>(&self, by_place: impl Iterator<Item = (usize, T)>) -> BTreeMap<&'a str, T> {
        by_place.filter_map(|(place, value)| Some((self.name(place)?, value))).collect()
    }

    /// What a model is expected to cost for the request, in USD, where prices are known.
    #[must_use]
    pub fn cost(&self, place: usize) -> Option<f64> {
        let costs = self.plan.map(|plan| &plan.costs).filter(|costs| matches!(costs, Costs::Priced(_)))?;
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        Some(costs.expected(place, self.prompt_tokens as f64))
    }

    /// What chooses.
    #[must_use]
    pub fn by(&self) -> live::Rule {
        match self.rule {
            None => live::Rule::Order,
            Some(RulePlan::Threshold { alpha, split }) => {
                let plan = self.plan.filter(|plan| plan.rule == RulePlan::Threshold { alpha, split });
                let strong_share = plan.and_then(|plan| plan.strong_share);
                live::Rule::Threshold { threshold: alpha, split, strong_share }
            }
            Some(RulePlan::Utility { lambda, .. }) => live::Rule::Utility { lambda },
        }
    }

    fn rule(&self, decision: &Decision) -> Rule<'a> {
        let (by, mut reference, mut utilities) = (self.by(), None, None);
        if let Some(RulePlan::Utility { lambda, reference: place }) = self.rule {
            let utility = |&(place, skill): &(usize, f64)| {
                let win_rate = win_probability(skill, decision.scores.reference_skill?);
                Some((place, win_rate - lambda * self.cost(place).unwrap_or_default()))
            };
            reference = self.name(place);
            utilities = Some(self.named(decision.scores.skills.iter().filter_map(utility)));
        }
        Rule { by, reference, utilities }
    }

    fn reason(&self, place: usize, exclusion: Exclusion) -> String {
        match (exclusion, self.plan, self.models.get(place)) {
            (Exclusion::Unrated, Some(plan), Some(model)) => {
                let hint = plan.engine.hint(&model.rated_as).map(|hint| format!("; {hint}"));
                format!("is unknown to router {}{}", plan.engine.router().name(), hint.unwrap_or_default())
            }
            _ => exclusion.to_string(),
        }
    }
}
