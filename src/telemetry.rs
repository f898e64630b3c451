//! What the gateway tells its operators: metrics, and one event of accounting per request.
//!
//! Must not know of HTTP bodies or upstreams, and never sees a prompt or a secret.

pub mod access_log;
pub mod account;
pub mod bill;
pub mod live;
pub mod metrics;
pub mod outcome;
pub mod traces;

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwapOption;

use self::{access_log::AccessLog, account::Event, live::Live, metrics::Metrics};
use crate::ledger::Ledger;

/// Where the events of accounting go.
#[derive(Debug)]
pub struct Books {
    /// They are counted.
    pub metrics: Arc<Metrics>,
    /// Each is a line.
    access_log: ArcSwapOption<AccessLog>,
    /// The latest are remembered, for who watches.
    pub live: Live,
    /// Each of a tenant's request is a row; from the start, or never.
    ledger: OnceLock<Arc<Ledger>>,
}

impl Books {
    /// Books that count, and write no lines.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, access_log: ArcSwapOption::empty(), live: Live::default(), ledger: OnceLock::new() }
    }

    /// Writes lines here from now on, or none. The log before it is brought to its end.
    pub fn write_to(&self, access_log: Option<AccessLog>) {
        self.access_log.store(access_log.map(Arc::new));
    }

    /// Writes rows there. Only the first time counts.
    pub fn keep(&self, ledger: Arc<Ledger>) {
        let _ = self.ledger.set(ledger);
    }

    /// Where rows are written.
    #[must_use]
    pub fn ledger(&self) -> Option<&Arc<Ledger>> {
        self.ledger.get()
    }

    /// Brings the metrics up to date that nothing on a request's way counts.
    pub fn refresh(&self) {
        if let Some(log) = &*self.access_log.load() {
            self.metrics.access_log_lost.inc_by(log.newly_lost());
        }
    }

    fn note(&self, event: &Event) {
        self.live.ended(event);
        if let Some(log) = &*self.access_log.load() {
            log.write(event);
        }
    }
}
