//! The ledger: a row for every request of a tenant's, kept by a database.
//!
//! Nothing on a request's way waits for the database. A request that is admitted has a place in the queue of those that are to be
//! written; at its end its row goes there. A thread of the ledger's own gathers what has come, some twenty times a second, and another one
//! gives it to the database in one transaction. What that has not taken in a moment is appended to a file beside it, from which it takes it
//! once it can.
//!
//! What is held of budgets for calls on their way is written down, too: what a process leaves behind that was killed is spent.

pub mod export;
mod heard;
mod postgres;
pub mod reader;
mod reading;
pub mod report;
pub mod row;
mod rows;
mod source;
mod spill;
mod sqlite;
#[cfg(test)]
mod tests;
mod usage;
mod worker;
mod writer;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, mpsc::RecvTimeoutError},
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc::{self, OwnedPermit};
use uuid::Uuid;

pub use self::{heard::Heard, rows::By};
use self::{
    row::{HoldRow, Row},
    rows::Rows,
};
use crate::{
    budget::Holder,
    config::{Database, Usd},
    database::{DatabaseError, OpenError},
    telemetry::metrics::Metrics,
};

/// Rows that may wait to be written, those of requests on their way among them: more than a gateway has in flight.
const QUEUE_MAX: usize = 65_536;

/// How long a process may be silent of which others are sure that it is there: less than after which they take it to be gone.
const HEARD_MAX: Duration = Duration::from_secs(10);

/// How long an end waits for what is still to be written.
const END_MAX: Duration = Duration::from_secs(20);

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error("the database {database} cannot be used: {source}")]
    Database {
        /// Which one.
        database: String,
        /// Why.
        source: DatabaseError,
    },
    /// The file for rows that the database does not take.
    #[error("{} cannot be used: {source}", .path.display())]
    Spill {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The same, of one that the configuration can name.
    #[error("{} cannot be used: {source}; `spill` in the configuration names another file", .path.display())]
    NamedSpill {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is another process's.
    #[error("{} is another process's: `spill` in the configuration names another file", .path.display())]
    SpillTaken {
        /// The file.
        path: PathBuf,
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
    database: Database,
    /// This process, among those that write to the same database.
    instance: Uuid,
    heard: Arc<Heard>,
}

/// What is written.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
enum Record {
    /// A request has ended; what was held for it is held no longer.
    Request(Box<Row>),
    /// Money is held for a call.
    Hold(HoldRow),
}

impl Record {
    fn request(&self) -> Option<&Row> {
        match self {
            Self::Request(row) => Some(row),
            Self::Hold(_) => None,
        }
    }

    fn hold(&self) -> Option<&HoldRow> {
        match self {
            Self::Request(_) => None,
            Self::Hold(hold) => Some(hold),
        }
    }
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

/// Money held for a call, as it is written down: again whenever it is more.
#[derive(Debug)]
pub struct HeldFor {
    ledger: Arc<Ledger>,
    row: HoldRow,
}

impl HeldFor {
    /// For the call of this row, whose amount does not count.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, row: HoldRow) -> Self {
        Self { ledger, row }
    }

    /// So much is held now.
    ///
    /// # Errors
    /// When there is no place.
    pub fn write(&self, amount: Usd) -> Result<(), Full> {
        let hold = HoldRow { pico_usd: row::whole(amount.pico()), ..self.row.clone() };
        self.ledger.queue().ok_or(Full)?.try_send(Record::Hold(hold)).map_err(|_| Full)
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
    /// Opens the ledger in a database. What processes before this one have left behind is settled first, or, where several write, once
    /// they have been silent for a while; `retention` says how long rows are kept. Waits for the database.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(
        database: &Database,
        retention: Option<Duration>,
        metrics: Arc<Metrics>,
    ) -> Result<Arc<Self>, LedgerError> {
        let path = database.spill();
        let mut store = Rows::open(database)?;
        let mut spill = spill::Spill::open(&path, store.is_shared())?;
        // In the order in which it happened: first what could not be written then, then what nobody will end.
        spill.take_back(&mut store).map_err(|source| LedgerError::Spill { path, source })?;
        let failed = |source| LedgerError::Database { database: database.to_string(), source };
        let instance = Uuid::now_v7();
        store.write_as(instance).map_err(failed)?;
        if !store.is_shared() {
            warn_of_settled(store.settle_abandoned(SystemTime::now()).map_err(failed)?);
        }
        let heard = Arc::new(Heard::now());
        let (queue, records) = mpsc::channel(QUEUE_MAX);
        let worker = worker::Worker::spawn(store).map_err(LedgerError::Thread)?;
        let writer = writer::Writer::new(worker, spill, records, (retention, Arc::clone(&heard)), metrics)
            .map_err(LedgerError::Thread)?;
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        let write = move || {
            writer.run();
            let _ = done.send(());
        };
        std::thread::Builder::new().name("ledger".to_owned()).spawn(write).map_err(LedgerError::Thread)?;
        let (queue, ended) = (Mutex::new(Some(queue)), Mutex::new(ended));
        Ok(Arc::new(Self { queue, ended, database: database.clone(), instance, heard }))
    }

    /// Where it is.
    #[must_use]
    pub fn database(&self) -> &Database {
        &self.database
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

    /// What was spent on this day and since, by whom and on which day.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn spent_since(&self, day: i64, by: &By) -> Result<Vec<Spent>, LedgerError> {
        self.ask(|rows| rows.spent_since(day, by))
    }

    /// The processes that write here: those that were heard of in the last 15 seconds, and those of which nobody has settled yet what they
    /// have left.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn instances(&self) -> Result<Vec<Uuid>, LedgerError> {
        self.ask(Rows::instances)
    }

    /// This process, among those that write here.
    #[must_use]
    pub fn instance(&self) -> Uuid {
        self.instance
    }

    /// When the others last heard of this process: by the database, and by whatever else tells it there.
    #[must_use]
    pub fn heard(&self) -> &Arc<Heard> {
        &self.heard
    }

    /// Notes that this process spends of its shares without telling anybody else; which of its notes this is, they are numbered.
    ///
    /// # Errors
    /// When the database cannot be written to; the note may come there all the same.
    pub fn goes_apart(&self, number: i64) -> Result<(), LedgerError> {
        self.ask(|rows| rows.goes_apart(self.instance, number))
    }

    /// Takes the notes of a process away, up to this number.
    ///
    /// # Errors
    /// When the database cannot be written to.
    pub fn is_together(&self, instance: Uuid, number: i64) -> Result<(), LedgerError> {
        self.ask(|rows| rows.is_together(instance, number))
    }

    /// Whether there is a note that a process spends so.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn is_apart(&self, instance: Uuid) -> Result<bool, LedgerError> {
        self.ask(|rows| rows.is_apart(instance))
    }

    fn ask<T>(&self, ask: impl FnOnce(&mut Rows) -> Result<T, DatabaseError>) -> Result<T, LedgerError> {
        let failed = |source| LedgerError::Database { database: self.database.to_string(), source };
        ask(&mut Rows::open(&self.database)?).map_err(failed)
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

fn warn_of_settled(requests: usize) {
    if requests > 0 {
        tracing::warn!(
            "ledger: {requests} requests were on their way when their process ended: what was held for them is spent"
        );
    }
}

/// The number of days since 1970 of a moment, in UTC.
#[must_use]
pub fn day(at: SystemTime) -> i64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs() / 86_400).unwrap_or(i64::MAX)
}
