//! From a configuration to a snapshot: artefacts loaded, models placed, thresholds solved. Everything that is
//! wrong is found in one go.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Snapshot, Tenant, routes::Routes};
use crate::{
    config::{Config, Diagnostics, RouterKind},
    routing::{candidates::PoolModel, engine::Engine, worker::Worker},
    tenancy::Keyring,
    upstream::{client::Clients, model::Model},
};

/// What a snapshot is built with.
pub struct BuildContext<'a> {
    /// The connections to upstreams.
    pub clients: &'a Clients,
    /// The routers that ship in the binary.
    pub engines: &'a BTreeMap<&'static str, Engine>,
    /// Loads a router from a file.
    pub load: &'a dyn Fn(RouterKind, &Path) -> Result<Engine, String>,
}

impl std::fmt::Debug for BuildContext<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("BuildContext").field("engines", self.engines).finish_non_exhaustive()
    }
}

/// Builds a snapshot; its warnings come with it.
///
/// # Errors
/// With everything that is wrong, each with its place in the file.
pub fn build(config: &Config, context: &BuildContext<'_>) -> Result<(Snapshot, Diagnostics), Diagnostics> {
    let mut found = Diagnostics::default();
    let upstreams = prepare_models(config, context.clients, &mut found);
    let engines = load_engines(config, context, &mut found);
    if found.has_errors() {
        return Err(found);
    }
    let mut tenants = BTreeMap::new();
    for (name, tenant) in &config.tenants {
        let pool: Arc<[PoolModel]> = tenant
            .pool
            .iter()
            .filter_map(|model| Some(PoolModel::new(model, config.models.get(model)?)))
            .collect();
        let plans = Routes { config, engines: &engines, tenant_name: name, tenant, pool }.plan(&mut found);
        let built = Tenant {
            name: name.as_str().into(),
            upstreams: tenant
                .pool
                .iter()
                .filter_map(|model| upstreams.get(model.as_str()).cloned())
                .collect(),
            plans,
            default_route: tenant.default_route.as_str().into(),
        };
        tenants.insert(Arc::clone(&built.name), Arc::new(built));
    }
    if found.has_errors() {
        return Err(found);
    }
    let keyring = Keyring::new(config.tenants.iter().map(|(name, tenant)| (name.as_str(), tenant)));
    Ok((Snapshot { limits: config.server.clone(), keyring, tenants }, found))
}

fn prepare_models<'a>(
    config: &'a Config,
    clients: &Clients,
    found: &mut Diagnostics,
) -> BTreeMap<&'a str, Arc<Model>> {
    let mut prepared = BTreeMap::new();
    for (name, model) in &config.models {
        match Model::prepare(name, model, clients) {
            Ok(model) => {
                prepared.insert(name.as_str(), Arc::new(model));
            }
            Err(error) => found.push(config.source.error(&["models", name], error.to_string(), None)),
        }
    }
    prepared
}

/// A router and its thread, where it needs one.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) engine: Engine,
    pub(super) worker: Option<Worker>,
}

/// The routers of a configuration, by kind and file; `None` for the file is the one that ships.
pub(super) type Engines = HashMap<(&'static str, Option<PathBuf>), Prepared>;

fn load_engines(config: &Config, context: &BuildContext<'_>, found: &mut Diagnostics) -> Engines {
    let mut engines = Engines::new();
    let mut add = |key: (&'static str, Option<PathBuf>), engine: Engine| -> std::io::Result<()> {
        let needs_thread = engine.cost() > pointsman_routers::CostClass::Microseconds;
        let queue_max = config.server.router_queue;
        let worker = needs_thread.then(|| Worker::start(engine.clone(), queue_max)).transpose()?;
        engines.insert(key, Prepared { engine, worker });
        Ok(())
    };
    for (name, route) in &config.routes {
        let crate::config::RouteConfig::Routed(routed) = route else { continue };
        let Some(file) = &routed.artifact else { continue };
        let added = (context.load)(routed.router, file).and_then(|engine| {
            add((routed.router.name(), Some(file.clone())), engine).map_err(|error| error.to_string())
        });
        if let Err(message) = added {
            found.push(config.source.error(&["routes", name, "artifact"], message, None));
        }
    }
    for kind in RouterKind::ALL {
        let Some(engine) = context.engines.get(kind.name()) else { continue };
        if let Err(error) = add((kind.name(), None), engine.clone()) {
            found.push(config.source.error(
                &["routes"],
                format!("no thread for router {}: {error}", kind.name()),
                None,
            ));
        }
    }
    engines
}
