//! Where spans of requests go: the key `traces`.

use http::{HeaderName, HeaderValue};

use super::{base_url::HttpBaseUrl, probability::Probability};

/// What the key `traces` says.
#[derive(Debug, Clone, PartialEq)]
pub struct TracesConfig {
    /// A collector that takes OTLP over HTTP; spans go to `/v1/traces` there, where it has no path of its own.
    pub endpoint: HttpBaseUrl,
    /// What goes with every request to it.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The share of requests that are sampled, of those whose client has not decided that.
    pub sample: Probability,
    /// What the gateway calls itself.
    pub service: String,
}
