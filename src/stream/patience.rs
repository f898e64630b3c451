//! How long an answer is waited for, and what it is when that is over.

use std::time::Duration;

use tokio::time::Instant;

use super::fault::StreamFault;
use crate::config::Timeouts;

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// When the first content of a stream must be there.
    pub first_token_at: Option<Instant>,
    /// Longest wait between two signs of life after that.
    pub silence_max: Duration,
    /// When the request must be over.
    pub request_at: Instant,
}

impl Patience {
    /// That with an answer in one piece from an upstream of these timeouts, in a request that must be over by `request_at`.
    #[must_use]
    pub fn of(timeouts: &Timeouts, request_at: Instant) -> Self {
        Self { first_token_at: None, silence_max: timeouts.between_tokens, request_at }
    }

    /// That with a stream, from a call made at `called`.
    #[must_use]
    pub fn with_stream(timeouts: &Timeouts, called: Instant, request_at: Instant) -> Self {
        Self { first_token_at: Some(called + timeouts.first_token), ..Self::of(timeouts, request_at) }
    }

    /// When an answer that showed a sign of life `now` is given up, and why.
    pub(super) fn due(&self, now: Instant, has_content: bool) -> (Instant, StreamFault) {
        let own = match self.first_token_at {
            Some(at) if !has_content => (at, StreamFault::FirstToken),
            Some(_) | None => (now + self.silence_max, StreamFault::Stalled),
        };
        if self.request_at <= own.0 { (self.request_at, StreamFault::RequestTimeout) } else { own }
    }
}
