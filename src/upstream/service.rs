//! Another service that is asked by a POST of JSON, now and then and not for long.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Uri};
use http_body_util::{BodyExt, Limited};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use super::{address::own_headers, body::post, client::Clients, client::HttpClient, model::ModelError};
use crate::{
    config::ModelConfig,
    resilience::{
        breaker::{BreakerRules, Verdict},
        health::{Admission, Health},
        unanswered::Unanswered,
    },
};

/// The longest answer that is read: a vector of a hundred thousand numbers, as text.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// A service at one address, or at least as good at each of several.
pub struct Service {
    client: HttpClient,
    places: Vec<Place>,
    rules: BreakerRules,
    free: Semaphore,
}

struct Place {
    uri: Uri,
    headers: HeaderMap,
    health: Arc<Health>,
}

impl fmt::Debug for Service {
    /// A query may hold a key.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Service")
    }
}

impl Service {
    /// What is below the base URLs of `config` at `path`; asked so many questions at once at most.
    ///
    /// # Errors
    /// When its key, address or TLS material cannot be used.
    pub fn prepare(
        config: &ModelConfig,
        path: &str,
        at_once_max: usize,
        clients: &Clients,
    ) -> Result<Self, ModelError> {
        let place = |base_url| {
            let uri = config.endpoint(base_url, path).map_err(|_| ModelError::Url)?;
            let headers = own_headers(config, base_url, clients, &uri)?;
            Ok(Place { uri, headers, health: clients.health(base_url, config) })
        };
        Ok(Self {
            client: clients.client(config)?,
            places: config.base_urls.iter().map(place).collect::<Result<_, ModelError>>()?,
            rules: config.breaker,
            free: Semaphore::new(at_once_max.min(Semaphore::MAX_PERMITS)),
        })
    }

    /// One of its addresses that may be called.
    fn admit(&self) -> Option<(&Place, Admission)> {
        let (now, count) = (Instant::now(), self.places.len());
        let first = fastrand::usize(..count.max(1));
        (0..count).find_map(|step| {
            let place = self.places.get((first + step) % count)?;
            Some((place, place.health.admit(&self.rules, now).ok()?))
        })
    }

    async fn call(&self, place: &Place, json: Bytes) -> Result<(Verdict, Result<Bytes, Unanswered>), String> {
        let request = post(place.uri.clone(), place.headers.clone(), json);
        let (head, body) =
            self.client.request(request).await.map_err(|error| error.to_string())?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(|error| error.to_string())?;
        if head.status.is_success() {
            return Ok((Verdict::Success, Ok(body.to_bytes())));
        }
        let is_down = head.status.is_server_error() || head.status == http::StatusCode::TOO_MANY_REQUESTS;
        let verdict = if is_down { Verdict::Failure } else { Verdict::Success };
        Ok((verdict, Err(Unanswered::Failed(format!("status {}", head.status.as_u16())))))
    }

    /// Asks; until `deadline` at most.
    ///
    /// # Errors
    /// When there is no answer of success.
    pub async fn ask(&self, json: Bytes, deadline: Instant) -> Result<Bytes, Unanswered> {
        let _one = self.free.try_acquire().map_err(|_| Unanswered::Busy)?;
        let Some((place, admission)) = self.admit() else {
            return Err(Unanswered::Failed("it has failed too often, and is left alone".to_owned()));
        };
        let (verdict, answer) = match timeout_at(deadline, self.call(place, json)).await {
            Ok(Ok((verdict, answer))) => (verdict, answer),
            Ok(Err(broken)) => (Verdict::Failure, Err(Unanswered::Failed(broken))),
            Err(_) => (Verdict::Failure, Err(Unanswered::Late)),
        };
        admission.settle(Instant::now(), verdict);
        answer
    }
}
