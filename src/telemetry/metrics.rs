//! Every metric the gateway exports: names, labels, buckets. Names are final: dashboards are built on them.
//!
//! Labels come from the configuration or from closed vocabularies, so that no client can make a series. No
//! histogram has a tenant label: buckets times tenants would outgrow everything else.

mod redis;

use prometheus::{
    CounterVec, Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, TextEncoder, core::Collector,
};

use std::sync::Arc;

pub use self::redis::RedisMetrics;
use crate::{budget::Standing, cache::Fill};

use super::outcome::{CacheUse, Estimated, FailOpen, Limit, Outcome};

/// A label's value where there is none: no tenant was recognised, no model chosen.
pub const NONE: &str = "none";

/// A decision takes microseconds (matrix factorisation) to tens of milliseconds (an encoder).
const DECISION_SECONDS: &[f64] =
    &[1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25];
/// First bytes come between a warm local model's milliseconds and a reasoning model's minutes.
const FIRST_BYTE_SECONDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Whole answers, up to the longest that upstreams allow.
const ANSWER_SECONDS: &[f64] =
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0];

/// Transactions of the ledger.
const LEDGER_SECONDS: &[f64] = &[1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 1.0, 5.0];

const REQUESTS: &[&str] = &["tenant", "route", "model", "outcome"];
const ATTEMPTS: &[&str] = &["model", "result"];
const TOKENS: &[&str] = &["tenant", "model", "kind"];
const ESTIMATES: &[&str] = &["model", "reason"];
const BUDGET: &[&str] = &["tenant", "project", "key", "per"];
const LIMITS: &[&str] = &["tenant", "limit"];
const MODEL: &[&str] = &["model"];
const ROUTER: &[&str] = &["router"];
const ROUTE: &[&str] = &["route"];
const CACHE: &[&str] = &["route", "result"];

/// How budgets stand.
#[derive(Debug)]
pub struct BudgetMetrics {
    /// `pointsman_budget_alerts_total{tenant,project,key,per,level}`: alert levels that budgets have reached.
    pub alerts: IntCounterVec,
    /// `pointsman_budget_limit_usd{tenant,project,key,per}`: what a budget allows in its period.
    limit_usd: GaugeVec,
    /// `pointsman_budget_spent_usd{tenant,project,key,per}`: what was spent of it in the period that is on.
    spent_usd: GaugeVec,
    /// `pointsman_budget_held_usd{tenant,project,key,per}`: what requests in flight may still cost.
    held_usd: GaugeVec,
}

impl BudgetMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauges = |name, help| {
            GaugeVec::new(Opts::new(name, help), BUDGET).and_then(|metric| register(registry, metric))
        };
        Ok(Self {
            limit_usd: gauges("budget_limit_usd", "What a budget allows in its period, in USD")?,
            spent_usd: gauges("budget_spent_usd", "Spent of a budget in its period, in USD")?,
            alerts: IntCounterVec::new(
                Opts::new("budget_alerts_total", "Alert levels that budgets have reached"),
                &[BUDGET, &["level"]].concat(),
            )
            .and_then(|metric| register(registry, metric))?,
            held_usd: gauges("budget_held_usd", "What requests in flight may still cost, in USD")?,
        })
    }

    /// Shows how budgets stand, and none that is no more.
    pub fn show(&self, standings: impl IntoIterator<Item = Standing>) {
        let gauges = [&self.limit_usd, &self.spent_usd, &self.held_usd];
        gauges.iter().for_each(|gauge| gauge.reset());
        for Standing { holder, rule, spent, held } in standings {
            let name = |name: &Option<Arc<str>>| name.clone().unwrap_or_else(|| NONE.into());
            let (project, key) = (name(&holder.project), name(&holder.key));
            let labels = [&*holder.tenant, &*project, &*key, rule.per.name()];
            for (gauge, amount) in gauges.into_iter().zip([rule.limit, spent, held]) {
                gauge.with_label_values(&labels).set(amount.as_f64());
            }
        }
    }
}

/// What limits of tenants do.
#[derive(Debug)]
pub struct LimitMetrics {
    /// `pointsman_limited_total{tenant,limit}`: requests refused for a limit of their tenant: `requests`, `tokens` or `concurrency`.
    pub refused: IntCounterVec,
    /// `pointsman_tenant_requests_in_flight{tenant}`: of tenants with limits, requests that count against `concurrency`.
    pub in_flight: IntGaugeVec,
}

impl LimitMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let refused = Opts::new("limited_total", "Requests refused for a limit of their tenant");
        let in_flight = Opts::new("tenant_requests_in_flight", "Requests in flight of tenants with limits");
        Ok(Self {
            refused: IntCounterVec::new(refused, LIMITS).and_then(|metric| register(registry, metric))?,
            in_flight: IntGaugeVec::new(in_flight, &["tenant"])
                .and_then(|metric| register(registry, metric))?,
        })
    }
}

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
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
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

/// All the metrics of one gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// `pointsman_requests_total{tenant,route,model,outcome}`: requests by how they ended.
    pub requests: IntCounterVec,
    /// `pointsman_requests_in_flight`: requests admitted and not ended, streams until their last byte.
    pub in_flight: IntGauge,
    /// `pointsman_requests_queued`: requests that wait to be admitted.
    pub queued: IntGauge,
    /// What limits of tenants do.
    pub limits: LimitMetrics,
    /// `pointsman_tasks`: tasks of the asynchronous runtime that are alive.
    pub tasks: IntGauge,
    /// `pointsman_attempts_total{model,result}`: calls of upstreams by what came of them.
    pub attempts: IntCounterVec,
    /// `pointsman_streams_rescued_total{model}`: broken streams that this model went on with.
    pub streams_rescued: IntCounterVec,
    /// `pointsman_hedges_total{model,result}`: second models asked beside a late first one, by whether they were `first` to answer
    /// or `late` themselves.
    pub hedges: IntCounterVec,
    /// `pointsman_breaker_open{model}`: 1 while the model's upstream is left alone after failures, 0.5 while it is probed.
    pub breaker_open: GaugeVec,
    /// `pointsman_decisions_total{router,model}`: routing decisions by the model chosen.
    pub decisions: IntCounterVec,
    /// `pointsman_decision_seconds{router}`: time from the parsed request to the chosen model.
    pub decision_seconds: HistogramVec,
    /// `pointsman_fail_open_total{router,reason}`: decisions that a router did not make.
    pub fail_open: IntCounterVec,
    /// `pointsman_upstream_first_byte_seconds{model}`: from the call to the answer's head.
    pub upstream_first_byte_seconds: HistogramVec,
    /// `pointsman_upstream_seconds{model}`: from the call to the answer's end.
    pub upstream_seconds: HistogramVec,
    /// `pointsman_tokens_total{tenant,model,kind}`: tokens that upstreams reported, `prompt` and `completion`, and
    /// estimates where they did not.
    pub tokens: IntCounterVec,
    /// `pointsman_usage_estimated_total{model,reason}`: answers whose tokens had to be estimated.
    pub usage_estimated: IntCounterVec,
    /// `pointsman_cost_usd_total{tenant,model}`: these tokens times configured prices.
    pub cost_usd: CounterVec,
    /// How budgets stand.
    pub budgets: BudgetMetrics,
    /// Those of caches.
    pub cache: CacheMetrics,
    /// `pointsman_access_log_lost_total`: lines of the access log that came faster than they could be written.
    pub access_log_lost: IntCounter,
    /// What the ledger does.
    pub ledger: LedgerMetrics,
    /// How the connection to Redis stands.
    pub redis: RedisMetrics,
    /// `pointsman_connections`: open client connections.
    pub connections: IntGauge,
    /// `pointsman_connections_refused_total{reason}`: connections that did not end in good order, requests that
    /// were none among them.
    pub connections_refused: IntCounterVec,
    /// `pointsman_config_version`: how many configurations have been in force, this one included.
    pub config_version: IntGauge,
    /// `pointsman_config_reloads_total{result}`: configurations put in force (`ok`) or refused (`error`).
    pub config_reloads: IntCounterVec,
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

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When two metrics have one name: a programming error that any test finds.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("pointsman".to_owned()), None)?;
        let counter = |name, help, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).and_then(|metric| register(&registry, metric))
        };
        let count = |name, help| IntCounter::new(name, help).and_then(|metric| register(&registry, metric));
        let gauge = |name, help| IntGauge::new(name, help).and_then(|metric| register(&registry, metric));
        let histogram = |name, help, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            HistogramVec::new(options, labels).and_then(|metric| register(&registry, metric))
        };
        let gauges = |name, help, labels: &[&str]| {
            GaugeVec::new(Opts::new(name, help), labels).and_then(|metric| register(&registry, metric))
        };
        let cost_options = Opts::new("cost_usd_total", "Cost in USD: tokens times configured prices");
        Ok(Self {
            requests: counter("requests_total", "Requests by how they ended", REQUESTS)?,
            in_flight: gauge("requests_in_flight", "Requests admitted and not ended")?,
            queued: gauge("requests_queued", "Requests that wait to be admitted")?,
            limits: LimitMetrics::new(&registry)?,
            tasks: gauge("tasks", "Tasks of the asynchronous runtime that are alive")?,
            attempts: counter("attempts_total", "Calls of upstreams by what came of them", ATTEMPTS)?,
            streams_rescued: counter("streams_rescued_total", "Broken streams that it went on with", MODEL)?,
            hedges: counter("hedges_total", "Second models asked beside a late first one", ATTEMPTS)?,
            breaker_open: gauges("breaker_open", "Whether an upstream is left alone after failures", MODEL)?,
            decisions: counter(
                "decisions_total",
                "Routing decisions by the model chosen",
                &["router", "model"],
            )?,
            decision_seconds: histogram("decision_seconds", "Time to choose", ROUTER, DECISION_SECONDS)?,
            fail_open: counter(
                "fail_open_total",
                "Decisions that a router did not make",
                &["router", "reason"],
            )?,
            upstream_first_byte_seconds: histogram(
                "upstream_first_byte_seconds",
                "From the call of an upstream to the head of its answer",
                MODEL,
                FIRST_BYTE_SECONDS,
            )?,
            upstream_seconds: histogram(
                "upstream_seconds",
                "From the call of an upstream to the end of its answer",
                MODEL,
                ANSWER_SECONDS,
            )?,
            tokens: counter("tokens_total", "Tokens, reported or estimated", TOKENS)?,
            usage_estimated: counter("usage_estimated_total", "Answers without reported usage", ESTIMATES)?,
            cost_usd: CounterVec::new(cost_options, &["tenant", "model"])
                .and_then(|metric| register(&registry, metric))?,
            budgets: BudgetMetrics::new(&registry)?,
            cache: CacheMetrics::new(&registry)?,
            access_log_lost: count("access_log_lost_total", "Lines of the access log not written")?,
            ledger: LedgerMetrics::new(&registry)?,
            redis: RedisMetrics::new()?,
            connections: gauge("connections", "Open client connections")?,
            connections_refused: counter(
                "connections_refused_total",
                "Connections that did not end in good order",
                &["reason"],
            )?,
            config_version: gauge("config_version", "Configurations put in force so far")?,
            config_reloads: counter(
                "config_reloads_total",
                "Configurations put in force or refused",
                &["result"],
            )?,
            registry,
        })
    }

    /// Shows a tenant's outcomes at zero before the first request, so that rates and alerts work from the start.
    pub fn seed_outcomes(&self, tenant: &str, route: &str, model: &str) {
        for outcome in Outcome::ALL {
            self.requests.with_label_values(&[tenant, route, model, outcome.label()]);
        }
    }

    /// Shows at zero that a tenant may be refused for this limit.
    pub fn seed_limit(&self, tenant: &str, limit: Limit) {
        self.limits.refused.with_label_values(&[tenant, limit.label()]);
    }

    /// Shows at zero why a model's usage may be estimated.
    pub fn seed_estimates(&self, model: &str) {
        for why in Estimated::ALL {
            self.usage_estimated.with_label_values(&[model, why.label()]);
        }
    }

    /// Shows at zero what a route's cache may be to requests.
    pub fn seed_cache(&self, route: &str) {
        for cache in CacheUse::ALL {
            self.cache.requests.with_label_values(&[route, cache.label()]);
        }
    }

    /// Shows how full the caches are, and none that is no more.
    pub fn show_caches(&self, fills: impl IntoIterator<Item = (String, Fill)>) {
        self.cache.bytes.reset();
        self.cache.entries.reset();
        for (route, Fill { bytes, entries }) in fills {
            for (gauge, count) in [(&self.cache.bytes, bytes), (&self.cache.entries, entries)] {
                gauge.with_label_values(&[&*route]).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }

    /// Shows both ends of a reload at zero.
    pub fn seed_reloads(&self) {
        self.config_version.set(1);
        for result in ["ok", "error"] {
            self.config_reloads.with_label_values(&[result]);
        }
    }

    /// Shows a router's fail-open reasons at zero.
    pub fn seed_router(&self, router: &str) {
        for reason in FailOpen::ALL {
            self.fail_open.with_label_values(&[router, reason.label()]);
        }
    }

    /// The text format of Prometheus.
    ///
    /// # Errors
    /// When the metrics cannot be encoded.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

impl CacheMetrics {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name, help| {
            IntGaugeVec::new(Opts::new(name, help), ROUTE).and_then(|metric| register(registry, metric))
        };
        let requests = Opts::new("cache_requests_total", "Requests by what a cache was to them");
        Ok(Self {
            requests: IntCounterVec::new(requests, CACHE).and_then(|metric| register(registry, metric))?,
            bytes: gauge("cache_bytes", "What a route's kept answers take")?,
            entries: gauge("cache_entries", "Answers kept for a route")?,
        })
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, metric: C) -> Result<C, prometheus::Error> {
    registry.register(Box::new(metric.clone()))?;
    Ok(metric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeded_outcomes_show_at_zero() {
        let metrics = Metrics::new().unwrap();
        metrics.seed_outcomes("t", "auto", "m");
        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        for outcome in Outcome::ALL {
            let line = format!(
                r#"pointsman_requests_total{{model="m",outcome="{}",route="auto",tenant="t"}} 0"#,
                outcome.label()
            );
            assert!(text.contains(&line), "{line}\n{text}");
        }
    }
}
