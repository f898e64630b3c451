//! The thread that writes: what has come is one transaction.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Runtime,
    sync::mpsc::Receiver,
    time::{Instant, sleep, timeout},
};

use super::{Record, Signs, row::milliseconds, rows::Rows, spill::Spill, warn_of_settled};
use crate::telemetry::metrics::Metrics;

/// How long rows are gathered for one transaction: what is older than twice this is written.
const GATHER: Duration = Duration::from_millis(40);
/// The most rows of one transaction.
const BATCH_MAX: usize = 5_000;
/// How often a database that fails is tried.
const RETRY: Duration = Duration::from_secs(1);
/// How often rows are looked for that are too old.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// How long others must have been heard of, or not, before those that are silent are taken to be gone.
const LISTEN: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    store: Rows,
    spill: Spill,
    records: Receiver<Record>,
    retention: Option<Duration>,
    metrics: Arc<Metrics>,
    /// When the database last took no rows, if it has taken none since.
    failed_at: Option<Instant>,
    /// Where several write: since when the database takes this one's word without a break, and when it last did.
    heard: Option<(Instant, Instant)>,
    /// For others to see.
    signs: Signs,
    forgot_at: Option<Instant>,
    /// For waiting alone: the database is waited for outside of it.
    runtime: Runtime,
}

impl Writer {
    pub(super) fn new(
        store: Rows,
        spill: Spill,
        records: Receiver<Record>,
        (retention, signs): (Option<Duration>, Signs),
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (failed_at, heard, forgot_at) = (None, None, None);
        Ok(Self { store, spill, records, retention, metrics, failed_at, heard, signs, forgot_at, runtime })
    }

    /// Until nobody can bring another row. Its thread is its own: the database blocks nobody else.
    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        while let Some(first) = self.next() {
            batch.push(first);
            self.pause(GATHER);
            while batch.len() < BATCH_MAX
                && let Ok(more) = self.records.try_recv()
            {
                batch.push(more);
            }
            self.write(&mut batch);
            self.tend();
        }
        // At the end the database is tried once more.
        self.failed_at = None;
        self.write(&mut batch);
        if self.spill.waiting() == 0
            && let Err(error) = self.store.leave()
        {
            tracing::warn!("ledger: the end of this process could not be told to the database: {error}");
        }
    }

    /// The next record, waited for; while rows are in the spill file, the database is tried meanwhile.
    fn next(&mut self) -> Option<Record> {
        while self.spill.waiting() > 0 || self.store.is_shared() {
            let records = &mut self.records;
            if let Ok(next) = self.runtime.block_on(async { timeout(RETRY, records.recv()).await }) {
                return next;
            }
            if self.spill.waiting() > 0 {
                self.write(&mut Vec::new());
            }
            self.tend();
        }
        self.records.blocking_recv()
    }

    fn pause(&self, time: Duration) {
        self.runtime.block_on(async { sleep(time).await });
    }

    /// What is to be done now and then.
    fn tend(&mut self) {
        if self.forgot_at.is_none_or(|at| at.elapsed() > RETENTION_INTERVAL) {
            self.forgot_at = self.forget().then(Instant::now);
        }
        if self.store.is_shared() && self.heard.is_none_or(|(_, last)| last.elapsed() >= RETRY) {
            self.listen();
        }
    }

    /// Is heard of, and settles what others have left who are not.
    fn listen(&mut self) {
        if self.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
            self.heard = None;
            return;
        }
        let now = Instant::now();
        let since = self.heard.map_or(now, |(since, _)| since);
        self.heard = Some((since, now));
        self.signs.unbroken.asks();
        let done = self.store.beat().and_then(|()| match now.duration_since(since) >= LISTEN {
            true => self.store.settle_abandoned(SystemTime::now()),
            false => Ok(0),
        });
        self.signs.unbroken.heard(done.is_ok());
        match done {
            Ok(settled) => {
                self.signs.heard.again(now.into_std());
                if self.spill.waiting() == 0 {
                    self.is_behind(false);
                }
                warn_of_settled(settled);
            }
            Err(error) => {
                self.heard = None;
                self.is_behind(true);
                if self.failed_at.is_none() {
                    tracing::warn!("ledger: the database does not hear of this process: {error}");
                }
                self.failed_at.get_or_insert(now);
            }
        }
    }

    fn is_behind(&self, is_behind: bool) {
        self.signs.is_behind.store(is_behind, Ordering::Release);
    }

    /// To the database, or else to the spill file, or else nowhere yet: then the batch is kept, and no other is taken.
    fn write(&mut self, batch: &mut Vec<Record>) {
        let metrics = Arc::clone(&self.metrics);
        let metrics = &metrics.ledger;
        loop {
            if self.failed_at.is_none_or(|at| at.elapsed() >= RETRY) {
                let begun = Instant::now();
                self.signs.unbroken.asks();
                let given = self.give_database(batch);
                self.signs.unbroken.heard(given.is_ok());
                match given {
                    Ok(()) => {
                        if self.failed_at.take().is_some() {
                            tracing::info!(
                                "ledger: the database takes rows again, and has all that it did not take"
                            );
                        }
                        metrics.rows.inc_by(u64::try_from(batch.len()).unwrap_or(0));
                        metrics.write_seconds.observe(begun.elapsed().as_secs_f64());
                        metrics.spilled.set(0);
                        self.is_behind(false);
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
                        self.is_behind(true);
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
                    self.pause(RETRY);
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
