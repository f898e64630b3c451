//! What tenants stand on: all of a configuration that is not theirs. One that comes later is built as the file's are.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Tenant,
    build::Engines,
    routes::{Place, Routes},
    solve::Solutions,
};
use crate::{
    config::{Config, Delivery, Diagnostics, TenantConfig},
    routing::candidates::PoolModel,
    upstream::model::Model,
};

/// Models, routers and routes, ready for tenants.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) config: Config,
    pub(super) upstreams: BTreeMap<String, Arc<Model>>,
    pub(super) engines: Engines,
    pub(super) solutions: Solutions,
    pub(super) deliveries: Arc<BTreeMap<String, Delivery>>,
}

impl Ground {
    /// A tenant; of no use where an error was found.
    pub(super) fn tenant(
        &self,
        name: &str,
        tenant: &TenantConfig,
        place: Place<'_>,
        found: &mut Diagnostics,
    ) -> Tenant {
        let pool: Arc<[PoolModel]> = tenant
            .pool
            .iter()
            .filter_map(|model| Some(PoolModel::new(model, self.config.models.get(model)?)))
            .collect();
        let (config, engines, solutions) = (&self.config, &self.engines, &self.solutions);
        let plans = Routes { config, engines, solutions, tenant, place, pool }.plan(found);
        Tenant {
            name: name.into(),
            upstreams: tenant.pool.iter().filter_map(|model| self.upstreams.get(model).cloned()).collect(),
            plans,
            default_route: tenant.default_route.as_str().into(),
            config: Arc::new(tenant.clone()),
            deliveries: Arc::clone(&self.deliveries),
            limits: tenant.limits,
            tags: (!tenant.tags.is_empty())
                .then(|| serde_json::to_string(&tenant.tags).unwrap_or_default().into()),
        }
    }
}
