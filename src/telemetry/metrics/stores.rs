//! The metrics of what is kept: rows of the ledger, answers in caches.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::families::Families;
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
    pub(super) fn new(make: Families<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            rows: make.count("ledger_rows_total", "Rows that the ledger's database has taken")?,
            errors: make.count("ledger_errors_total", "Times that the ledger's database took no rows")?,
            spilled: make.gauge("ledger_spilled", "Rows in the file beside the ledger's database")?,
            write_seconds: make.histogram(
                "ledger_write_seconds",
                "Time for a transaction of the ledger",
                LEDGER_SECONDS,
            )?,
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
    pub(super) fn new(make: Families<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            requests: make.counts(
                "cache_requests_total",
                "Requests by what a cache was to them",
                &["route", "result"],
            )?,
            bytes: make.gauges("cache_bytes", "What a route's kept answers take", &["route"])?,
            entries: make.gauges("cache_entries", "Answers kept for a route", &["route"])?,
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
