//! What every request shares.

mod seed;
mod stored;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::usage::Reports;
use crate::{
    admission::Admission,
    budget::Budgets,
    cache::Caches,
    fleet::{Fleet, answers::Answers},
    resilience::{budget::RetryBudgets, health::Health},
    snapshot::Snapshot,
    store::{KeyStore, Versions},
    telemetry::{Books, metrics::Metrics, traces::Traces},
    tenancy::limits::Limiters,
};

/// Searches that explanations ask for at a time: what explains must not keep anybody from deciding.
const EXPLAINING_MAX: usize = 2;

/// The state of a running gateway.
pub struct App {
    /// The configuration in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Where the events of accounting go, these metrics among it.
    pub books: Arc<Books>,
    /// What holders of budgets have spent.
    pub budgets: Budgets,
    /// The tenants and keys that are managed while the gateway runs, where there is a database.
    pub store: OnceLock<Arc<KeyStore>>,
    /// What is shared with other gateways, where there is a Redis.
    pub fleet: OnceLock<Arc<Fleet>>,
    /// Held by whoever puts another snapshot in force, and the versions of what is in force of the store.
    pub changing: Mutex<Versions>,
    /// The answers that are kept.
    pub caches: Caches,
    /// Those that other gateways find, too, where there is a Redis.
    pub answers: OnceLock<Arc<Answers>>,
    /// Where spans of requests go, if they go anywhere.
    pub traces: OnceLock<Traces>,
    /// Room for searches that explanations ask for.
    pub(super) explaining: Arc<Semaphore>,
    /// Cancelled once the gateway is about to stop.
    pub(crate) closing: CancellationToken,
    /// Who is let in: a place for each request in flight.
    pub admission: Arc<Admission>,
    ready: AtomicBool,
    /// Configurations put in force so far.
    version: AtomicU64,
    /// Ends the health checks of the configuration in force.
    checks: Mutex<CancellationToken>,
    tasks: TaskTracker,
    reload: OnceLock<Reload>,
    watcher: Option<Watcher>,
    /// What each route has left for retries.
    pub(super) retry_budgets: RetryBudgets,
    /// What is counted against tenants' limits.
    pub(crate) limiters: Arc<Limiters>,
    /// What operators ask of the ledger.
    pub(super) reports: Reports,
}

/// Is told of every decision; for people who watch.
pub type Watcher = Box<dyn Fn(&DecisionReport<'_>) + Send + Sync>;

/// Reads the configuration anew and puts it in force: the number of it, or why the one in force is kept.
pub type Reload = Box<dyn Fn() -> Reloading + Send + Sync>;

/// A reload on its way.
pub type Reloading = Pin<Box<dyn Future<Output = Result<u64, String>> + Send>>;

/// One decision, for people.
#[derive(Debug)]
pub struct DecisionReport<'a> {
    /// The text that was scored.
    pub prompt: &'a str,
    /// The model chosen.
    pub model: &'a str,
    /// Each other scored model, and the probability that the chosen one beats it.
    pub win_rates: Vec<(&'a str, f64)>,
    /// How long the decision took, in microseconds.
    pub decision_us: u128,
}

impl App {
    /// A gateway with `snapshot` in force, not ready yet.
    #[must_use]
    pub fn new(
        snapshot: Snapshot,
        metrics: Arc<Metrics>,
        budgets: Budgets,
        watcher: Option<Watcher>,
    ) -> Self {
        let admission = Admission::new(snapshot.limits.max_concurrent_requests);
        let caches = Caches::default();
        caches.hold(snapshot.caches());
        Self {
            caches,
            answers: OnceLock::new(),
            traces: OnceLock::new(),
            explaining: Arc::new(Semaphore::new(EXPLAINING_MAX)),
            closing: CancellationToken::new(),
            snapshot: ArcSwap::from_pointee(snapshot),
            version: AtomicU64::new(1),
            checks: Mutex::default(),
            tasks: TaskTracker::new(),
            reload: OnceLock::new(),
            books: Arc::new(Books::new(Arc::clone(&metrics))),
            metrics,
            budgets,
            store: OnceLock::new(),
            fleet: OnceLock::new(),
            changing: Mutex::default(),
            admission,
            ready: AtomicBool::new(false),
            watcher,
            retry_budgets: RetryBudgets::default(),
            limiters: Arc::new(Limiters::new(Instant::now())),
            reports: Reports::default(),
        }
    }

    /// Puts a configuration in force.
    pub(crate) fn put_in_force(&self, snapshot: Snapshot) {
        self.admission.resize(snapshot.limits.max_concurrent_requests);
        self.caches.hold(snapshot.caches());
        snapshot.go_on_from(&self.snapshot.load());
        self.snapshot.store(Arc::new(snapshot));
        self.start_checks();
        let version = 1 + self.version.fetch_add(1, Ordering::AcqRel);
        self.metrics.config_version.set(i64::try_from(version).unwrap_or(i64::MAX));
    }

    /// Checks the health of upstreams and sweeps caches as the configuration in force says, until the next is.
    pub(crate) fn start_checks(&self) {
        let stop = CancellationToken::new();
        let before =
            std::mem::replace(&mut *self.checks.lock().unwrap_or_else(PoisonError::into_inner), stop.clone());
        before.cancel();
        if !self.caches.is_empty() {
            let (caches, stop) = (self.caches.clone(), stop.clone());
            self.tasks.spawn(async move { stop.run_until_cancelled(sweep(caches)).await });
        }
        let snapshot = self.snapshot.load();
        let mut checked: Vec<Arc<Health>> = Vec::new();
        for check in snapshot.tenants().flat_map(|tenant| &tenant.upstreams).flat_map(|model| model.checks())
        {
            // Pools share models, and models addresses.
            if checked.iter().any(|known| Arc::ptr_eq(known, check.health())) {
                continue;
            }
            checked.push(Arc::clone(check.health()));
            let stop = stop.clone();
            self.tasks.spawn(async move { stop.run_until_cancelled(check.run()).await });
        }
    }

    /// How many configurations have been in force, this one included.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Says what reads the configuration anew when an operator asks for it.
    pub fn set_reload(&self, reload: Reload) {
        let _ = self.reload.set(reload);
    }

    /// What reads the configuration anew; `None` where it came from no file.
    #[must_use]
    pub fn reload(&self) -> Option<&Reload> {
        self.reload.get()
    }

    /// Says whether traffic is welcome.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Whether traffic is welcome.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Whoever watches the decisions.
    #[must_use]
    pub fn watcher(&self) -> Option<&Watcher> {
        self.watcher.as_ref()
    }
}

/// How long what is out of time may stay in memory where nobody asks for anything.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// Keeps caches free of what is out of time.
async fn sweep(caches: Caches) {
    loop {
        tokio::time::sleep(SWEEP_INTERVAL).await;
        caches.sweep();
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("App").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
