//! HTTP clients with their connection pools: one per way of connecting, shared by the models that connect so.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::{legacy::Client, proxy::matcher::Matcher},
    rt::{TokioExecutor, TokioTimer},
};
use sha2::{Digest, Sha256};

use super::{
    body::SegmentsBody,
    egress::{Deadline, Egress},
    tls::{self, TlsError},
};
use crate::{
    config::{HttpBaseUrl, ModelConfig, UpstreamTls},
    resilience::health::{Health, Healths},
    secret::Secret,
};

/// An HTTP/1.1 and HTTP/2 client with a pool of connections.
pub type HttpClient = Client<Deadline<HttpsConnector<Egress>>, SegmentsBody>;

/// Idle connections are closed before common load balancers (60 s) would close them under a request.
const IDLE_MAX: Duration = Duration::from_secs(55);

/// The clients of a process. They outlive any configuration, and so do their open connections and what is known of the
/// upstreams' condition (law 9).
pub struct Clients {
    proxies: Arc<Matcher>,
    made: Mutex<HashMap<Way, Made>>,
    healths: Healths,
}

impl std::fmt::Debug for Clients {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Clients")
    }
}

/// What makes two models share a client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Way {
    files: Vec<PathBuf>,
    connect_timeout: Duration,
    http2_only: bool,
}

/// A client, and what was in its files when it was made: certificates are renewed under the names they have.
struct Made {
    client: HttpClient,
    digest: [u8; 32],
}

impl Way {
    fn of(model: &ModelConfig) -> Self {
        let UpstreamTls { ca_file, client } = &model.tls;
        // An authority's file alone, or a pair, or all three: the number tells them apart.
        let identity = client.iter().flat_map(|client| [client.cert.clone(), client.key.clone()]);
        Self {
            files: ca_file.iter().cloned().chain(identity).collect(),
            connect_timeout: model.timeouts.connect,
            http2_only: model.http2,
        }
    }

    /// Over every file's own digest, so that no byte can move from one to the next unseen.
    fn digest(&self) -> Result<[u8; 32], TlsError> {
        let mut digest = Sha256::new();
        for file in &self.files {
            let bytes = std::fs::read(file)
                .map_err(|source| TlsError::File { file: file.display().to_string(), source })?;
            digest.update(Sha256::digest(bytes));
        }
        Ok(digest.finalize().into())
    }
}

impl Clients {
    /// Clients that go out as the environment says.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::new(Matcher::from_env())
    }

    /// Clients that go out past `proxies`.
    #[must_use]
    pub fn new(proxies: Matcher) -> Self {
        Self { proxies: Arc::new(proxies), made: Mutex::default(), healths: Healths::default() }
    }

    /// The proxies on the way out.
    #[must_use]
    pub fn proxies(&self) -> &Matcher {
        &self.proxies
    }

    /// The condition of what is at an address under a model's name there, for our account: another key may have a quota left
    /// where this one has none.
    pub fn health(&self, base_url: &HttpBaseUrl, model: &ModelConfig) -> Arc<Health> {
        let mut account = Sha256::new();
        let key = model.api_key.as_ref().map(Secret::expose);
        let query = model.query.as_ref().map(Secret::expose);
        for part in [key, query].into_iter().flatten() {
            account.update(Sha256::digest(part));
        }
        for (name, value) in &model.headers {
            account.update(Sha256::digest(name.as_str()));
            account.update(Sha256::digest(value.as_bytes()));
        }
        let account: String = account.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        self.healths.of(&format!("{base_url} {} {account}", model.upstream_model))
    }

    /// The client for a model: the one there is, unless its TLS material has changed since.
    ///
    /// # Errors
    /// When its TLS material cannot be used.
    pub fn client(&self, model: &ModelConfig) -> Result<HttpClient, TlsError> {
        let way = Way::of(model);
        let digest = way.digest()?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = made.get(&way).filter(|known| known.digest == digest) {
            return Ok(known.client.clone());
        }
        let client = self.make(model)?;
        // In place of one with older files, whose calls on their way keep it until they end.
        made.insert(way, Made { client: client.clone(), digest });
        Ok(client)
    }

    fn make(&self, model: &ModelConfig) -> Result<HttpClient, TlsError> {
        let builder =
            HttpsConnectorBuilder::new().with_tls_config(tls::client_config(&model.tls)?).https_or_http();
        let egress = Egress::new(Arc::clone(&self.proxies), model.timeouts.connect);
        let connector = if model.http2 {
            builder.enable_http2().wrap_connector(egress)
        } else {
            builder.enable_all_versions().wrap_connector(egress)
        };
        Ok(Client::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_only(model.http2)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .build(Deadline::new(connector, model.timeouts.connect)))
    }
}
