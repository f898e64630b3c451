//! One of the places where a model's upstream is.

use std::{fmt, sync::Arc};

use http::{HeaderMap, HeaderValue, Uri, header};

use super::{client::Clients, model::ModelError};
use crate::{
    config::{HttpBaseUrl, ModelConfig, Scheme},
    openai::endpoint::Endpoint,
    resilience::health::Health,
};

/// An address, ready to be called.
#[derive(Debug)]
pub(super) struct Address {
    pub(super) uris: Uris,
    pub(super) headers: HeaderMap,
    pub(super) health: Arc<Health>,
    /// Where it is asked how it is.
    pub(super) check_uri: Option<Uri>,
}

impl Address {
    pub(super) fn prepare(
        config: &ModelConfig,
        base_url: &HttpBaseUrl,
        clients: &Clients,
    ) -> Result<Self, ModelError> {
        let uri =
            |endpoint: Endpoint| config.endpoint(base_url, endpoint.path()).map_err(|_| ModelError::Url);
        let uris = Uris {
            chat: uri(Endpoint::Chat)?,
            completions: uri(Endpoint::Completions)?,
            embeddings: uri(Endpoint::Embeddings)?,
            responses: uri(Endpoint::Responses)?,
        };
        let headers = own_headers(config, base_url, clients, &uris.chat)?;
        let root = |path: &str| {
            let scheme = match base_url.scheme() {
                Scheme::Http => "http",
                Scheme::Https => "https",
            };
            format!("{scheme}://{}{path}", base_url.authority()).parse().map_err(|_| ModelError::Url)
        };
        let check_uri = config.health_check.as_ref().map(|check| root(&check.path)).transpose()?;
        let health = clients.health(base_url, config);
        Ok(Self { uris, headers, health, check_uri })
    }
}

pub(super) struct Uris {
    chat: Uri,
    completions: Uri,
    embeddings: Uri,
    responses: Uri,
}

impl fmt::Debug for Uris {
    /// A query may hold a key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Uris")
    }
}

impl Uris {
    pub(super) fn of(&self, endpoint: Endpoint) -> &Uri {
        match endpoint {
            Endpoint::Chat => &self.chat,
            Endpoint::Completions => &self.completions,
            Endpoint::Embeddings => &self.embeddings,
            Endpoint::Responses => &self.responses,
        }
    }
}

/// The gateway's own key and the configured headers; they replace the client's.
pub(super) fn own_headers(
    config: &ModelConfig,
    base_url: &HttpBaseUrl,
    clients: &Clients,
    uri: &Uri,
) -> Result<HeaderMap, ModelError> {
    let mut headers = HeaderMap::new();
    if let Some(key) = &config.api_key {
        let text = if config.auth_header == header::AUTHORIZATION {
            format!("Bearer {}", key.expose())
        } else {
            key.expose().to_owned()
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| ModelError::Key)?;
        value.set_sensitive(true);
        headers.insert(config.auth_header.clone(), value);
    }
    for (name, value) in &config.headers {
        headers.insert(name.clone(), value.clone());
    }
    // A proxy that reads the requests itself is told who we are in each; a tunnel is told once, when it is made.
    if base_url.scheme() == Scheme::Http
        && let Some(credentials) =
            clients.proxies().intercept(uri).as_ref().and_then(|proxy| proxy.basic_auth())
    {
        headers.insert(header::PROXY_AUTHORIZATION, credentials.clone());
    }
    Ok(headers)
}
