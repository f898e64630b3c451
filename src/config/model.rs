//! An upstream model: where it is, how it is spoken to, what it costs and can do.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue, Uri};

use super::base_url::HttpBaseUrl;
use super::delivery::{Continuation, Timeouts};
use super::price::Price;
use crate::resilience::breaker::BreakerRules;
use crate::resilience::health::CheckRules;
use crate::secret::Secret;

/// One entry of `models`.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The protocol it speaks.
    pub provider: Provider,
    /// Where it is, at one address or, at least as good at each, at several (key `base_url`); paths such as
    /// `/chat/completions` are appended.
    pub base_urls: Vec<HttpBaseUrl>,
    /// The gateway's own key to it.
    pub api_key: Option<Secret>,
    /// The header that carries the key: `authorization` carries `Bearer <key>`, any other the bare key.
    pub auth_header: HeaderName,
    /// What the upstream calls it (key `model`).
    pub upstream_model: String,
    /// The artefact's row that describes it; the entry's own name when absent.
    pub rated_as: Option<String>,
    /// Its Elo rating, for a model that no row describes.
    pub elo: Option<f64>,
    /// What its tokens cost.
    pub price: Option<Price>,
    /// How many tokens prompt and answer may have together; unknown when absent.
    pub context_tokens: Option<u32>,
    /// The longest answer that it writes, in tokens; unknown when absent.
    pub max_output_tokens: Option<u32>,
    /// What it can do; everything is assumed when absent.
    pub features: Option<FeatureSet>,
    /// Headers sent with every request to it. Their values are marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The query sent with every request to it, percent-encoded, without the question mark.
    pub query: Option<Secret>,
    /// Whether the gateway asks it for the usage of streamed answers.
    pub usage: UsageMode,
    /// Whose name the answer's `model` carries.
    pub response_model: ResponseModel,
    /// How long it may take for each part of an answer.
    pub timeouts: Timeouts,
    /// When it is left alone.
    pub breaker: BreakerRules,
    /// How its addresses are checked beside the traffic.
    pub health_check: Option<CheckRules>,
    /// How it is given an answer to go on with.
    pub continuation: Continuation,
    /// How its certificate is checked and ours is shown.
    pub tls: UpstreamTls,
    /// Speak HTTP/2 without asking first; needed for cleartext HTTP/2, since TLS negotiates it anyway.
    pub http2: bool,
}

impl ModelConfig {
    /// A model with every default, called `name` by itself and by its upstream.
    #[must_use]
    pub fn new(name: &str, base_url: HttpBaseUrl) -> Self {
        Self { base_urls: vec![base_url], ..Self::nowhere(name) }
    }

    /// The same, without an address yet.
    pub(super) fn nowhere(name: &str) -> Self {
        Self {
            provider: Provider::OpenAi,
            base_urls: Vec::new(),
            api_key: None,
            auth_header: http::header::AUTHORIZATION,
            upstream_model: name.to_owned(),
            rated_as: None,
            elo: None,
            price: None,
            context_tokens: None,
            max_output_tokens: None,
            features: None,
            headers: Vec::new(),
            query: None,
            usage: UsageMode::Request,
            response_model: ResponseModel::Pool,
            timeouts: Timeouts::default(),
            breaker: BreakerRules::default(),
            health_check: None,
            continuation: Continuation::None,
            tls: UpstreamTls::default(),
            http2: false,
        }
    }

    /// An endpoint of it at one of its base URLs, `path` beginning with a slash: base URL, path, query.
    ///
    /// # Errors
    /// When `path` is not the path of a URL.
    pub fn endpoint(&self, base_url: &HttpBaseUrl, path: &str) -> Result<Uri, http::uri::InvalidUri> {
        match &self.query {
            Some(query) => format!("{base_url}{path}?{}", query.expose()).parse(),
            None => format!("{base_url}{path}").parse(),
        }
    }
}

/// The protocol of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// OpenAI's, and that of everything compatible with it.
    OpenAi,
}

/// What a model can do beyond text in, text out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent abilities, each its own word in the file")]
pub struct FeatureSet {
    /// Function calling.
    pub tools: bool,
    /// Image parts.
    pub vision: bool,
    /// Answers held to a JSON schema.
    pub json_schema: bool,
    /// Audio parts, in or out.
    pub audio: bool,
}

/// What the gateway does about the usage of streamed answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageMode {
    /// Asks for it where the client did not, and keeps it from the client then.
    Request,
    /// Leaves the request as it is: for upstreams that refuse `stream_options`.
    AsIs,
}

/// Whose name an answer's `model` carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseModel {
    /// The pool's.
    Pool,
    /// The one the upstream sent.
    Upstream,
}

/// TLS towards an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// PEM file of the authorities to trust, in place of the system's.
    pub ca_file: Option<PathBuf>,
    /// The certificate to show.
    pub client: Option<ClientIdentity>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientIdentity {
    /// PEM file with the certificate chain, leaf first (key `client_cert`).
    pub cert: PathBuf,
    /// PEM file with the private key (key `client_key`).
    pub key: PathBuf,
}
