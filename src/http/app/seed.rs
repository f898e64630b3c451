//! Series of metrics that are there before the first request.

use std::time::SystemTime;

use super::App;
use crate::{
    config::{Delivery, StreamRecovery},
    routing::plan::Plan,
    snapshot::{Snapshot, Tenant},
    telemetry::{
        metrics::{Metrics, NONE},
        outcome::Limit,
    },
};

/// Models of all tenants together: with more of them, outcomes are shown once there is one.
const SEEDED_MAX: usize = 500;

impl App {
    /// Shows what can be shown before the first request.
    pub(crate) fn seed(&self, snapshot: &Snapshot) {
        let metrics = &self.metrics;
        metrics.seed_outcomes(NONE, NONE, NONE);
        snapshot.caches().for_each(|(route, _)| metrics.seed_cache(route));
        let purses = snapshot.callers().filter_map(|caller| caller.purse.as_ref());
        for standing in purses.flat_map(|purse| purse.standing(SystemTime::now())) {
            metrics.budgets.seed(&standing, &snapshot.alerts.levels);
        }
        let pools: usize = snapshot.tenants().map(|tenant| tenant.plans.models.len()).sum();
        let is_small = pools <= SEEDED_MAX;
        for tenant in snapshot.tenants() {
            seed_limits(metrics, tenant);
            for model in &*tenant.plans.models {
                if is_small {
                    metrics.seed_outcomes(&tenant.name, &tenant.default_route, &model.name);
                }
                metrics.seed_estimates(&model.name);
            }
            for (route, plan) in &tenant.plans.routes {
                let Delivery { hedge, stream_recovery, .. } = tenant.delivery(route);
                let may_be = (hedge, stream_recovery != StreamRecovery::Error);
                tenant.plans.models.iter().for_each(|model| metrics.upstreams.seed(&model.name, may_be));
                if let Plan::Learned(plan) = &**plan {
                    metrics.seed_router(route, plan.engine.router().name());
                    metrics.routing.seed(&tenant.name, route);
                }
            }
        }
    }
}

fn seed_limits(metrics: &Metrics, tenant: &Tenant) {
    let Some(limits) = tenant.limits else { return };
    for (limit, given) in
        [(Limit::Requests, limits.rpm), (Limit::Tokens, limits.tpm), (Limit::Concurrency, limits.concurrency)]
    {
        if given.is_some() {
            metrics.seed_limit(&tenant.name, limit);
        }
    }
}
