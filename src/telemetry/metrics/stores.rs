//! The metrics of what is kept: rows of the ledger, answers in caches.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use super::register;
use crate::cache::Fill;

/// Transactions of the ledger.
const LEDGER_SECONDS: &[f64] = &[1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0];

/// What the ledger does.
#[derive(Debug)]
pub struct LedgerMetrics {
    /// `pointsman_ledger_rows_total`: rows that the database has taken.
    pub rows: IntCounter,
    /// `pointsman_ledger_errors_total`: times that it took none.
    pub errors: IntCounter,
    /// `pointsman_ledger_spilled`: rows in the file beside it, to be taken once it takes rows again.
    pub spilled: IntGauge,
    /// `pointsman_ledger_write_seconds`: time for a transaction.
    pub write_seconds: Histogram,
}

impl LedgerMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let count = |name, help| IntCounter::new(name, help).and_then(|metric| register(registry, metric));
        let options = HistogramOpts::new("ledger_write_seconds", "Time for a transaction of the ledger");
        Ok(Self {
            rows: count("ledger_rows_total", "Rows that the ledger's database has taken")?,
            errors: count("ledger_errors_total", "Times that the ledger's database took no rows")?,
            spilled: IntGauge::new("ledger_spilled", "Rows in the file beside the ledger's database")
                .and_then(|metric| register(registry, metric))?,
            write_seconds: Histogram::with_opts(options.buckets(LEDGER_SECONDS.to_vec()))
                .and_then(|metric| register(registry, metric))?,
        })
    }
}

/// The metrics of routes' caches.
#[derive(Debug)]
pub struct CacheMetrics {
    /// `pointsman_cache_requests_total{route,result}`: requests of routes that have a cache, by what that was to them: `hit`,
    /// `miss`, or `bypass` where it was not asked.
    pub requests: IntCounterVec,
    /// `pointsman_cache_bytes{route}`: what a route's kept answers take.
    pub bytes: IntGaugeVec,
    /// `pointsman_cache_entries{route}`: how many they are.
    pub entries: IntGaugeVec,
}

impl CacheMetrics {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| {
            IntGaugeVec::new(Opts::new(name, help), &["route"]).and_then(|metric| register(registry, metric))
        };
        let requests = Opts::new("cache_requests_total", "Requests by what a cache was to them");
        Ok(Self {
            requests: IntCounterVec::new(requests, &["route", "result"])
                .and_then(|metric| register(registry, metric))?,
            bytes: gauge("cache_bytes", "What a route's kept answers take")?,
            entries: gauge("cache_entries", "Answers kept for a route")?,
        })
    }

    /// Shows how full the caches are, and none that is no more.
    pub fn show(&self, fills: impl IntoIterator<Item = (String, Fill)>) {
        self.bytes.reset();
        self.entries.reset();
        for (route, Fill { bytes, entries }) in fills {
            for (gauge, count) in [(&self.bytes, bytes), (&self.entries, entries)] {
                gauge.with_label_values(&[&*route]).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }
}
