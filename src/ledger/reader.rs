//! Reading a ledger that a gateway may be writing to meanwhile: nothing in it or beside it is changed.
//!
//! What keeps the ledger is known here and to nobody who reads.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{
    report::{Filter, UsageQuery, UsageReport},
    row::Row,
    sqlite::reading::SqliteReader,
};

/// Why a ledger cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such file.
    #[error("there is no ledger at {}: a gateway makes it when it starts", .path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A file, and none of ours.
    #[error("{} is no ledger: expected the SQLite file that a gateway writes, as `database` in its configuration names it", .path.display())]
    NotALedger {
        /// The file.
        path: PathBuf,
    },
    /// It was written by a later version.
    #[error("the ledger {} is of a newer version ({found}; this program knows {known}): read it with that program", .path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The latest that is known.
        known: i64,
    },
    /// It was written by an earlier version.
    #[error("the ledger {} is of an older version ({found}; this program reads {known}): start this version's gateway on it once", .path.display())]
    Older {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The one that can be read.
        known: i64,
    },
    /// The file cannot be looked at.
    #[error("the ledger {} cannot be read: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database cannot be read.
    #[error("the ledger {} cannot be read: {source}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// What was read may not fit together.
    #[error("a gateway began to write the ledger {} while it was read: read it again", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// More than anyone reads.
    #[error("there are more than {groups_max} groups: group by less, or ask for fewer days")]
    TooManyGroups {
        /// How many there may be.
        groups_max: usize,
    },
}

/// An open ledger, for reading.
#[derive(Debug)]
pub struct Reader {
    store: SqliteReader,
}

impl Reader {
    /// Opens the ledger in a file.
    ///
    /// # Errors
    /// When there is none that can be read.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Ok(Self { store: SqliteReader::open(path)? })
    }

    /// What was used.
    ///
    /// # Errors
    /// When the ledger cannot be read, or there are too many groups.
    pub fn usage(&self, query: &UsageQuery) -> Result<UsageReport, ReadError> {
        self.store.usage(query)
    }

    /// How many requests there are.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn count(&self, filter: &Filter) -> Result<u64, ReadError> {
        self.store.count(filter)
    }

    /// Shows each request in the order of their arrival, as they were at one moment; no more than one is held in memory.
    ///
    /// # Errors
    /// When the ledger cannot be read, or `each` fails.
    pub fn requests<E: From<ReadError>>(
        &self,
        filter: &Filter,
        each: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        self.store.requests(filter, each)
    }
}
