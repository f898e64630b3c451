//! What an answer's end does to the books: law 13's guards, carried by the response body.

use std::{sync::Arc, time::Instant};

use tokio::sync::OwnedSemaphorePermit;

use crate::{
    openai::usage::Usage,
    stream::{body::StreamObserver, fault::StreamFault},
    telemetry::{account::Account, metrics::Metrics, outcome::Outcome},
};

/// What lives as long as a request: its account, and its permit.
#[derive(Debug)]
pub(super) struct Guards {
    pub(super) account: Account,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// Watches the answer of an upstream to its end.
#[derive(Debug)]
pub(super) struct AnswerObserver {
    pub(super) guards: Guards,
    pub(super) metrics: Arc<Metrics>,
    pub(super) model: Arc<str>,
    pub(super) called: Instant,
    /// The endpoint is one where models write.
    pub(super) writes: bool,
}

impl StreamObserver for AnswerObserver {
    fn usage(&mut self, usage: Usage) {
        self.guards.account.set_usage(usage);
    }

    fn written(&mut self, characters: u64) {
        self.guards.account.set_written(if self.writes { characters } else { 0 });
    }

    fn ended(&mut self, fault: Option<&StreamFault>) {
        let seconds = self.called.elapsed().as_secs_f64();
        self.metrics.upstream_seconds.with_label_values(&[&*self.model]).observe(seconds);
        let outcome = match fault {
            None => Outcome::Ok,
            Some(fault) => {
                tracing::warn!(model = %self.model, code = fault.code(), "answer broke off");
                self.metrics.attempts.with_label_values(&[&*self.model, fault.code()]).inc();
                Outcome::UpstreamError
            }
        };
        self.guards.account.ended(outcome);
        // The permit is for the next request as soon as the last byte is on its way.
        self.guards.permit = None;
    }
}
