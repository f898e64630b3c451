//! A tenant's routes, worked out against its pool.

use std::{collections::BTreeMap, sync::Arc};

use pointsman_routers::Candidate;

use super::{
    build::{Engines, Prepared},
    solve::{Solution, Solutions},
};
use crate::{
    config::{Config, Diagnostics, RouteChoice, RoutedConfig, Selection, Source, TenantConfig},
    routing::{
        candidates::PoolModel,
        drift::Drift,
        plan::{Costs, LearnedPlan, Plan, PoolPlans, RulePlan},
    },
};

/// Where a tenant is written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) source: &'a Source,
    /// The field of the source that is the tenant.
    pub(super) path: &'a [&'a str],
}

/// What the plans of one tenant are made of.
pub(super) struct Routes<'a> {
    pub(super) config: &'a Config,
    pub(super) engines: &'a Engines,
    pub(super) solutions: &'a Solutions,
    pub(super) tenant: &'a TenantConfig,
    pub(super) place: Place<'a>,
    pub(super) pool: Arc<[PoolModel]>,
}

impl Routes<'_> {
    /// Every route that this tenant can use, and a plan for every router.
    pub(super) fn plan(&self, found: &mut Diagnostics) -> PoolPlans {
        let mut routes: BTreeMap<Arc<str>, Arc<Plan>> = BTreeMap::new();
        let allowed = self.tenant.allowed_routes.as_ref();
        for (name, route) in &self.config.routes {
            // A route that the tenant may not use does not exist for it.
            if allowed.is_some_and(|allowed| !allowed.contains(name)) {
                continue;
            }
            let plan = match &route.choice {
                RouteChoice::Static { models } => self.static_plan(name, models, found),
                RouteChoice::Routed(routed) => self.routed_plan(name, routed, found),
            };
            if let Some(plan) = plan {
                routes.insert(name.as_str().into(), Arc::new(plan));
            }
        }
        let mut routers = BTreeMap::new();
        // Who may use some routes only may not make others of routers' names.
        for (kind, prepared) in self.engines.by_kind().filter(|_| allowed.is_none()) {
            let standard = RoutedConfig { router: kind, timeout: kind.timeout(), ..RoutedConfig::standard() };
            let rule = RulePlan::Threshold { alpha: 0.5, split: 1.0 };
            routers.insert(kind.name(), Arc::new(self.learned(prepared, &standard, rule)));
        }
        PoolPlans { models: Arc::clone(&self.pool), routes, routers }
    }

    fn static_plan(&self, route: &str, models: &[String], found: &mut Diagnostics) -> Option<Plan> {
        let place = |name: &String| self.pool.iter().position(|model| *model.name == **name);
        let order: Vec<usize> = models.iter().filter_map(place).collect();
        if order.is_empty() && self.tenant.default_route == route {
            let message = format!("none of the models of its default route '{route}' is in the pool");
            let hint = Some("add one of them to the pool, or give another default_route".to_owned());
            let path = [self.place.path, &["pool"]].concat();
            found.push(self.place.source.error(&path, message, hint));
        }
        // A route without a model of the pool does not exist for this tenant.
        (!order.is_empty()).then_some(Plan::Static { order })
    }

    fn routed_plan(&self, route: &str, routed: &RoutedConfig, found: &mut Diagnostics) -> Option<Plan> {
        let prepared = self.engines.of_route(routed)?;
        self.warn_of_unrated(prepared, found);
        let provisional = RulePlan::Threshold { alpha: 0.5, split: 1.0 };
        let mut plan = self.learned(prepared, routed, provisional);
        let selection = self.tenant.selection.unwrap_or(routed.selection);
        if let Selection::StrongShare(share) = selection {
            plan.strong_share = Some(share.get());
        }
        let Solution { threshold, win_rates } = self.solutions.of(&plan, selection);
        plan.drift = win_rates.map(|win_rates| Arc::new(Drift::against(&win_rates)));
        match self.rule(&plan, threshold, selection) {
            Ok(rule) => plan.rule = rule,
            Err(message) => {
                found.push(self.config.source.error(&["routes", route], message, None));
                return None;
            }
        }
        Some(Plan::Learned(Box::new(plan)))
    }

    /// Models that no row describes can be called by name, not routed to.
    fn warn_of_unrated(&self, prepared: &Prepared, found: &mut Diagnostics) {
        for model in &*self.pool {
            if prepared.engine.router().place(&model.rated_as, model.elo).is_none() {
                let router = prepared.engine.router().name();
                let message = format!("router {router} knows no '{}': it is never routed to", model.rated_as);
                let help = || "give rated_as the name of a model it knows, or elo".to_owned();
                let hint = Some(prepared.engine.hint(&model.rated_as).unwrap_or_else(help));
                found.push(self.config.source.warning(&["models", &model.name], message, hint));
            }
        }
    }

    fn rule(
        &self,
        plan: &LearnedPlan,
        solved: Result<RulePlan, String>,
        selection: Selection,
    ) -> Result<RulePlan, String> {
        Ok(match selection {
            Selection::Threshold(alpha) => RulePlan::Threshold { alpha: alpha.get(), split: 1.0 },
            Selection::Utility(lambda) => RulePlan::Utility { lambda, reference: self.reference(plan) },
            Selection::StrongShare(_) | Selection::BudgetUsdPer1k(_) => solved?,
        })
    }

    /// The pool's model with the highest global rating.
    fn reference(&self, plan: &LearnedPlan) -> usize {
        by_rating(&plan.ratings)
            .into_iter()
            .find(|&place| plan.candidates.get(place).is_some_and(Option::is_some))
            .unwrap_or(0)
    }

    fn learned(&self, prepared: &Prepared, routed: &RoutedConfig, rule: RulePlan) -> LearnedPlan {
        let router = prepared.engine.router();
        let candidates: Vec<Option<Candidate>> =
            self.pool.iter().map(|model| router.place(&model.rated_as, model.elo)).collect();
        let ratings = ratings(router, &candidates);
        let mut fail_open_order = by_rating(&ratings);
        if let Some(default) = &self.tenant.default_model
            && let Some(place) = self.pool.iter().position(|model| *model.name == **default)
        {
            fail_open_order.retain(|&other| other != place);
            fail_open_order.insert(0, place);
        }
        LearnedPlan {
            engine: prepared.engine.clone(),
            worker: prepared.worker.clone(),
            rule,
            costs: Costs::of(&self.pool, &ratings),
            ratings,
            strong_share: None,
            drift: None,
            candidates,
            fail_open_order,
            timeout: routed.timeout,
            text: routed.text,
            text_chars_max: self.config.server.routing_text_chars,
        }
    }
}

/// Global ratings of a pool; unrated models below every other.
fn ratings(router: &dyn pointsman_routers::Router, candidates: &[Option<Candidate>]) -> Vec<f64> {
    candidates
        .iter()
        .map(|one| one.as_ref().map_or(f64::NEG_INFINITY, |candidate| router.prior(candidate)))
        .collect()
}

/// Places in the order of their ratings, highest first.
fn by_rating(ratings: &[f64]) -> Vec<usize> {
    let mut places: Vec<(usize, f64)> = ratings.iter().copied().enumerate().collect();
    places.sort_by(|a, b| b.1.total_cmp(&a.1));
    places.into_iter().map(|(place, _)| place).collect()
}
