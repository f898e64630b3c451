//! The metrics of routers: what they decide, how sure they are, what that saves and what it gives up.

use prometheus::{CounterVec, GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec};

use super::families::Families;

/// A decision takes microseconds (matrix factorisation) to tens of milliseconds (an encoder).
const DECISION_SECONDS: &[f64] =
    &[1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1, 0.25];

/// Probabilities, in twentieths: thresholds are read off the distribution.
const WIN_RATES: &[f64] = &[
    0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
    1.0,
];

const ROUTE: &[&str] = &["route"];
const ROUTER: &[&str] = &["router"];
const DECISION: &[&str] = &["route", "router", "model"];
const FAIL_OPEN: &[&str] = &["route", "router", "reason"];
const PLAN: &[&str] = &["tenant", "route"];
const ARTIFACT: &[&str] = &["route", "router", "version"];

/// What routers decide.
#[derive(Debug)]
pub struct RoutingMetrics {
    /// `pointsman_decisions_total{route,router,model}`: decisions by the model chosen.
    pub decisions: IntCounterVec,
    /// `pointsman_choices_total{tenant,route}`: decisions of routers between models of different cost.
    pub choices: IntCounterVec,
    /// `pointsman_strong_decisions_total{tenant,route}`: of those, the ones for the dearest model that could serve the request.
    pub strong: IntCounterVec,
    /// `pointsman_strong_share_target{tenant,route}`: where a share is configured, what it is to be of all.
    pub strong_target: GaugeVec,
    /// `pointsman_threshold{tenant,route}`: the probability that a route's threshold is at, written or solved.
    pub threshold: GaugeVec,
    /// `pointsman_win_rate{route}`: the probability, by the router, that the dearest model beats every cheaper one.
    pub win_rate: HistogramVec,
    /// `pointsman_win_rate_drift{tenant,route}`: how far the latest of these are from the artefact's calibration sample, as a
    /// population stability index.
    pub drift: GaugeVec,
    /// `pointsman_decision_seconds{router}`: time from the parsed request to the chosen model.
    pub seconds: HistogramVec,
    /// `pointsman_router_queue_seconds{router}`: of that, the time until the router's thread was free.
    pub queue_seconds: HistogramVec,
    /// `pointsman_fail_open_total{route,router,reason}`: decisions that a router did not make.
    pub fail_open: IntCounterVec,
    /// `pointsman_artifact_info{route,router,version}`: the artefact that a route's router is made of.
    pub artifact: IntGaugeVec,
    /// `pointsman_routed_requests_total{tenant}`: answered requests for which a router has scored the model that answered.
    pub routed: IntCounterVec,
    /// `pointsman_routed_win_rate_total{tenant}`: the sum of the probabilities, by the router, that the model that answered beats the
    /// best of the pool, a tie counted half.
    pub routed_win_rate: CounterVec,
    /// `pointsman_routed_cost_usd_total{tenant}`: what those have cost of which it is known what the best would have.
    pub routed_cost_usd: CounterVec,
    /// `pointsman_routed_best_cost_usd_total{tenant}`: what the same tokens of the best model would have cost.
    pub routed_best_cost_usd: CounterVec,
}

impl RoutingMetrics {
    pub(super) fn new(make: Families<'_>) -> Result<Self, prometheus::Error> {
        let tenant: &[&str] = &["tenant"];
        Ok(Self {
            decisions: make.counts("decisions_total", "Routing decisions by the model chosen", DECISION)?,
            choices: make.counts(
                "choices_total",
                "Routing decisions between models of different cost",
                PLAN,
            )?,
            strong: make.counts("strong_decisions_total", "Decisions for the dearest model", PLAN)?,
            strong_target: make.levels(
                "strong_share_target",
                "What share of decisions is to be for the dearest model",
                PLAN,
            )?,
            threshold: make.levels("threshold", "The probability at which a dearer model is chosen", PLAN)?,
            win_rate: make.histograms(
                ("win_rate", "Probability that the dearest model beats every cheaper one, by the router"),
                ROUTE,
                WIN_RATES,
            )?,
            drift: make.levels(
                "win_rate_drift",
                "Population stability index of win rates against the calibration sample",
                PLAN,
            )?,
            seconds: make.histograms(("decision_seconds", "Time to choose"), ROUTER, DECISION_SECONDS)?,
            queue_seconds: make.histograms(
                ("router_queue_seconds", "Time until a router's thread was free"),
                ROUTER,
                DECISION_SECONDS,
            )?,
            fail_open: make.counts("fail_open_total", "Decisions that a router did not make", FAIL_OPEN)?,
            artifact: make.gauges("artifact_info", "What a route's router is made of", ARTIFACT)?,
            routed: make.counts(
                "routed_requests_total",
                "Answered requests whose model a router has scored",
                tenant,
            )?,
            routed_win_rate: make.sums(
                "routed_win_rate_total",
                "Sum of the probabilities that the model that answered beats the best, by the router",
                tenant,
            )?,
            routed_cost_usd: make.sums("routed_cost_usd_total", "Cost in USD of routed requests", tenant)?,
            routed_best_cost_usd: make.sums(
                "routed_best_cost_usd_total",
                "Cost in USD that routed requests would have had with the best model",
                tenant,
            )?,
        })
    }

    /// Shows at zero what a tenant's route may decide.
    pub fn seed(&self, tenant: &str, route: &str) {
        for counter in [&self.choices, &self.strong] {
            counter.with_label_values(&[tenant, route]);
        }
        self.routed.with_label_values(&[tenant]);
        for sum in [&self.routed_win_rate, &self.routed_cost_usd, &self.routed_best_cost_usd] {
            sum.with_label_values(&[tenant]);
        }
    }

    /// Forgets what depends on the configuration alone; it is shown anew.
    pub fn forget_plans(&self) {
        [&self.strong_target, &self.threshold, &self.drift].into_iter().for_each(GaugeVec::reset);
        self.artifact.reset();
    }
}
