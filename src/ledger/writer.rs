//! The thread that writes: what has come is one transaction.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    sync::mpsc::Receiver,
    time::{Instant, sleep, timeout},
};

use super::{Record, row::milliseconds, spill::Spill, sqlite::Sqlite};
use crate::telemetry::metrics::Metrics;

/// How long rows are gathered for one transaction: what is older than twice this is written.
const GATHER: Duration = Duration::from_millis(40);
/// The most rows of one transaction.
const BATCH_MAX: usize = 5_000;
/// How often a database that fails is tried.
const RETRY: Duration = Duration::from_secs(1);
/// How often rows are looked for that are too old.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

pub(super) struct Writer {
    pub(super) store: Sqlite,
    pub(super) spill: Spill,
    pub(super) records: Receiver<Record>,
    pub(super) retention: Option<Duration>,
    pub(super) metrics: Arc<Metrics>,
    /// When the database last took no rows, if it has taken none since.
    pub(super) failed_at: Option<Instant>,
}

impl Writer {
    /// Until nobody can bring another row. Its thread is its own: the database blocks nobody else.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::new();
        let mut forgot_at: Option<Instant> = None;
        while let Some(first) = self.next().await {
            batch.push(first);
            sleep(GATHER).await;
            while batch.len() < BATCH_MAX
                && let Ok(more) = self.records.try_recv()
            {
                batch.push(more);
            }
            self.write(&mut batch).await;
            if forgot_at.is_none_or(|at| at.elapsed() > RETENTION_INTERVAL) {
                forgot_at = self.forget().then(Instant::now);
            }
        }
        // At the end the database is tried once more.
        self.failed_at = None;
        self.write(&mut batch).await;
    }

    /// The next record, waited for; while rows are in the spill file, the database is tried meanwhile.
    async fn next(&mut self) -> Option<Record> {
        while self.spill.waiting() > 0 {
            if let Ok(next) = timeout(RETRY, self.records.recv()).await {
                return next;
            }
            self.write(&mut Vec::new()).await;
        }
        self.records.recv().await
    }

    /// To the database, or else to the spill file, or else nowhere yet: then the batch is kept, and no other is taken.
    async fn write(&mut self, batch: &mut Vec<Record>) {
        let metrics = Arc::clone(&self.metrics);
        let metrics = &metrics.ledger;
        loop {
            if self.failed_at.is_none_or(|at| at.elapsed() >= RETRY) {
                let begun = Instant::now();
                match self.give_database(batch) {
                    Ok(()) => {
                        if self.failed_at.take().is_some() {
                            tracing::info!(
                                "ledger: the database takes rows again, and has all that it did not take"
                            );
                        }
                        metrics.rows.inc_by(u64::try_from(batch.len()).unwrap_or(0));
                        metrics.write_seconds.observe(begun.elapsed().as_secs_f64());
                        metrics.spilled.set(0);
                        batch.clear();
                        return;
                    }
                    Err(error) => {
                        if self.failed_at.is_none() {
                            tracing::error!(
                                "ledger: the database takes no rows; they go to the file beside it: {error}"
                            );
                        }
                        metrics.errors.inc();
                        self.failed_at = Some(Instant::now());
                    }
                }
            }
            match self.spill.add(batch) {
                Ok(()) => {
                    batch.clear();
                    metrics.spilled.set(i64::try_from(self.spill.waiting()).unwrap_or(i64::MAX));
                    return;
                }
                Err(error) => {
                    tracing::error!("ledger: the file beside the database takes no rows either: {error}");
                    sleep(RETRY).await;
                }
            }
        }
    }

    /// What waits in the spill file comes first.
    fn give_database(&mut self, batch: &[Record]) -> Result<(), String> {
        self.spill.take_back(&mut self.store).map_err(|error| error.to_string())?;
        self.store.write(batch).map_err(|error| error.to_string())
    }

    /// Deletes some of what is too old; whether that was all.
    fn forget(&mut self) -> bool {
        let Some(retention) = self.retention else { return true };
        let Some(before) = SystemTime::now().checked_sub(retention) else { return true };
        match self.store.forget_before(milliseconds(before)) {
            Ok(more) => !more,
            Err(error) => {
                tracing::warn!("ledger: old rows cannot be deleted: {error}");
                true
            }
        }
    }
}
