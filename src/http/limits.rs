//! Tenants' limits as clients see them: who is let in, what was used in the end, and what the headers say.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use super::{attempt::Call, error::Failure};
use crate::{
    openai::duration::Shown,
    telemetry::{bill::Bill, metrics::Metrics},
    tenancy::limits::{Exceeded, Lease, Limited, Standing},
};

static REQUESTS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-reset-requests"),
];
static TOKENS: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-ratelimit-reset-tokens"),
];

/// A request under its tenant's limits, until its answer has ended; then its tokens are settled.
#[derive(Debug)]
pub(super) struct Held {
    lease: Lease,
    bill: Arc<Bill>,
}

impl Held {
    /// Lets in a request whose calls will be written down on `bill`.
    ///
    /// # Errors
    /// With the limit that refuses it.
    pub(super) async fn enter(limited: &Limited, bill: Arc<Bill>) -> Result<Self, Exceeded> {
        Ok(Self { lease: limited.admit(Instant::now()).await?, bill })
    }

    /// Takes the tokens that a call is expected to use: its prompt, and the longest answer that it asks for.
    ///
    /// # Errors
    /// When there are not that many.
    pub(super) async fn reserve(&mut self, call: &Call) -> Result<(), Exceeded> {
        let tokens = call.prompt_tokens.saturating_add(call.request.answer_tokens(call.endpoint));
        self.lease.reserve_shared(tokens, Instant::now()).await
    }

    /// The gateway has no place for it: it does not count.
    pub(super) fn give_back(mut self) {
        self.lease.give_back(Instant::now());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.lease.has_tokens() {
            let used = self.bill.meters().iter().filter_map(|meter| meter.used()).fold(0_u64, |sum, used| {
                sum.saturating_add(used.usage.prompt_tokens).saturating_add(used.usage.completion_tokens)
            });
            self.lease.settle(used, Instant::now());
        }
    }
}

/// A refusal, counted.
pub(super) fn refused(metrics: &Metrics, tenant: &str, exceeded: Exceeded) -> Failure {
    metrics.limits.refused.with_label_values(&[tenant, exceeded.limit.label()]).inc();
    Failure::Limited(exceeded)
}

/// Says in an answer's head how the limits stand. What an upstream says there is of the gateway's own account.
pub(super) fn tell(limited: &Limited, headers: &mut HeaderMap) {
    let now = Instant::now();
    for (names, standing) in [(&REQUESTS, limited.requests(now)), (&TOKENS, limited.tokens(now))] {
        let [limit, remaining, reset] = names;
        let Some(Standing { allowed, level }) = standing else {
            names.iter().for_each(|name| drop(headers.remove(name)));
            continue;
        };
        headers.insert(limit, HeaderValue::from(allowed));
        headers.insert(remaining, HeaderValue::from(level.remaining));
        if let Ok(shown) = HeaderValue::try_from(Shown(level.full_in).to_string()) {
            headers.insert(reset, shown);
        }
    }
}
