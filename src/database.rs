//! The database that the ledger and the store of keys are in: a file, by SQLite, or a PostgreSQL server.
//!
//! Statements are written once for both, as far as both read them alike: values are `$1`, `$2`, …, first named in this order. Must not
//! know what is kept.

mod postgres;
mod sqlite;
mod value;

pub(crate) use self::{
    postgres::Postgres,
    sqlite::VERSION as SQLITE_VERSION,
    value::{Cells, Value},
};
use crate::{config::Database, upstream::tls::TlsError};

/// Why a database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// SQLite.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL, in its own words and those of what is beneath it.
    #[error("{0}")]
    Postgres(String),
    /// The URL is none.
    #[error("its URL is none such as postgres://user:password@host:5432/database: {0}")]
    Url(String),
    /// TLS towards the server.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The server is silent.
    #[error("the server did not answer in time")]
    Timeout,
    /// No threads or sockets.
    #[error("the system gives no sockets: {0}")]
    System(std::io::Error),
    /// A row is not as it was written.
    #[error("a row is not as this program writes it")]
    Shape,
}

/// Whoever takes statements: a connection, or a transaction on one.
pub(crate) trait Session {
    /// Does something; how many rows it was done to.
    fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, DatabaseError>;

    /// Shows each row that is found.
    fn query(
        &mut self,
        statement: &str,
        values: &[Value],
        each: &mut dyn FnMut(Cells) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError>;
}

/// The rows that are found, each read by `read`.
pub(crate) fn rows<T>(
    session: &mut dyn Session,
    statement: &str,
    values: &[Value],
    read: impl Fn(Cells) -> Result<T, DatabaseError>,
) -> Result<Vec<T>, DatabaseError> {
    let mut found = Vec::new();
    session.query(statement, values, &mut |cells| {
        found.push(read(cells)?);
        Ok(())
    })?;
    Ok(found)
}

/// An open database.
#[derive(Debug)]
pub(crate) enum Connection {
    Sqlite(rusqlite::Connection),
    Postgres(Box<Postgres>),
}

impl Connection {
    /// Opens a database, and brings it up to this version.
    pub(crate) fn open(database: &Database) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Failed { database: database.to_string(), source };
        let (opened, found, known) = match database {
            Database::Sqlite(path) => {
                let (connection, found) = sqlite::open(path).map_err(|error| failed(error.into()))?;
                (Self::Sqlite(connection), found, SQLITE_VERSION)
            }
            Database::Postgres { url, .. } => {
                let mut server = Postgres::connect(url.expose()).map_err(failed)?;
                let found = server.migrate().map_err(failed)?;
                (Self::Postgres(Box::new(server)), found, Postgres::VERSION)
            }
        };
        if found > known {
            return Err(OpenError::Newer { database: database.to_string(), found, known });
        }
        Ok(opened)
    }

    /// Does all of `work` or nothing: what is wrong by its own rules is an error of its own, and then nothing is done either.
    pub(crate) fn transaction<T, E: From<DatabaseError>>(
        &mut self,
        work: impl FnOnce(&mut dyn Session) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(connection) => sqlite::transaction(connection, work),
            Self::Postgres(server) => server.transaction(work),
        }
    }

    /// For one statement alone.
    pub(crate) fn session(&mut self) -> &mut dyn Session {
        match self {
            Self::Sqlite(connection) => connection,
            Self::Postgres(server) => &mut **server,
        }
    }
}

/// Why a database cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be opened, or not be read.
    #[error("the database {database} cannot be used: {source}")]
    Failed {
        /// Which one.
        database: String,
        /// Why.
        source: DatabaseError,
    },
    /// It was written by a later version.
    #[error(
        "the database {database} is of a newer version ({found}; this program knows {known}): use that program, or another database"
    )]
    Newer {
        /// Which one.
        database: String,
        /// Its version.
        found: u32,
        /// The latest that is known.
        known: u32,
    },
}
