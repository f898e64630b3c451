//! Why a gateway cannot start.

use std::net::SocketAddr;

use crate::{
    config::{AccessLogTarget, Diagnostics},
    store::StoreError,
};

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration does not hold against the artefacts.
    #[error("{0}")]
    Config(Diagnostics),
    /// The routers that ship in the binary cannot be used.
    #[error("the routers in this binary cannot be used: {0}")]
    Shipped(String),
    /// The listener's certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] crate::upstream::tls::TlsError),
    /// The access log cannot be written to.
    #[error("access_log: {target} cannot be opened for writing: {source}")]
    AccessLog {
        /// Where it was to be.
        target: AccessLogTarget,
        /// Why.
        source: std::io::Error,
    },
    /// The ledger cannot be opened.
    #[error("database: {0}")]
    Store(#[from] StoreError),
    /// The database was not waited for.
    #[error("the start was interrupted")]
    Interrupted,
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The collector's address cannot be used.
    #[error("traces: {0}")]
    Traces(#[from] opentelemetry_otlp::ExporterBuildError),
    /// The metrics cannot be registered.
    #[error("metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
}
