//! The configuration: one YAML file, read into types that prove its validity.
//!
//! Every error is reported at once, each with its place in the file, the name of the field and a hint. A key is
//! accepted only once the gateway enforces it. Nothing here knows of artefacts, sockets or requests: what can be
//! checked only against those is checked where they are, and reported through [`Source`].

pub mod base_url;
pub mod database;
mod decode;
pub mod delivery;
pub mod diagnostic;
mod expand;
mod json;
pub mod jwt;
pub mod managed;
pub mod model;
mod node;
mod path;
pub mod price;
pub mod probability;
pub mod redis;
mod report;
pub mod route;
mod scalars;
pub mod served;
pub mod server;
pub mod source;
pub mod suggest;
pub mod tenant;
pub mod traces;
pub mod usd;
mod value;
mod yaml;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use base_url::{HttpBaseUrl, Scheme};
pub use database::{Database, DatabaseConfig, PostgresUrl, explained};
pub use delivery::{Continuation, Delivery, StreamRecovery, Timeouts, WhenLow};
pub use diagnostic::{Diagnostic, Diagnostics, Severity};
pub use jwt::JwtConfig;
pub use managed::ManagedTenant;
pub use model::{ClientIdentity, FeatureSet, ModelConfig, Provider, ResponseModel, UpstreamTls, UsageMode};
pub use price::{Price, TokenPrice};
pub use probability::Probability;
pub use redis::{OnStoreLoss, RedisConfig, RedisUrl};
pub use route::{EmbedderConfig, RouteChoice, RouteConfig, RoutedConfig, RouterKind, RoutingText, Selection};
pub use served::{ServedApi, ServedConfig};
pub use server::{AccessLogTarget, AlertsConfig, ListenerTls, ServerLimits};
pub use source::Source;
pub use tenant::{KeyConfig, KeyDigest, TenantConfig, TenantLimits};
pub use traces::TracesConfig;
pub use usd::Usd;

pub use decode::{is_name, read_instant};
use report::Report;
use sha2::{Digest, Sha256};
use value::{Reader, Value};

/// As much of a digest as tells two configurations apart.
const DIGEST_BYTES: usize = 6;

/// A valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Where clients connect.
    pub listen: SocketAddr,
    /// Where operators connect; no such listener when absent.
    pub admin_listen: Option<SocketAddr>,
    /// TLS on `listen`.
    pub tls: Option<ListenerTls>,
    /// Where a line is written for each request; nowhere when absent.
    pub access_log: Option<AccessLogTarget>,
    /// The operators' own keys, for `/admin/…`; without one anybody who reaches the operators' listener may do what needs none.
    pub admin_keys: Vec<KeyConfig>,
    /// When somebody is told of budgets.
    pub alerts: AlertsConfig,
    /// Where the ledger is; where the program likes when absent.
    pub database: Option<DatabaseConfig>,
    /// What gateways share at every moment, where they do.
    pub redis: Option<RedisConfig>,
    /// Where spans of requests go; nowhere when absent.
    pub traces: Option<TracesConfig>,
    /// How long rows of the ledger are kept; for ever when absent.
    pub retention: Option<Duration>,
    /// Who may sign tokens in place of keys; no two of one issuer.
    pub jwt: Vec<JwtConfig>,
    /// The limits of the process.
    pub server: ServerLimits,
    /// The upstream models by their names in pools; at least one.
    pub models: BTreeMap<String, ModelConfig>,
    /// The routes by name; at least one.
    pub routes: BTreeMap<String, RouteConfig>,
    /// The tenants by name; at least one, where none can come from the database.
    pub tenants: BTreeMap<String, TenantConfig>,
    /// The files and folders that it names: keys, certificates, artefacts, encoders.
    pub files: BTreeSet<PathBuf>,
    /// The beginning of its file's SHA-256, in hexadecimal; empty where there is no file.
    pub digest: String,
    /// Where in the file each field stands.
    pub source: Source,
}

/// A configuration that can be used, and what is doubtful about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings only.
    pub warnings: Diagnostics,
}

/// What a configuration is read from.
pub struct Input<'a> {
    /// What errors call the file.
    pub name: &'a str,
    /// The file's bytes.
    pub bytes: &'a [u8],
    /// What relative paths in the file are relative to.
    pub directory: &'a Path,
    /// Looks up the variables of the environment.
    pub environment: &'a dyn Fn(&str) -> Option<String>,
}

impl Config {
    /// Reads a file, with the process's environment.
    ///
    /// # Errors
    /// Everything that is wrong with the file, or that it cannot be read.
    pub fn load(path: &Path) -> Result<Loaded, Diagnostics> {
        let name = path.display().to_string();
        let bytes = yaml::read_file(path).map_err(|error| {
            let report = Report::new(Arc::from(name.as_str()));
            report.whole_file(format!("cannot be read: {error}"), None);
            report.into_diagnostics()
        })?;
        let directory = path.parent().unwrap_or_else(|| Path::new(""));
        let environment = |name: &str| std::env::var(name).ok();
        Self::parse(&Input { name: &name, bytes: &bytes, directory, environment: &environment })
    }

    /// What a program has put together and no file says; `name` stands for the file's. Everything else has its
    /// default.
    #[must_use]
    pub fn in_memory(
        name: &str,
        models: BTreeMap<String, ModelConfig>,
        routes: BTreeMap<String, RouteConfig>,
        tenants: BTreeMap<String, TenantConfig>,
    ) -> Self {
        Self {
            listen: decode::LISTEN,
            admin_listen: None,
            tls: None,
            access_log: None,
            admin_keys: Vec::new(),
            alerts: AlertsConfig::default(),
            database: None,
            redis: None,
            traces: None,
            retention: None,
            jwt: Vec::new(),
            server: ServerLimits::default(),
            models,
            routes,
            tenants,
            files: BTreeSet::new(),
            digest: String::new(),
            source: Source::unwritten(name),
        }
    }

    /// Reads a file that is in memory.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(input: &Input<'_>) -> Result<Loaded, Diagnostics> {
        let file: Arc<str> = Arc::from(input.name);
        let report = Report::new(Arc::clone(&file));
        let root = yaml::read(input.bytes, input.environment, &report);
        let config = root.and_then(|root| {
            let source = Source::new(file, root.outline(None));
            let files = RefCell::default();
            let reader = Reader { report: &report, directory: input.directory, files };
            let config = decode::config(&Value::root(&reader, &root), source)?;
            let digest = Sha256::digest(input.bytes)
                .iter()
                .take(DIGEST_BYTES)
                .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
            Some(Self { files: reader.files.take(), digest, ..config })
        });
        let found = report.into_diagnostics();
        match config {
            Some(config) if !found.has_errors() => Ok(Loaded { config, warnings: found }),
            _ => Err(found),
        }
    }
}
