//! Reading a ledger that a gateway may be writing to meanwhile: nothing in it or beside it is changed.
//!
//! What keeps the ledger is known here and to nobody who reads.

use std::{io, path::PathBuf};

use rusqlite::ErrorCode;

use super::{
    reading,
    report::{Filter, Totals, UsageQuery, UsageReport},
    row::Row,
    source::Source,
};
use crate::{config::Database, database::DatabaseError};

/// Why a ledger cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// No such file.
    #[error("there is no ledger at {}: a gateway makes it when it starts", .path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A database, and none of ours.
    #[error(
        "{database} is no ledger: expected the database that a gateway writes, as `database` in its configuration names it"
    )]
    NotALedger {
        /// The database.
        database: String,
    },
    /// It was written by a later version.
    #[error(
        "the ledger {database} is of a newer version ({found}; this program knows {known}): read it with that program"
    )]
    Newer {
        /// The database.
        database: String,
        /// Its version.
        found: i64,
        /// The latest that is known.
        known: i64,
    },
    /// It was written by an earlier version.
    #[error(
        "the ledger {database} is of an older version ({found}; this program reads {known}): start this version's gateway on it once"
    )]
    Older {
        /// The database.
        database: String,
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
    #[error("the ledger {database} cannot be read: {source}")]
    Database {
        /// The database.
        database: String,
        /// Why.
        source: DatabaseError,
    },
    /// What was read may not fit together.
    #[error("a gateway began to write the ledger {database} while it was read: read it again")]
    Changed {
        /// The database.
        database: String,
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
    connection: Source,
    /// What people call it.
    database: String,
}

impl Reader {
    /// Opens the ledger in a database.
    ///
    /// # Errors
    /// When there is none that can be read.
    pub fn open(database: &Database) -> Result<Self, ReadError> {
        let mut reader = Self {
            connection: match database {
                Database::Sqlite(path) => Source::file(path)?,
                Database::Postgres { url, .. } => Source::server(url)
                    .map_err(|source| ReadError::Database { database: database.to_string(), source })?,
            },
            database: database.to_string(),
        };
        reader.check_version()?;
        Ok(reader)
    }

    fn check_version(&mut self) -> Result<(), ReadError> {
        let versions = self.connection.versions();
        let (found, known) = self.read(versions)?;
        let database = self.database.clone();
        match found {
            None => Err(ReadError::NotALedger { database }),
            Some(found) if found > known => Err(ReadError::Newer { database, found, known }),
            Some(found) if found < known => Err(ReadError::Older { database, found, known }),
            Some(_) => Ok(()),
        }
    }

    /// What was used.
    ///
    /// # Errors
    /// When the ledger cannot be read, or there are too many groups.
    pub fn usage(&mut self, query: &UsageQuery) -> Result<UsageReport, ReadError> {
        let rows = reading::groups(self.connection.session(), query);
        let mut rows = self.read(rows)?;
        self.check_unchanged()?;
        if rows.len() > query.groups_max {
            return Err(ReadError::TooManyGroups { groups_max: query.groups_max });
        }
        // Servers have orders of their own.
        rows.sort_by(|a, b| a.names.cmp(&b.names));
        let total = rows.iter().fold(Totals::default(), |sum, row| sum.plus(row.used));
        Ok(UsageReport { by: query.by.clone(), filter: query.filter.clone(), rows, total })
    }

    /// How many requests there are.
    ///
    /// # Errors
    /// When the ledger cannot be read.
    pub fn count(&mut self, filter: &Filter) -> Result<u64, ReadError> {
        let counted = reading::count(self.connection.session(), filter);
        self.read(counted)
    }

    /// Shows each request in the order of their arrival, as they were at one moment; no more than one is held in memory.
    ///
    /// # Errors
    /// When the ledger cannot be read, or `each` fails.
    pub fn requests<E: From<ReadError>>(
        &mut self,
        filter: &Filter,
        mut each: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut refused = None;
        let shown = reading::requests(self.connection.session(), filter, &mut |row| {
            each(row).map_err(|why| {
                refused = Some(why);
                DatabaseError::Shape
            })
        });
        if let Some(why) = refused {
            return Err(why);
        }
        self.read(shown)?;
        Ok(self.check_unchanged()?)
    }

    fn read<T>(&self, result: Result<T, DatabaseError>) -> Result<T, ReadError> {
        result.map_err(|source| match source {
            DatabaseError::Sqlite(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
                ReadError::NotALedger { database: self.database.clone() }
            }
            source => ReadError::Database { database: self.database.clone(), source },
        })
    }

    fn check_unchanged(&self) -> Result<(), ReadError> {
        if self.connection.is_unchanged() {
            return Ok(());
        }
        Err(ReadError::Changed { database: self.database.clone() })
    }
}
