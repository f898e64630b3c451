//! The metrics of upstreams: what is called, and what comes of it.

use prometheus::{GaugeVec, HistogramVec, IntCounterVec};

use super::families::Families;

/// First bytes come between a warm local model's milliseconds and a reasoning model's minutes.
const FIRST_BYTE_SECONDS: &[f64] =
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
/// Whole answers, up to the longest that upstreams allow.
const ANSWER_SECONDS: &[f64] =
    &[0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0];

const MODEL: &[&str] = &["model"];
const RESULT: &[&str] = &["model", "result"];
const CAUSE: &[&str] = &["model", "cause"];

/// What is called, and what comes of it.
#[derive(Debug)]
pub struct UpstreamMetrics {
    /// `pointsman_attempts_total{model,result}`: calls of upstreams by what came of them.
    pub attempts: IntCounterVec,
    /// `pointsman_retries_total{model,cause}`: calls of a model that has failed before in the same request.
    pub retries: IntCounterVec,
    /// `pointsman_fallbacks_total{model,cause}`: requests that went on to another model, by the one that they left and why.
    pub fallbacks: IntCounterVec,
    /// `pointsman_streams_rescued_total{model}`: broken streams that this model went on with.
    pub streams_rescued: IntCounterVec,
    /// `pointsman_hedges_total{model,result}`: second models asked beside a late first one, by whether they were `first` to answer
    /// or `late` themselves.
    pub hedges: IntCounterVec,
    /// `pointsman_breaker_open{model}`: 1 while the model's upstream is left alone after failures, 0.5 while it is probed.
    pub breaker_open: GaugeVec,
    /// `pointsman_upstream_first_byte_seconds{model}`: from the call to the answer's head.
    pub first_byte_seconds: HistogramVec,
    /// `pointsman_upstream_seconds{model}`: from the call to the answer's end.
    pub seconds: HistogramVec,
}

impl UpstreamMetrics {
    pub(super) fn new(make: Families<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            attempts: make.counts("attempts_total", "Calls of upstreams by what came of them", RESULT)?,
            retries: make.counts("retries_total", "Calls of a model that has failed before", CAUSE)?,
            fallbacks: make.counts("fallbacks_total", "Requests that went on to another model", CAUSE)?,
            streams_rescued: make.counts(
                "streams_rescued_total",
                "Broken streams that it went on with",
                MODEL,
            )?,
            hedges: make.counts("hedges_total", "Second models asked beside a late first one", RESULT)?,
            breaker_open: make.levels(
                "breaker_open",
                "Whether an upstream is left alone after failures",
                MODEL,
            )?,
            first_byte_seconds: make.histograms(
                ("upstream_first_byte_seconds", "From the call of an upstream to the head of its answer"),
                MODEL,
                FIRST_BYTE_SECONDS,
            )?,
            seconds: make.histograms(
                ("upstream_seconds", "From the call of an upstream to the end of its answer"),
                MODEL,
                ANSWER_SECONDS,
            )?,
        })
    }

    /// Shows at zero what becomes of a model's answers on a route that asks a second model beside a late one, or goes on with broken
    /// streams.
    pub fn seed(&self, model: &str, (hedges, rescues): (bool, bool)) {
        for result in ["first", "late"].into_iter().filter(|_| hedges) {
            self.hedges.with_label_values(&[model, result]);
        }
        if rescues {
            self.streams_rescued.with_label_values(&[model]);
        }
    }
}
