//! The assembly: configuration, routers, upstreams and listeners put together, run, and taken down.

mod alerts;
mod fleet;
pub mod reload;
mod routers;
mod start_error;

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    sync::{Arc, LazyLock, PoisonError},
    time::Duration,
};

use pointsman_routers::shipped::KINDS;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{routers::load_engine, start_error::StartError};
use crate::{
    budget::Budgets,
    config::{AccessLogTarget, Config, Database, DatabaseConfig, Diagnostics, RouterKind},
    http::{
        Face,
        app::{App, Watcher},
    },
    ledger::Ledger,
    routing::{embedders::Embedders, engine::Engine},
    server::{Listener, tls},
    snapshot::{BuildContext, Load, Snapshot, build},
    store::{KeyStore, StoreError},
    telemetry::{access_log::AccessLog, metrics::Metrics, traces::Traces},
    upstream::{client::Clients, collector::Collector},
};

/// One set for the process: open connections to upstreams outlive a configuration (law 9).
static CLIENTS: LazyLock<Clients> = LazyLock::new(Clients::from_environment);

/// How often it is looked whether tenants or keys have changed: a revoked one is of no use within a second.
const STORE_INTERVAL: Duration = Duration::from_millis(250);

/// How long other gateways are waited for at the start.
const FLEET_MAX: Duration = Duration::from_secs(3);

/// A gateway that holds its sockets and does not serve yet.
#[derive(Debug)]
pub struct Gateway {
    app: Arc<App>,
    public: Listener,
    admin: Option<Listener>,
}

/// What is wrong with a configuration beyond its form: artefacts, ratings, keys, certificates. The warnings, when
/// nothing is.
///
/// # Errors
/// When the gateway would not start with it.
pub fn check(config: &Config) -> Result<Diagnostics, StartError> {
    snapshot(config).map(|(_, warnings)| warnings)
}

/// A configuration made ready, with its warnings, for whoever wants its decisions without its sockets.
///
/// # Errors
/// As for [`check`].
pub fn snapshot(config: &Config) -> Result<(Snapshot, Diagnostics), StartError> {
    snapshot_with(config, &Budgets::default(), &load_engine)
}

/// As [`snapshot`], with what holders of `budgets` have spent, and with routers that do not ship in the binary loaded by `load`.
///
/// # Errors
/// As for [`snapshot`].
pub fn snapshot_with(
    config: &Config,
    budgets: &Budgets,
    load: &Load<'_>,
) -> Result<(Snapshot, Diagnostics), StartError> {
    let engines = shipped_engines()?;
    let context = BuildContext { clients: &CLIENTS, engines: &engines, budgets, load };
    ready(config, &context)
}

fn ready(config: &Config, context: &BuildContext<'_>) -> Result<(Snapshot, Diagnostics), StartError> {
    let (mut snapshot, warnings) = build(config, context).map_err(StartError::Config)?;
    snapshot.tls = config.tls.as_ref().map(tls::server_config).transpose()?;
    Ok((snapshot, warnings))
}

/// Puts a configuration in force, all of it or nothing; its warnings, when it is. Requests on their way end under
/// the one they began with. Addresses, whether the listener has TLS, and the limits on connections need a restart.
///
/// # Errors
/// When the gateway would not start with it: the one in force stays.
pub fn reload(app: &App, config: &Config) -> Result<Diagnostics, StartError> {
    let (mut snapshot, warnings) = snapshot_with(config, &app.budgets, &load_engine)?;
    let mut in_force_of_store = app.changing.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(store) = app.store.get() {
        *in_force_of_store = store.versions()?;
        snapshot = snapshot.with_stored(&store.tenants()?, &store.keys()?, &app.budgets);
    }
    let access_log = access_log(config)?;
    let in_force = app.snapshot.load().tls.clone();
    if snapshot.tls.is_some() != in_force.is_some() {
        tracing::warn!("reload: whether the listener has TLS changes with a restart only");
        snapshot.tls = in_force;
    }
    app.seed(&snapshot);
    app.book_before(&snapshot)?;
    for key in app.snapshot.load().waits_for_a_restart(config) {
        tracing::warn!("reload: `{key}` changes with a restart only");
    }
    if let (Some(fleet), Some(redis)) = (app.fleet.get(), &config.redis) {
        fleet.on_store_loss(redis.on_store_loss);
    }
    app.tell_left_out(&snapshot);
    app.put_in_force(snapshot);
    app.books.write_to(access_log);
    Ok(warnings)
}

/// Writes a ledger from now on, and knows what was spent before. Waits for the database.
fn keep_ledger(app: &App, database: &Database, retention: Option<Duration>) -> Result<(), StoreError> {
    let ledger = Ledger::open(database, retention, Arc::clone(&app.metrics))?;
    let store = KeyStore::open(database)?;
    app.books.keep(ledger);
    let _ = app.store.set(Arc::new(store));
    app.book_before(&app.snapshot.load())?;
    app.refresh_stored()
}

/// Looks again and again whether the store's tenants or keys have changed, by this process or another.
async fn watch_store(app: Arc<App>) {
    if app.store.get().is_none() {
        return std::future::pending().await;
    }
    let tasks = TaskTracker::new();
    let mut failed = false;
    loop {
        tokio::time::sleep(STORE_INTERVAL).await;
        let app = Arc::clone(&app);
        let Ok(refreshed) = tasks.spawn_blocking(move || app.refresh_stored()).await else { continue };
        match &refreshed {
            Err(error) if !failed => tracing::error!(
                "the tenants and keys of the database cannot be read, and those in force stay: {error}"
            ),
            Ok(()) if failed => tracing::info!("the tenants and keys of the database can be read again"),
            _ => {}
        }
        failed = refreshed.is_err();
    }
}

fn access_log(config: &Config) -> Result<Option<AccessLog>, StartError> {
    let open = |target: &AccessLogTarget| {
        AccessLog::open(target).map_err(|source| StartError::AccessLog { target: target.clone(), source })
    };
    config.access_log.as_ref().map(open).transpose()
}

impl Gateway {
    /// Prepares everything and binds the sockets. Warnings of the configuration are logged.
    ///
    /// # Errors
    /// When the configuration does not hold, or an address is taken.
    pub async fn bind(config: &Config, watcher: Option<Watcher>) -> Result<Self, StartError> {
        let budgets = Budgets::default();
        Self::assemble(config, snapshot_with(config, &budgets, &load_engine)?, budgets, watcher).await
    }

    /// As [`Gateway::bind`], with the routers and the way out of `context`.
    ///
    /// # Errors
    /// As for [`Gateway::bind`].
    pub async fn bind_with(
        config: &Config,
        context: &BuildContext<'_>,
        watcher: Option<Watcher>,
    ) -> Result<Self, StartError> {
        Self::assemble(config, ready(config, context)?, context.budgets.clone(), watcher).await
    }

    async fn assemble(
        config: &Config,
        (snapshot, warnings): (Snapshot, Diagnostics),
        budgets: Budgets,
        watcher: Option<Watcher>,
    ) -> Result<Self, StartError> {
        for warning in warnings.warnings() {
            tracing::warn!("{warning}");
        }
        let metrics = Arc::new(Metrics::new()?);
        metrics.seed_reloads();
        let (limits, has_tls) = (snapshot.limits.clone(), snapshot.tls.is_some());
        let app = Arc::new(App::new(snapshot, metrics, budgets, watcher));
        app.seed(&app.snapshot.load());
        app.books.write_to(access_log(config)?);
        if let Some(DatabaseConfig::In(database)) = &config.database {
            let (app, database, retention) = (Arc::clone(&app), database.clone(), config.retention);
            let kept = TaskTracker::new().spawn_blocking(move || keep_ledger(&app, &database, retention));
            kept.await.map_err(|_| StartError::Interrupted)??;
        }
        if let Some(redis) = &config.redis {
            fleet::join(&app, redis);
        }
        if let Some(traces) = &config.traces {
            let collector = Collector::prepare(traces, &CLIENTS, Arc::clone(&app.metrics))?;
            let _ = app.traces.set(Traces::start(traces, collector)?);
        }
        let listener = |socket, has_tls, face| Listener {
            socket,
            has_tls,
            face,
            app: Arc::clone(&app),
            limits: limits.clone(),
        };
        let face = Face::Public { metrics: config.admin_listen.is_none() };
        let public = listener(listen(config.listen).await?, has_tls, face);
        let admin = match config.admin_listen {
            Some(address) => Some(listener(listen(address).await?, false, Face::Admin)),
            None => None,
        };
        Ok(Self { app, public, admin })
    }

    /// Where clients connect.
    ///
    /// # Errors
    /// When the socket does not know.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.public.socket.local_addr()
    }

    /// Where operators connect.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|listener| listener.socket.local_addr().ok())
    }

    /// Writes a ledger in this file, where the configuration names no database.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn keep_ledger(&self, path: &Path, retention: Option<Duration>) -> Result<(), StoreError> {
        keep_ledger(&self.app, &Database::Sqlite(path.to_owned()), retention)
    }

    /// The state that requests share.
    #[must_use]
    pub fn app(&self) -> Arc<App> {
        Arc::clone(&self.app)
    }

    /// Serves until `stop`, then drains: readiness off, a delay, no new connections, requests in flight let end. The
    /// operators' listener stays until the clients' is done. Returns how many connections were cut.
    pub async fn serve(self, stop: CancellationToken) -> usize {
        let admin_stop = CancellationToken::new();
        let app = self.app;
        app.start_checks();
        let no_more = CancellationToken::new();
        let delay = self.public.limits.drain_delay;
        let unready = async {
            stop.cancelled().await;
            app.set_ready(false);
            app.closing.cancel();
            tokio::time::sleep(delay).await;
            no_more.cancel();
        };
        let public = async {
            let ((), cut) = tokio::join!(unready, self.public.serve(no_more.clone()));
            admin_stop.cancel();
            cut
        };
        let admin = async {
            if let Some(listener) = self.admin {
                listener.serve(admin_stop.clone()).await;
            }
        };
        let serving = async {
            if let Some(fleet) = app.fleet.get() {
                fleet.ready(FLEET_MAX).await;
            }
            app.set_ready(true);
            tokio::join!(public, admin).0
        };
        let cut = tokio::select! {
            cut = serving => cut,
            () = watch_store(Arc::clone(&app)) => 0,
            () = alerts::watch(Arc::clone(&app)) => 0,
            () = fleet::tend(Arc::clone(&app)) => 0,
        };
        if let Some(fleet) = app.fleet.get() {
            fleet.leave().await;
        }
        if let Some(traces) = app.traces.get().cloned() {
            let _ = TaskTracker::new().spawn_blocking(move || traces.end()).await;
        }
        cut
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Listen { address, source })
}

/// The routers in the binary.
///
/// # Errors
/// When they cannot be read: the binary was built from broken artefacts.
pub fn shipped_engines() -> Result<BTreeMap<&'static str, Engine>, StartError> {
    let shipped = |error: &dyn std::fmt::Display| StartError::Shipped(error.to_string());
    let embedders = Embedders::only_static().map_err(|error| shipped(&error))?;
    let kinds = RouterKind::ALL.into_iter().map(RouterKind::name).filter(|kind| KINDS.contains(kind));
    kinds
        .map(|kind| Ok((kind, Engine::load(kind, None, &embedders).map_err(|error| shipped(&error))?)))
        .collect()
}
