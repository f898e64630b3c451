//! Every metric the gateway exports: names, labels, buckets. Names are final: dashboards are built on them.
//!
//! Labels come from the configuration or from closed vocabularies, so that no client can make a series. No
//! histogram has a tenant label: buckets times tenants would outgrow everything else.

mod families;
mod gen_ai;
mod redis;
mod routing;
mod stores;
mod tenants;
mod upstreams;

use std::time::SystemTime;

use prometheus::{
    CounterVec, Encoder, Gauge, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use self::families::Families;
pub use self::{
    gen_ai::{GenAiMetrics, Label as GenAiLabel},
    redis::RedisMetrics,
    routing::RoutingMetrics,
    stores::{CacheMetrics, LedgerMetrics},
    tenants::{BudgetMetrics, LimitMetrics},
    upstreams::UpstreamMetrics,
};
use super::outcome::{CacheUse, Estimated, FailOpen, Limit, Outcome};

/// A label's value where there is none: no tenant was recognised, no model chosen.
pub const NONE: &str = "none";

/// A tenth of a millisecond when idle; more where a router's queue, a limit or a budget is waited for.
const OVERHEAD_SECONDS: &[f64] =
    &[5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25, 0.5, 1.0, 2.5];
const REQUESTS: &[&str] = &["tenant", "route", "model", "outcome"];
const TOKENS: &[&str] = &["tenant", "model", "kind"];
const ESTIMATES: &[&str] = &["model", "reason"];
const ROUTE: &[&str] = &["route"];

/// All the metrics of one gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Of families whose names are not ours.
    unprefixed: Registry,
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
    /// What routers decide.
    pub routing: RoutingMetrics,
    /// What models take and give, under the names of OpenTelemetry.
    pub gen_ai: GenAiMetrics,
    /// `pointsman_overhead_seconds{route}`: from a request's arrival until the first upstream is called: what the gateway adds.
    pub overhead_seconds: HistogramVec,
    /// What is called, and what comes of it.
    pub upstreams: UpstreamMetrics,
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
    /// `pointsman_trace_exports_total{result}`: times that a batch of spans was sent, by whether the collector has taken it (`ok`) or not (`error`).
    pub trace_exports: IntCounterVec,
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
    config_reloads: IntCounterVec,
    /// `pointsman_config_last_reload_successful`: 1 where the last configuration that was read is in force, 0 where it was refused.
    config_successful: IntGauge,
    /// `pointsman_config_last_reload_success_timestamp_seconds`: when the one in force was put in force, in seconds since 1970.
    config_at: Gauge,
    /// `pointsman_config_info{digest}`: 1, for the beginning of the SHA-256 of the file in force.
    pub config_info: IntGaugeVec,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When two metrics have one name: a programming error that any test finds.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some("pointsman".to_owned()), None)?;
        let unprefixed = Registry::new();
        let make = Families(&registry);
        let build = Opts::new("build_info", "The program's version")
            .const_label("version", env!("CARGO_PKG_VERSION"));
        make.registered(IntGauge::with_opts(build)?)?.set(1);
        Ok(Self {
            requests: make.counts("requests_total", "Requests by how they ended", REQUESTS)?,
            in_flight: make.gauge("requests_in_flight", "Requests admitted and not ended")?,
            queued: make.gauge("requests_queued", "Requests that wait to be admitted")?,
            limits: LimitMetrics::new(make)?,
            tasks: make.gauge("tasks", "Tasks of the asynchronous runtime that are alive")?,
            routing: RoutingMetrics::new(make)?,
            gen_ai: GenAiMetrics::new(Families(&unprefixed))?,
            overhead_seconds: make.histograms(
                ("overhead_seconds", "From the arrival of a request until an upstream is called"),
                ROUTE,
                OVERHEAD_SECONDS,
            )?,
            upstreams: UpstreamMetrics::new(make)?,
            tokens: make.counts("tokens_total", "Tokens, reported or estimated", TOKENS)?,
            usage_estimated: make.counts(
                "usage_estimated_total",
                "Answers without reported usage",
                ESTIMATES,
            )?,
            cost_usd: make.sums(
                "cost_usd_total",
                "Cost in USD: tokens times configured prices",
                &["tenant", "model"],
            )?,
            budgets: BudgetMetrics::new(make)?,
            cache: CacheMetrics::new(make)?,
            trace_exports: make.counts(
                "trace_exports_total",
                "Times that batches of spans were sent to a collector",
                &["result"],
            )?,
            access_log_lost: make.count("access_log_lost_total", "Lines of the access log not written")?,
            ledger: LedgerMetrics::new(make)?,
            redis: RedisMetrics::new()?,
            connections: make.gauge("connections", "Open client connections")?,
            connections_refused: make.counts(
                "connections_refused_total",
                "Connections that did not end in good order",
                &["reason"],
            )?,
            config_version: make.gauge("config_version", "Configurations put in force so far")?,
            config_reloads: make.counts(
                "config_reloads_total",
                "Configurations put in force or refused",
                &["result"],
            )?,
            config_successful: make.gauge(
                "config_last_reload_successful",
                "Whether the last configuration that was read is in force",
            )?,
            config_at: make.registered(Gauge::new(
                "config_last_reload_success_timestamp_seconds",
                "When the configuration in force was put in force",
            )?)?,
            config_info: make.gauges("config_info", "The configuration's file in force", &["digest"])?,
            registry,
            unprefixed,
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

    /// Shows at zero what a collector of spans may make of them.
    pub fn seed_traces(&self) {
        for result in ["ok", "error"] {
            self.trace_exports.with_label_values(&[result]);
        }
    }

    /// Shows both ends of a reload at zero; the first configuration is in force.
    pub fn seed_reloads(&self) {
        self.config_version.set(1);
        for result in ["ok", "error"] {
            self.config_reloads.with_label_values(&[result]);
        }
        self.config_in_force();
    }

    /// A configuration was put in force, or refused.
    pub fn reloaded(&self, is_in_force: bool) {
        self.config_reloads.with_label_values(&[if is_in_force { "ok" } else { "error" }]).inc();
        match is_in_force {
            true => self.config_in_force(),
            false => self.config_successful.set(0),
        }
    }

    fn config_in_force(&self) {
        self.config_successful.set(1);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.config_at.set(now.as_secs_f64());
    }

    /// Shows at zero why a route's router may not decide.
    pub fn seed_router(&self, route: &str, router: &str) {
        for reason in FailOpen::ALL {
            self.routing.fail_open.with_label_values(&[route, router, reason.label()]);
        }
    }

    /// The text format of Prometheus.
    ///
    /// # Errors
    /// When the metrics cannot be encoded.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        for registry in [&self.registry, &self.unprefixed] {
            TextEncoder::new().encode(&registry.gather(), &mut text)?;
        }
        Ok(text)
    }
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
