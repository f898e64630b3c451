//! Series of metrics that are there before the first request.

use super::App;
use crate::{
    routing::plan::Plan,
    snapshot::{Snapshot, Tenant},
    telemetry::{
        metrics::{Metrics, NONE},
        outcome::Limit,
    },
};

impl App {
    /// Shows what can be shown before the first request.
    pub(crate) fn seed(&self, snapshot: &Snapshot) {
        let metrics = &self.metrics;
        metrics.seed_outcomes(NONE, NONE, NONE);
        snapshot.caches().for_each(|(route, _)| metrics.seed_cache(route));
        for tenant in snapshot.tenants() {
            seed_limits(metrics, tenant);
            for model in &*tenant.plans.models {
                metrics.seed_outcomes(&tenant.name, &tenant.default_route, &model.name);
                metrics.seed_estimates(&model.name);
            }
            for plan in tenant.plans.routes.values() {
                if let Plan::Learned(plan) = &**plan {
                    metrics.seed_router(plan.engine.router().name());
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
