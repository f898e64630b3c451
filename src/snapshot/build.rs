//! From a configuration to a snapshot: artefacts loaded, models placed, thresholds solved. Everything that is
//! wrong is found in one go.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use pointsman_routers::CostClass;

use super::{Alerts, Bearers, Caller, Snapshot, Tenant, ground::Ground, routes::Place, solve::Solutions};
use crate::{
    budget::{BudgetRule, Budgets, Holder},
    config::{
        Config, Delivery, Diagnostics, EmbedderConfig, KeyConfig, RouteChoice, RoutedConfig, RouterKind,
    },
    routing::{engine::Engine, worker::Worker},
    tenancy::{Keyring, jwt::Issuer},
    upstream::{client::Clients, model::Model, webhook::Webhook},
};

/// What a snapshot is built with.
pub struct BuildContext<'a> {
    /// The connections to upstreams.
    pub clients: &'a Clients,
    /// The routers that ship in the binary.
    pub engines: &'a BTreeMap<&'static str, Engine>,
    /// What holders of budgets have spent.
    pub budgets: &'a Budgets,
    /// Loads the router of a route that asks for an artefact or embedder of its own.
    pub load: &'a Load<'a>,
}

/// Loads a router for a route; what another process reads for it is asked so many questions at once at most.
pub type Load<'a> = dyn Fn(&RoutedConfig, usize, &Clients) -> Result<Engine, RouteFault> + 'a;

/// Why a route has no router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteFault {
    /// The key of the route that is at fault.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl RouteFault {
    /// A fault that says all there is to say.
    pub fn new(key: &'static str, error: &dyn std::fmt::Display) -> Self {
        Self { key, message: error.to_string(), hint: None }
    }
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
    let deliveries = config.routes.iter().map(|(name, route)| (name.clone(), route.delivery));
    let deliveries: Arc<BTreeMap<String, Delivery>> = Arc::new(deliveries.collect());
    let (config_in_force, solutions) = (config.clone(), Solutions::default());
    let ground = Ground { config: config_in_force, upstreams, engines, solutions, deliveries };
    let mut tenants = BTreeMap::new();
    for (name, tenant) in &config.tenants {
        let place = Place { source: &config.source, path: &["tenants", name] };
        let built = ground.tenant(name, tenant, place, &mut found);
        tenants.insert(Arc::clone(&built.name), Arc::new(built));
    }
    if found.has_errors() {
        return Err(found);
    }
    let keyring = keyring(config, &tenants, context.budgets);
    let alerts = alerts(config, context.clients, &mut found);
    let mut operators = Keyring::default();
    for key in &config.admin_keys {
        operators.add(key.digest, key.expires);
    }
    let issuers = issuers(config, context.clients, &mut found);
    let bearers = bearers(&tenants, context.budgets);
    if found.has_errors() {
        return Err(found);
    }
    Ok((
        Snapshot {
            limits: config.server.clone(),
            tls: None,
            keyring,
            alerts,
            operators,
            stored: Keyring::default(),
            issuers,
            bearers,
            tenants,
            managed: BTreeMap::new(),
            ground: Arc::new(ground),
        },
        found,
    ))
}

fn keyring(
    config: &Config,
    tenants: &BTreeMap<Arc<str>, Arc<Tenant>>,
    budgets: &Budgets,
) -> Keyring<Arc<Caller>> {
    let mut keyring = Keyring::default();
    for (name, tenant_config) in &config.tenants {
        let Some(tenant) = tenants.get(name.as_str()) else { continue };
        for key in &tenant_config.keys {
            let project = key.project.as_deref().map(Arc::from);
            let caller = caller(tenant, (project, Some(key)), budgets);
            keyring.add(key.digest, Arc::new(caller));
        }
        if tenant_config.open {
            keyring.set_open(Arc::new(caller(tenant, (None, None), budgets)));
        }
    }
    keyring
}

fn alerts(config: &Config, clients: &Clients, found: &mut Diagnostics) -> Alerts {
    let mut alerts = Alerts { levels: config.alerts.levels.clone(), webhook: None };
    if let Some(url) = &config.alerts.webhook {
        match Webhook::prepare(url, clients) {
            Ok(webhook) => alerts.webhook = Some(Arc::new(webhook)),
            Err(error) => found.push(config.source.error(&["alerts", "webhook"], error.to_string(), None)),
        }
    }
    alerts
}

fn issuers(config: &Config, clients: &Clients, found: &mut Diagnostics) -> Vec<Arc<Issuer>> {
    let mut issuers = Vec::new();
    for jwt in &config.jwt {
        match Issuer::of(jwt, clients) {
            Ok(issuer) => issuers.push(issuer),
            Err(error) => found.push(config.source.error(&["jwt"], error.to_string(), None)),
        }
    }
    issuers
}

/// Whom tokens stand for.
pub(super) fn bearers(tenants: &BTreeMap<Arc<str>, Arc<Tenant>>, budgets: &Budgets) -> Bearers {
    let mut bearers = BTreeMap::new();
    for (name, tenant) in tenants {
        let projects = tenant.config.projects.keys().map(|project| Some(Arc::from(project.as_str())));
        for project in projects.chain([None]) {
            let caller = caller(tenant, (project.clone(), None), budgets);
            bearers.insert((Arc::clone(name), project), Arc::new(caller));
        }
    }
    bearers
}

pub(super) fn caller(
    tenant: &Arc<Tenant>,
    (project, key): (Option<Arc<str>>, Option<&KeyConfig>),
    budgets: &Budgets,
) -> Caller {
    let config = &tenant.config;
    let label = key.map(|key| Arc::from(key.label.as_str()));
    let of_tenant = Holder::tenant(&tenant.name);
    let of_project = Holder { project: project.clone(), ..of_tenant.clone() };
    let of_key = Holder { key: label.clone(), ..of_project.clone() };
    let project_rules = project.as_deref().and_then(|project| config.projects.get(project));
    let rules = |holder: &Holder, rules: &[BudgetRule]| -> Vec<_> {
        rules.iter().map(|rule| (holder.clone(), *rule)).collect()
    };
    let all = [
        rules(&of_tenant, &config.budgets),
        rules(&of_project, project_rules.map_or(&[], Vec::as_slice)),
        rules(&of_key, key.map_or(&[], |key| &key.budgets)),
    ];
    Caller {
        tenant: Arc::clone(tenant),
        purse: budgets.purse(all.into_iter().flatten()),
        project,
        key: label,
        expires: key.and_then(|key| key.expires),
    }
}

fn prepare_models(
    config: &Config,
    clients: &Clients,
    found: &mut Diagnostics,
) -> BTreeMap<String, Arc<Model>> {
    let mut prepared = BTreeMap::new();
    for (name, model) in &config.models {
        match Model::prepare(name, model, clients) {
            Ok(model) => {
                prepared.insert(name.clone(), Arc::new(model));
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

impl Prepared {
    fn start(engine: Engine, queue_max: usize) -> std::io::Result<Self> {
        let needs_thread = engine.cost() > CostClass::Microseconds;
        let worker = needs_thread.then(|| Worker::start(engine.clone(), queue_max)).transpose()?;
        Ok(Self { engine, worker })
    }
}

/// The routers of a configuration. Routes that ask for the same share it.
#[derive(Debug, Default)]
pub(super) struct Engines {
    all: Vec<(Wanted, Prepared)>,
    /// By kind, for `router-<name>-<threshold>`: the one that ships, or else the first route's.
    by_kind: BTreeMap<RouterKind, Prepared>,
}

/// Kind, artefact and embedder.
type Wanted = (RouterKind, Option<PathBuf>, EmbedderConfig);

fn wanted(route: &RoutedConfig) -> Wanted {
    (route.router, route.artifact.clone(), route.embedder.clone())
}

impl Engines {
    /// The router of a route.
    pub(super) fn of_route(&self, route: &RoutedConfig) -> Option<&Prepared> {
        let wanted = wanted(route);
        self.all.iter().find(|(other, _)| *other == wanted).map(|(_, prepared)| prepared)
    }

    /// One router of each kind that there is.
    pub(super) fn by_kind(&self) -> impl Iterator<Item = (RouterKind, &Prepared)> {
        self.by_kind.iter().map(|(kind, prepared)| (*kind, prepared))
    }

    fn add(&mut self, wanted: Wanted, prepared: Prepared) {
        self.by_kind.entry(wanted.0).or_insert_with(|| prepared.clone());
        self.all.push((wanted, prepared));
    }
}

fn load_engines(config: &Config, context: &BuildContext<'_>, found: &mut Diagnostics) -> Engines {
    let mut engines = Engines::default();
    let queue_max = config.server.router_queue;
    for kind in RouterKind::ALL {
        let Some(engine) = context.engines.get(kind.name()) else { continue };
        match Prepared::start(engine.clone(), queue_max) {
            Ok(prepared) => engines.add((kind, None, EmbedderConfig::Static), prepared),
            Err(error) => {
                let message = format!("no thread for router {}: {error}", kind.name());
                found.push(config.source.error(&["routes"], message, None));
            }
        }
    }
    for (name, route) in &config.routes {
        let RouteChoice::Routed(route) = &route.choice else { continue };
        if engines.of_route(route).is_some() {
            continue;
        }
        let prepared = load(route, queue_max, context).and_then(|engine| {
            Prepared::start(engine, queue_max).map_err(|error| RouteFault::new("router", &error))
        });
        match prepared {
            Ok(prepared) => engines.add(wanted(route), prepared),
            Err(fault) => {
                found.push(config.source.error(&["routes", name, fault.key], fault.message, fault.hint));
            }
        }
    }
    engines
}

fn load(route: &RoutedConfig, queue_max: usize, context: &BuildContext<'_>) -> Result<Engine, RouteFault> {
    let kind = route.router.name();
    let ships_nowhere = !matches!(route.embedder, EmbedderConfig::Encoder(_));
    if route.artifact.is_none() && ships_nowhere && !context.engines.contains_key(kind) {
        let message = format!("no router `{kind}` ships in this binary: it needs an artefact");
        let mut hint = format!("name its file by `artifact:`; `pointsman train {kind}` writes one");
        if route.router == RouterKind::Bert {
            hint.push_str(
                ", and `embedder: {encoder: DIR}` alone takes the one that ships beside the binary",
            );
        }
        return Err(RouteFault { key: "router", message, hint: Some(hint) });
    }
    (context.load)(route, queue_max, context.clients)
}
