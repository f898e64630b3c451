//! The thread that writes: what has come is one transaction. It never waits long for the database: what that has not taken in a moment goes to
//! the spill file, whether it takes it yet or not.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{
    runtime::Runtime,
    sync::mpsc::Receiver,
    time::{Instant, sleep, timeout_at},
};

use super::{
    Heard, Record,
    row::milliseconds,
    spill::{Chunk, Spill},
    warn_of_settled,
    worker::{Answer, Done, Job, Worker},
};
use crate::{database::DatabaseError, telemetry::metrics::Metrics};

/// How long rows are gathered for one transaction.
const GATHER: Duration = Duration::from_millis(40);
/// How long the database may take for them, before they are in the spill file as well. Both together are the time after which a row outlives
/// its process: less than 100 ms.
const PATIENCE: Duration = Duration::from_millis(45);
/// The most rows of one transaction.
const BATCH_MAX: usize = 5_000;
/// How often a database that fails is tried.
const RETRY: Duration = Duration::from_secs(1);
/// How often rows are looked for that are too old.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// How long others must have been heard of, or not, before those that are silent are taken to be gone.
const LISTEN: Duration = Duration::from_secs(10);

pub(super) struct Writer {
    worker: Worker,
    /// What the worker does.
    asked: Option<Asked>,
    spill: Spill,
    records: Receiver<Record>,
    retention: Option<Duration>,
    metrics: Arc<Metrics>,
    /// When the database last failed, if it has taken no rows since.
    failed_at: Option<Instant>,
    /// Where several write: since when the database takes this one's word without a break, and when it last was asked to.
    heard: Option<(Instant, Instant)>,
    /// By others.
    heard_of: Arc<Heard>,
    forgot_at: Option<Instant>,
    /// For waiting alone.
    runtime: Runtime,
}

/// What the database was asked for that has not answered.
enum Asked {
    /// To write rows that are nowhere else.
    Batch { rows: usize },
    /// To write rows that are in the spill file: its first, or some behind those, which are read from there once more.
    Spilled(Option<Chunk>),
    /// To hear of this process.
    Beat { at: Instant },
    /// Something else.
    Other,
}

impl Writer {
    pub(super) fn new(
        worker: Worker,
        spill: Spill,
        records: Receiver<Record>,
        (retention, heard_of): (Option<Duration>, Arc<Heard>),
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (asked, failed_at, heard, forgot_at) = (None, None, None, None);
        Ok(Self {
            worker,
            asked,
            spill,
            records,
            retention,
            metrics,
            failed_at,
            heard,
            heard_of,
            forgot_at,
            runtime,
        })
    }

    /// Until nobody can bring another row.
    pub(super) fn run(mut self) {
        while let Some(first) = self.next() {
            let mut batch = vec![first];
            self.pause(GATHER);
            while batch.len() < BATCH_MAX
                && let Ok(more) = self.records.try_recv()
            {
                batch.push(more);
            }
            self.write(&Arc::new(batch));
        }
        self.finish();
    }

    /// The next record. While it is waited for the database is asked for what else is to be done.
    fn next(&mut self) -> Option<Record> {
        loop {
            self.tend();
            let (records, worker) = (&mut self.records, &mut self.worker);
            let answer = self.runtime.block_on(async {
                tokio::select! {
                    record = records.recv() => Err(record),
                    Some(answer) = worker.answer() => Ok(Some(answer)),
                    () = sleep(RETRY) => Ok(None),
                }
            });
            match answer {
                Err(record) => return record,
                Ok(answer) => answer.into_iter().for_each(|answer| self.hear(answer)),
            }
        }
    }

    fn pause(&self, time: Duration) {
        self.runtime.block_on(async { sleep(time).await });
    }

    /// To the database, or else to the spill file, or else nowhere yet: then no other is taken.
    fn write(&mut self, batch: &Arc<Vec<Record>>) {
        while !self.give(batch) {
            match self.keep(batch) {
                Ok(()) => return,
                Err(error) => {
                    tracing::error!("ledger: the file beside the database takes no rows either: {error}");
                    self.pause(RETRY);
                }
            }
        }
    }

    /// Whether the database has them now. What waits in the spill file comes there in between: the order is no matter.
    fn give(&mut self, batch: &Arc<Vec<Record>>) -> bool {
        let until = Instant::now() + PATIENCE;
        if !self.may_ask() || !self.is_answered_by(until) || !self.may_ask() {
            return false;
        }
        self.ask(Job::Write(Arc::clone(batch)), Asked::Batch { rows: batch.len() });
        self.is_answered_by(until) && self.failed_at.is_none()
    }

    /// Puts them into the spill file; what the database may be writing just now among them.
    fn keep(&mut self, batch: &[Record]) -> std::io::Result<()> {
        let is_first = self.spill.waiting() == 0;
        let chunk = self.spill.add(batch)?;
        if let Some(asked @ Asked::Batch { .. }) = &mut self.asked {
            *asked = Asked::Spilled(is_first.then_some(chunk));
        }
        self.show_spilled();
        Ok(())
    }

    /// Asks for what is to be done now, if the database is free.
    fn tend(&mut self) {
        if self.asked.is_some() || !self.may_ask() {
            return;
        }
        let now = Instant::now();
        if self.worker.is_shared() && self.heard.is_none_or(|(_, last)| last.elapsed() >= RETRY) {
            let since = self.heard.map_or(now, |(since, _)| since);
            self.heard = Some((since, now));
            self.ask(Job::Beat { settle: now.duration_since(since) >= LISTEN }, Asked::Beat { at: now });
        } else if self.spill.waiting() > 0 {
            self.give_spilled();
        } else if let Some(before_ms) = self.forgets_before() {
            self.forgot_at = Some(now);
            self.ask(Job::Forget { before_ms }, Asked::Other);
        }
    }

    fn give_spilled(&mut self) {
        match self.spill.first() {
            Ok((records, chunk)) => self.ask(Job::Write(Arc::new(records)), Asked::Spilled(Some(chunk))),
            Err(error) => {
                tracing::error!("ledger: the file beside the database cannot be read: {error}");
                self.failed_at = Some(Instant::now());
            }
        }
    }

    /// Before which time rows are too old, if it is time to look for them.
    fn forgets_before(&self) -> Option<i64> {
        let is_time = self.forgot_at.is_none_or(|at| at.elapsed() > RETENTION_INTERVAL);
        SystemTime::now().checked_sub(self.retention.filter(|_| is_time)?).map(milliseconds)
    }

    /// A database that has failed a moment ago is left alone.
    fn may_ask(&self) -> bool {
        self.failed_at.is_none_or(|at| at.elapsed() >= RETRY)
    }

    fn ask(&mut self, job: Job, asked: Asked) {
        self.worker.ask(job);
        self.asked = Some(asked);
    }

    /// Waits so long for the answer to what was asked, if anything was.
    fn is_answered_by(&mut self, until: Instant) -> bool {
        if self.asked.is_some() {
            let worker = &mut self.worker;
            let answer = self.runtime.block_on(async { timeout_at(until, worker.answer()).await });
            if let Ok(Some(answer)) = answer {
                self.hear(answer);
            }
        }
        self.asked.is_none()
    }

    fn hear(&mut self, answer: Answer) {
        match (self.asked.take(), answer.done) {
            (Some(asked), Ok(done)) => self.succeeded(asked, done, answer.took),
            (Some(asked), Err(error)) => self.failed(&asked, &error),
            (None, _) => {}
        }
    }

    fn succeeded(&mut self, asked: Asked, done: Done, took: Duration) {
        let metrics = &self.metrics.ledger;
        match asked {
            Asked::Batch { rows } => metrics.rows.inc_by(u64::try_from(rows).unwrap_or(u64::MAX)),
            Asked::Spilled(Some(chunk)) => {
                metrics.rows.inc_by(chunk.lines());
                self.spill.has_given(chunk);
                self.show_spilled();
            }
            Asked::Beat { at } => self.heard_of.again(at.into_std()),
            Asked::Spilled(None) | Asked::Other => {}
        }
        match done {
            Done::Written => {
                self.metrics.ledger.write_seconds.observe(took.as_secs_f64());
                self.takes_rows();
            }
            Done::Heard { settled } => {
                warn_of_settled(settled);
                self.takes_rows();
            }
            Done::Forgotten { more: true } => self.forgot_at = None,
            Done::Forgotten { more: false } | Done::Left => {}
        }
    }

    fn takes_rows(&mut self) {
        if self.failed_at.take().is_some() {
            let waiting = self.spill.waiting();
            tracing::info!(
                waiting,
                "ledger: the database takes rows again, also those that wait in the file beside it"
            );
        }
    }

    fn failed(&mut self, asked: &Asked, error: &DatabaseError) {
        let is_first = self.failed_at.is_none();
        match asked {
            Asked::Batch { .. } | Asked::Spilled(_) => {
                self.metrics.ledger.errors.inc();
                if is_first {
                    tracing::error!(
                        "ledger: the database takes no rows; they go to the file beside it: {error}"
                    );
                }
            }
            Asked::Beat { .. } if is_first => {
                tracing::warn!("ledger: the database does not hear of this process: {error}");
            }
            Asked::Beat { .. } => {}
            // Nothing is behind for it.
            Asked::Other => return tracing::warn!("ledger: old rows cannot be deleted: {error}"),
        }
        self.heard = None;
        self.failed_at = Some(Instant::now());
    }

    /// The database is tried once more, for all that it lacks.
    fn finish(mut self) {
        self.wait();
        self.failed_at = None;
        while self.failed_at.is_none() && self.spill.waiting() > 0 {
            self.give_spilled();
            self.wait();
        }
        if self.spill.waiting() == 0 {
            self.worker.ask(Job::Leave);
            let worker = &mut self.worker;
            if let Some(Answer { done: Err(error), .. }) = self.runtime.block_on(worker.answer()) {
                tracing::warn!("ledger: the end of this process could not be told to the database: {error}");
            }
        }
        self.worker.end();
    }

    /// For the answer to what was asked, however long it takes.
    fn wait(&mut self) {
        if self.asked.is_some()
            && let Some(answer) = self.runtime.block_on(self.worker.answer())
        {
            self.hear(answer);
        }
    }

    fn show_spilled(&self) {
        self.metrics.ledger.spilled.set(i64::try_from(self.spill.waiting()).unwrap_or(i64::MAX));
    }
}
