//! Active health checks: an address is asked how it is, whether there is traffic or not.
//!
//! Two failures in a row, and it is left alone; one success, and it is called again.

use std::sync::Arc;

use http::{HeaderMap, Method, Request, Uri};
use tokio::time::timeout;

use super::{body::SegmentsBody, client::HttpClient};
use crate::resilience::health::{CheckRules, Health};

/// Failures in a row that say that an address is down.
const FAILURES: u32 = 2;

/// A check of one address.
#[derive(Debug)]
pub struct Check {
    pub(super) rules: CheckRules,
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    pub(super) client: HttpClient,
    pub(super) health: Arc<Health>,
}

/// What was found is forgotten when nobody checks any more.
struct Found<'a>(&'a Health);

impl Drop for Found<'_> {
    fn drop(&mut self) {
        self.0.set_down(false);
    }
}

impl Check {
    /// The condition that it finds out.
    #[must_use]
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Checks for as long as it is polled.
    pub async fn run(self) {
        let found = Found(&self.health);
        let mut failures = 0;
        loop {
            let is_well = timeout(self.rules.timeout, self.once()).await.unwrap_or(false);
            failures = if is_well { 0 } else { failures + 1 };
            let is_down = failures >= FAILURES;
            if found.0.set_down(is_down) != is_down {
                let (address, state) = (&self.uri, if is_down { "down" } else { "up" });
                tracing::warn!(address = %address.authority().map_or("", |of| of.as_str()), state, "health check");
            }
            tokio::time::sleep(self.rules.interval).await;
        }
    }

    async fn once(&self) -> bool {
        let mut request = Request::new(SegmentsBody(std::collections::VecDeque::new()));
        *request.method_mut() = Method::GET;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        self.client.request(request).await.is_ok_and(|response| response.status().is_success())
    }
}
