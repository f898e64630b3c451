//! What bounds the gateway as a whole: the `listen`, `tls`, `access_log` and `server` keys.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use crate::admission::QueueRules;
use crate::secret::Secret;

/// The certificate of the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// PEM file with the certificate chain, leaf first.
    pub cert: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// PEM file of the authorities one of which every client must show a certificate of.
    pub client_ca: Option<PathBuf>,
}

/// Where the access log goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogTarget {
    /// The standard output.
    Stdout,
    /// The end of a file.
    File(PathBuf),
}

impl fmt::Display for AccessLogTarget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => formatter.write_str("stdout"),
            Self::File(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// When somebody is told of budgets.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AlertsConfig {
    /// Shares of a budget, above 0 and up to 1.
    pub levels: Vec<f64>,
    /// Who is told, by a POST.
    pub webhook: Option<Secret>,
}

/// The limits of one process, under the key `server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// The longest request body, in bytes.
    pub max_body_bytes: usize,
    /// The longest request head, in bytes.
    pub max_header_bytes: usize,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a client may take to send a request's body.
    pub body_timeout: Duration,
    /// How long a client may take no bytes of an answer that is there for it.
    pub write_timeout: Duration,
    /// How long a connection without requests is kept.
    pub idle_timeout: Duration,
    /// How long new connections are still accepted after SIGTERM, while `/health/ready` says no already: a balancer takes its
    /// time to see that.
    pub drain_delay: Duration,
    /// How long requests in flight may take to end after that.
    pub drain_timeout: Duration,
    /// The longest non-streamed answer held in memory, in bytes; a longer one is streamed through.
    pub response_buffer: usize,
    /// The most client connections open at a time.
    pub max_connections: usize,
    /// The most requests in flight at a time.
    pub max_concurrent_requests: usize,
    /// Who may wait beyond that.
    pub queue: QueueRules,
    /// The most characters of a request that a router reads.
    pub routing_text_chars: usize,
    /// The most decisions waiting for a router's thread.
    pub router_queue: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            max_header_bytes: 64 << 10,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(60),
            // Longer than common load balancers keep theirs (60 s): they close first, and never send a request into
            // a closing connection.
            idle_timeout: Duration::from_secs(75),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            response_buffer: 4 << 20,
            max_connections: 10_000,
            max_concurrent_requests: 10_000,
            queue: QueueRules { per_tenant: 64, timeout: Duration::from_secs(1) },
            routing_text_chars: 8_000,
            router_queue: 256,
        }
    }
}
