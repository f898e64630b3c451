//! The configuration: one YAML file, read into types that prove its validity.
//!
//! Every error is reported at once, each with its place in the file, the name of the field and a hint. A key is
//! accepted only once the gateway enforces it. Nothing here knows of artefacts, sockets or requests: what can be
//! checked only against those is checked where they are, and reported through [`Source`].

pub mod base_url;
pub mod diagnostic;
pub mod model;
mod path;
pub mod price;
pub mod probability;
pub mod route;
pub mod server;
pub mod source;
pub mod tenant;

use std::collections::BTreeMap;
use std::net::SocketAddr;

pub use base_url::{HttpBaseUrl, Scheme};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use model::{ClientIdentity, FeatureSet, ModelConfig, Provider, ResponseModel, UpstreamTls, UsageMode};
pub use price::{Price, TokenPrice};
pub use probability::Probability;
pub use route::{RouteConfig, RoutedConfig, RouterKind, RoutingText, Selection};
pub use server::{ListenerTls, ServerLimits};
pub use source::Source;
pub use tenant::{KeyDigest, TenantConfig};

/// A valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators connect; no such listener when absent.
    pub admin_listen: Option<SocketAddr>,
    /// TLS on `listen`.
    pub tls: Option<ListenerTls>,
    /// The limits of the process.
    pub server: ServerLimits,
    /// The upstream models by their names in pools; at least one.
    pub models: BTreeMap<String, ModelConfig>,
    /// The routes by name; at least one.
    pub routes: BTreeMap<String, RouteConfig>,
    /// The tenants by name; at least one.
    pub tenants: BTreeMap<String, TenantConfig>,
    /// Where in the file each field stands.
    pub source: Source,
}
