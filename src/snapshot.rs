//! The configuration made ready: one immutable value that a request sees from its beginning to its end.
//!
//! Holds no counters, connections or other state of the running process (law 9): those outlive it.

mod build;
mod routes;
mod solve;

use std::{collections::BTreeMap, sync::Arc};

pub use build::{BuildContext, RouteFault, build};
use rustls::ServerConfig;

use crate::{
    config::{Delivery, ServerLimits, TenantLimits},
    routing::plan::PoolPlans,
    tenancy::Keyring,
    upstream::model::Model,
};

/// Everything that a configuration decides.
#[derive(Debug)]
pub struct Snapshot {
    /// The limits of the process.
    pub limits: ServerLimits,
    /// What the clients' listener shows, where it has TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// Who is calling.
    pub keyring: Keyring,
    tenants: BTreeMap<Arc<str>, Arc<Tenant>>,
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
    /// How each route's requests are delivered.
    pub deliveries: Arc<BTreeMap<String, Delivery>>,
    /// How much it may do.
    pub limits: Option<TenantLimits>,
}

impl Tenant {
    /// How a route's requests are delivered; those that name a model, or a router, as the default route's.
    #[must_use]
    pub fn delivery(&self, route: &str) -> Delivery {
        let of = |route: &str| self.deliveries.get(route).copied();
        of(route).or_else(|| of(&self.default_route)).unwrap_or_default()
    }
}

impl Snapshot {
    /// The tenant of that name.
    #[must_use]
    pub fn tenant(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(name)
    }

    /// Every tenant.
    pub fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }
}
