//! The ledger: a row for every request of a tenant's, kept by a database.
//!
//! Nothing on a request's way waits for the database. A request that is admitted has a place in the queue of those that are to be
//! written; at its end its row goes there. A thread of the ledger's own writes what has come in one transaction, some twenty
//! times a second. While the database does not take rows they are appended to a file beside it.
//!
//! What is held of budgets for calls on their way is written down, too: what a process leaves behind that was killed is spent.

pub mod export;
pub mod reader;
pub mod report;
pub mod row;
mod spill;
mod sqlite;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc::RecvTimeoutError},
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc::{self, OwnedPermit};
use uuid::Uuid;

pub(crate) use self::sqlite::open as open_database;
use self::{
    row::{HoldRow, Row},
    sqlite::Sqlite,
};
use crate::{budget::Holder, config::Usd, telemetry::metrics::Metrics};

/// Rows that may wait to be written, those of requests on their way among them: more than a gateway has in flight.
const QUEUE_MAX: usize = 65_536;

/// How long an end waits for what is still to be written.
const END_MAX: Duration = Duration::from_secs(20);

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database cannot be opened or read.
    #[error("the database {} cannot be used: {source}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// It was written by a later version.
    #[error("the database {} is of a newer version ({found}; this program knows {known}): use that program, or another file", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The latest that is known.
        known: u32,
    },
    /// The file for rows that the database does not take.
    #[error("{} cannot be used: {source}", .path.display())]
    Spill {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No thread.
    #[error("the system gives no thread for the ledger: {0}")]
    Thread(std::io::Error),
}

/// An open ledger. Dropped, it first writes what waits.
#[derive(Debug)]
pub struct Ledger {
    /// None once it is at its end.
    queue: Mutex<Option<mpsc::Sender<Record>>>,
    /// Told when all is written.
    ended: Mutex<std::sync::mpsc::Receiver<()>>,
    path: PathBuf,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
enum Record {
    /// A request has ended; what was held for it is held no longer.
    Request(Box<Row>),
    /// Money is held for a call.
    Hold(HoldRow),
}

/// A place in the queue for a request's row.
#[derive(Debug)]
pub struct Slot {
    /// The row's own name: what clients call their requests need not be unique.
    pub id: Uuid,
    place: OwnedPermit<Record>,
}

impl Slot {
    /// Puts the row into the queue; waits for nothing.
    pub(crate) fn write(self, row: Row) {
        self.place.send(Record::Request(Box::new(row)));
    }
}

/// No place in the queue: the database and the disk are slower than the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// What was spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spent {
    /// By whom; at its finest, by key.
    pub by: Holder,
    /// When: the number of days since 1970, in UTC.
    pub day: i64,
    /// How much.
    pub amount: Usd,
}

impl Ledger {
    /// Opens the ledger in a file, which is made where there is none. What processes before this one have left behind is settled
    /// first; `retention` says how long rows are kept.
    ///
    /// # Errors
    /// When the file cannot be used.
    pub fn open(
        path: &Path,
        retention: Option<Duration>,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, LedgerError> {
        let mut store = Sqlite::open(path)?;
        let mut spill = spill::Spill::open(path)?;
        // In the order in which it happened: first what could not be written then, then what nobody will end.
        spill.take_back(&mut store).map_err(|source| LedgerError::Spill { path: path.to_owned(), source })?;
        let failed = |source| LedgerError::Database { path: path.to_owned(), source };
        let settled = store.settle_abandoned(SystemTime::now()).map_err(failed)?;
        if settled > 0 {
            tracing::warn!(
                "ledger: {settled} requests were on their way when the process before this one ended: what was held for them is spent"
            );
        }
        let (queue, records) = mpsc::channel(QUEUE_MAX);
        let writer = writer::Writer { store, spill, records, retention, metrics, failed_at: None };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(LedgerError::Thread)?;
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        let write = move || {
            runtime.block_on(writer.run());
            let _ = done.send(());
        };
        std::thread::Builder::new().name("ledger".to_owned()).spawn(write).map_err(LedgerError::Thread)?;
        Ok(Arc::new(Self { queue: Mutex::new(Some(queue)), ended: Mutex::new(ended), path: path.to_owned() }))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A place for a row.
    ///
    /// # Errors
    /// When there is none.
    pub fn slot(&self) -> Result<Slot, Full> {
        let queue = self.queue().ok_or(Full)?;
        let place = queue.try_reserve_owned().map_err(|_| Full)?;
        Ok(Slot { id: Uuid::now_v7(), place })
    }

    /// Writes down that money is held for a call.
    ///
    /// # Errors
    /// When there is no place.
    pub fn hold(&self, hold: HoldRow) -> Result<(), Full> {
        self.queue().ok_or(Full)?.try_send(Record::Hold(hold)).map_err(|_| Full)
    }

    /// What was spent on this day and since, by whom and on which day.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn spent_since(&self, day: i64) -> Result<Vec<Spent>, LedgerError> {
        let failed = |source| LedgerError::Database { path: self.path.clone(), source };
        Sqlite::open(&self.path)?.spent_since(day).map_err(failed)
    }

    /// Writes what waits, and ends. What comes later is not written.
    pub fn end(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.recv_timeout(END_MAX) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(
                "ledger: rows are still to be written, or requests to end; they are not waited for any longer"
            );
        }
    }

    fn queue(&self) -> Option<mpsc::Sender<Record>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.end();
    }
}

/// The number of days since 1970 of a moment, in UTC.
#[must_use]
pub fn day(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs() / 86_400).unwrap_or(i64::MAX)
}
