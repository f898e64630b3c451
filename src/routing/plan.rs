//! How one tenant's route chooses: everything about a decision that does not depend on the request, worked out
//! when the configuration is loaded.

use std::{sync::Arc, time::Duration};

use pointsman_routers::{Candidate, select::cost};

use super::{candidates::PoolModel, drift::Drift, engine::Engine, worker::Worker};
use crate::config::RoutingText;

/// Answers of a model whose mean length is not known yet.
pub const MEAN_OUTPUT_TOKENS: f64 = 300.0;

/// A route of one tenant. Models are named by their place in the tenant's pool.
#[derive(Debug, Clone)]
pub enum Plan {
    /// These models, in this order.
    Static {
        /// Places in the pool.
        order: Vec<usize>,
    },
    /// As a router decides.
    Learned(Box<LearnedPlan>),
}

/// A route that a router decides.
#[derive(Debug, Clone)]
pub struct LearnedPlan {
    /// The router.
    pub engine: Engine,
    /// Its thread, where its cost class asks for one.
    pub worker: Option<Worker>,
    /// The rule.
    pub rule: RulePlan,
    /// One per model of the pool; `None` for a model that is not rated.
    pub candidates: Vec<Option<Candidate>>,
    /// The global rating of each model of the pool; below any other for a model that is not rated.
    pub ratings: Vec<f64>,
    /// What each model of the pool is expected to cost.
    pub costs: Costs,
    /// The share of requests that is to go to the dearest model, where that is configured.
    pub strong_share: Option<f64>,
    /// How far the requests that come are from the artefact's calibration sample, where it has one.
    pub drift: Option<Arc<Drift>>,
    /// Where a failing router's requests go: the tenant's default model, then by global rating.
    pub fail_open_order: Vec<usize>,
    /// Longest decision.
    pub timeout: Duration,
    /// Which text is read.
    pub text: RoutingText,
    /// Most characters of it.
    pub text_chars_max: usize,
}

impl LearnedPlan {
    /// Some of the models that can be routed to are dearer than others.
    #[must_use]
    pub fn has_choice(&self) -> bool {
        let rated = self.candidates.iter().enumerate().filter(|(_, candidate)| candidate.is_some());
        let mut costs = rated.map(|(place, _)| self.costs.expected(place, MEAN_OUTPUT_TOKENS));
        let first = costs.next();
        costs.any(|cost| first.is_some_and(|first| cost.total_cmp(&first).is_ne()))
    }
}

/// The rule of a route, its threshold solved where the configuration gives a share or a budget.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RulePlan {
    /// As [`pointsman_routers::select::Rule::Threshold`].
    Threshold {
        /// The probability to be reached.
        alpha: f64,
        /// The share of texts at exactly `alpha` that reach it.
        split: f64,
    },
    /// As [`pointsman_routers::select::Rule::Utility`].
    Utility {
        /// Win probability per USD.
        lambda: f64,
        /// The pool's model with the highest global rating, the request's filters aside.
        reference: usize,
    },
}

/// What the models of a pool are expected to cost.
#[derive(Debug, Clone, PartialEq)]
pub enum Costs {
    /// By their prices; a model without one is taken to be free.
    Priced(Vec<cost::Price>),
    /// No model of the pool has a price: the higher a model's global rating, the dearer it is taken to be.
    ByRating(Vec<f64>),
}

impl Costs {
    /// The costs of a pool whose models have these global ratings.
    #[must_use]
    pub fn of(pool: &[PoolModel], ratings: &[f64]) -> Self {
        if pool.iter().all(|model| model.price.is_none()) {
            // Only the order counts: places, not ratings, so that equal ratings stay equally dear.
            let dearer_than = |rating: f64| ratings.iter().filter(|&&other| other < rating).count();
            #[expect(clippy::cast_precision_loss, reason = "a pool is small")]
            return Self::ByRating(ratings.iter().map(|&rating| dearer_than(rating) as f64).collect());
        }
        Self::priced(pool)
    }

    /// By the prices of a pool's models.
    #[must_use]
    pub fn priced(pool: &[PoolModel]) -> Self {
        Self::Priced(pool.iter().map(price).collect())
    }

    /// Expected cost of a request with this many prompt tokens to a model of the pool, in USD; without prices,
    /// its place among the pool's ratings.
    #[must_use]
    pub fn expected(&self, model: usize, prompt_tokens: f64) -> f64 {
        match self {
            Self::Priced(prices) => prices
                .get(model)
                .map_or(0.0, |price| price.expected_cost_usd(prompt_tokens, MEAN_OUTPUT_TOKENS)),
            Self::ByRating(places) => places.get(model).copied().unwrap_or(0.0),
        }
    }
}

fn price(model: &PoolModel) -> cost::Price {
    cost::Price {
        input_usd_per_million: model.price.map_or(0.0, |price| price.input.usd_per_million()),
        output_usd_per_million: model.price.map_or(0.0, |price| price.output.usd_per_million()),
    }
}

/// A tenant's pool with its plans.
#[derive(Debug, Clone)]
pub struct PoolPlans {
    /// The pool.
    pub models: Arc<[PoolModel]>,
    /// Its routes by name.
    pub routes: std::collections::BTreeMap<Arc<str>, Arc<Plan>>,
    /// A plan for each kind of router there is, for `router-<name>-<threshold>`; the threshold is the request's.
    pub routers: std::collections::BTreeMap<&'static str, Arc<LearnedPlan>>,
}
