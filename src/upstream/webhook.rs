//! Telling another service something, by a POST of JSON.

use std::time::Duration;

use http::{HeaderMap, Uri};
use tokio::time::{sleep, timeout};

use super::{
    body::post,
    client::{Clients, HttpClient},
    tls::TlsError,
};
use crate::{
    config::{HttpBaseUrl, ModelConfig},
    secret::Secret,
};

const TIMEOUT: Duration = Duration::from_secs(5);
/// Waits before it is tried again.
const WAITS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// Where to POST. Its address may be a secret in itself.
pub struct Webhook {
    uri: Uri,
    client: HttpClient,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Webhook([redacted])")
    }
}

/// Why there is no way to it.
#[derive(Debug, thiserror::Error)]
pub enum WebhookError {
    /// It is no address.
    #[error("is no http:// or https:// URL")]
    Url,
    /// TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Webhook {
    /// A way to an address.
    ///
    /// # Errors
    /// When it is none.
    pub fn prepare(url: &Secret, clients: &Clients) -> Result<Self, WebhookError> {
        let uri: Uri = url.expose().parse().map_err(|_| WebhookError::Url)?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(WebhookError::Url);
        };
        let base: HttpBaseUrl = format!("{scheme}://{authority}").parse().map_err(|_| WebhookError::Url)?;
        let client = clients.client(&ModelConfig::new("webhook", base))?;
        Ok(Self { uri, client })
    }

    /// Posts; three times at most.
    ///
    /// # Errors
    /// Why it was not taken in the end.
    pub async fn post(&self, json: &str) -> Result<(), String> {
        let mut waits = WAITS.into_iter();
        loop {
            let failed = match timeout(TIMEOUT, self.once(json)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failed)) => failed,
                Err(_) => "no answer in time".to_owned(),
            };
            match waits.next() {
                Some(wait) => sleep(wait).await,
                None => return Err(failed),
            }
        }
    }

    async fn once(&self, json: &str) -> Result<(), String> {
        let request = post(self.uri.clone(), HeaderMap::new(), json.to_owned().into());
        // Not the error's own words: they may name the address.
        let response = self.client.request(request).await.map_err(|_| "it cannot be reached".to_owned())?;
        if response.status().is_success() {
            Ok(())
        } else {
            Err(format!("status {}", response.status().as_u16()))
        }
    }
}
