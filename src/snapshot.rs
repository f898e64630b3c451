//! The configuration made ready: one immutable value that a request sees from its beginning to its end.
//!
//! Holds no counters, connections or other state of the running process (law 9): those outlive it.

mod build;
mod ground;
mod managed;
mod routes;
mod solve;

use std::{collections::BTreeMap, sync::Arc, time::SystemTime};

pub use build::{BuildContext, Load, RouteFault, build};
use ground::Ground;
use http::HeaderMap;
pub use managed::{Managed, Misfit};
use rustls::ServerConfig;

use crate::{
    budget::Purse,
    cache::CacheRules,
    config::{Config, Delivery, ServerLimits, TenantConfig, TenantLimits},
    routing::plan::{Plan, PoolPlans},
    tenancy::{
        AuthError, Keyring, bearer,
        jwt::{Bearer, Issuer, is_token},
    },
    upstream::{model::Model, webhook::Webhook},
};

/// Everything that a configuration decides.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The limits of the process.
    pub limits: ServerLimits,
    /// What the clients' listener shows, where it has TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who is calling.
    keyring: Keyring<Arc<Caller>>,
    /// When somebody is told of budgets, and who.
    pub alerts: Alerts,
    /// The operators' keys, and when each ends.
    pub operators: Keyring<Option<SystemTime>>,
    /// The keys of the store.
    stored: Keyring<Arc<Caller>>,
    issuers: Vec<Arc<Issuer>>,
    /// Whom tokens stand for: each tenant, and each of its projects.
    bearers: Bearers,
    /// Those of the file, and those of the store that are in force.
    tenants: BTreeMap<Arc<str>, Arc<Tenant>>,
    managed: BTreeMap<String, Managed>,
    ground: Arc<Ground>,
}

/// Callers by tenant and project.
type Bearers = BTreeMap<(Arc<str>, Option<Arc<str>>), Arc<Caller>>;

/// When somebody is told of budgets, and who.
#[derive(Debug, Clone, Default)]
pub struct Alerts {
    /// Shares of a budget.
    pub levels: Vec<f64>,
    /// Who is told.
    pub webhook: Option<Arc<Webhook>>,
}

/// Whose a request is: the one whom its key stands for.
#[derive(Debug)]
pub struct Caller {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// The tenant's project that the key belongs to.
    pub project: Option<Arc<str>>,
    /// What the key is called; none where the tenant is open and there was no key.
    pub key: Option<Arc<str>>,
    /// What the request counts against, where there is a budget.
    pub purse: Option<Arc<Purse>>,
    expires: Option<SystemTime>,
}

/// A tenant: what it may reach, and how its requests are routed.
#[derive(Debug)]
pub struct Tenant {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// The models of its pool, in the order of [`PoolPlans::models`].
    pub upstreams: Vec<Arc<Model>>,
    /// The same models as routing sees them, and the routes.
    pub plans: PoolPlans,
    /// The route that `auto` stands for.
    pub default_route: Arc<str>,
    /// What the configuration says of it.
    pub config: Arc<TenantConfig>,
    /// How each route's requests are delivered.
    pub deliveries: Arc<BTreeMap<String, Delivery>>,
    /// How much it may do.
    pub limits: Option<TenantLimits>,
    /// What is written down with each of its requests, as an object of JSON.
    pub tags: Option<Arc<str>>,
}

impl Tenant {
    /// How a route's requests are delivered; those that name a model, or a router, as the default route's.
    #[must_use]
    pub fn delivery(&self, route: &str) -> Delivery {
        let of = |route: &str| self.deliveries.get(route).copied();
        of(route).or_else(|| of(&self.default_route)).unwrap_or_default()
    }

    /// The route whose cache a route's requests have: as for [`Tenant::delivery`].
    #[must_use]
    pub fn cache_route<'a>(&'a self, route: &'a str) -> &'a str {
        if self.deliveries.contains_key(route) { route } else { &self.default_route }
    }
}

impl Snapshot {
    /// The beginning of the SHA-256 of the configuration's file.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.ground.config.digest
    }

    /// The tenant of that name.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(name)
    }

    /// The caller that a request's headers belong to.
    ///
    /// # Errors
    /// When there is none, or its time is over.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<&Arc<Caller>, AuthError> {
        if let Some(token) = bearer(headers).filter(|bearer| is_token(bearer))
            && let Some(issuer) = self.issuers.iter().find(|issuer| issuer.is_named_by(token))
        {
            let Bearer { tenant, project } = issuer.verify(token).await?;
            let named = (tenant.into(), project.map(Arc::from));
            return self.bearers.get(&named).ok_or(AuthError::Unknown);
        }
        let caller = match self.stored.find(headers) {
            Some(caller) => caller,
            None => self.keyring.authenticate(headers)?,
        };
        // Most keys have no end: the clock is not read for them.
        match caller.expires {
            Some(at) if SystemTime::now() >= at => Err(AuthError::Unknown),
            _ => Ok(caller),
        }
    }

    /// The keys of a configuration that differ and are read at the start alone.
    #[must_use]
    pub fn waits_for_a_restart(&self, config: &Config) -> Vec<&'static str> {
        let before = &self.ground.config;
        [
            ("listen", before.listen != config.listen),
            ("admin_listen", before.admin_listen != config.admin_listen),
            ("database", before.database != config.database),
            (
                "redis",
                before.redis.as_ref().map(|redis| &redis.url)
                    != config.redis.as_ref().map(|redis| &redis.url),
            ),
            ("traces", before.traces != config.traces),
            ("retention", before.retention != config.retention),
        ]
        .into_iter()
        .filter_map(|(key, differs)| differs.then_some(key))
        .collect()
    }

    /// What is known of the latest decisions is so under this configuration, too.
    pub(crate) fn go_on_from(&self, before: &Self) {
        let drifts = |tenant: &Tenant| {
            let learned = |(route, plan): (&Arc<str>, &Arc<Plan>)| match &**plan {
                Plan::Learned(plan) => Some((Arc::clone(route), Arc::clone(plan.drift.as_ref()?))),
                Plan::Static { .. } => None,
            };
            tenant.plans.routes.iter().filter_map(learned).collect::<BTreeMap<_, _>>()
        };
        for tenant in self.tenants() {
            let Some(known) = before.tenant(&tenant.name).map(|tenant| drifts(tenant)) else { continue };
            for (route, drift) in drifts(tenant) {
                if let Some(known) = known.get(&route).filter(|known| !Arc::ptr_eq(known, &drift)) {
                    drift.go_on_from(known);
                }
            }
        }
    }

    /// Who calls in a tenant's own name: with no project, and no key.
    #[must_use]
    pub fn itself(&self, tenant: &str) -> Option<&Arc<Caller>> {
        let name = Arc::clone(&self.tenant(tenant)?.name);
        self.bearers.get(&(name, None))
    }

    /// Everybody who may call, each tenant and project by itself among them.
    pub fn callers(&self) -> impl Iterator<Item = &Arc<Caller>> {
        self.keyring.callers().chain(self.stored.callers()).chain(self.bearers.values())
    }

    /// The routes that have a cache.
    pub fn caches(&self) -> impl Iterator<Item = (&str, CacheRules)> {
        self.ground.deliveries.iter().filter_map(|(route, delivery)| Some((route.as_str(), delivery.cache?)))
    }

    /// Every tenant.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }
}
