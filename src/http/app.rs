//! What every request shares.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::{resilience::budget::RetryBudgets, snapshot::Snapshot, telemetry::metrics::Metrics};

/// The state of a running gateway.
pub struct App {
    /// The configuration in force.
    pub snapshot: ArcSwap<Snapshot>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// One permit per request in flight.
    pub permits: Arc<Semaphore>,
    ready: AtomicBool,
    watcher: Option<Watcher>,
    /// What each route has left for retries.
    pub(super) retry_budgets: RetryBudgets,
}

/// Is told of every decision; for people who watch.
pub type Watcher = Box<dyn Fn(&DecisionReport<'_>) + Send + Sync>;

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
    pub fn new(snapshot: Snapshot, metrics: Arc<Metrics>, watcher: Option<Watcher>) -> Self {
        let permits =
            Arc::new(Semaphore::new(snapshot.limits.max_concurrent_requests.min(Semaphore::MAX_PERMITS)));
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            metrics,
            permits,
            ready: AtomicBool::new(false),
            watcher,
            retry_budgets: RetryBudgets::default(),
        }
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

impl std::fmt::Debug for App {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("App").field("ready", &self.is_ready()).finish_non_exhaustive()
    }
}
