//! A database that is only read.
//!
//! Of SQLite, neither the file is written to nor anything beside it. Where a write-ahead log lies beside the file, a gateway is writing,
//! or was killed while it was: then SQLite reads both together. Where none does, nobody writes; the file is then read as one that
//! cannot change, since SQLite would otherwise make a log and an index of it, which could be neither where the folder cannot be written to,
//! nor be opened by the gateway where they are somebody else's.

use std::{
    ffi::OsString,
    fs,
    io::ErrorKind,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, OpenFlags};

use super::reader::ReadError;
use crate::{
    database::{DatabaseError, Postgres, SQLITE_VERSION, Session},
    secret::Secret,
};

/// How long a reader waits for those who write.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// What is read from.
#[derive(Debug)]
pub(super) enum Source {
    File {
        connection: Connection,
        path: PathBuf,
        /// The file as it was when nobody wrote to it; none where somebody may.
        unchanged: Option<Stamp>,
    },
    Server(Box<Postgres>),
}

/// When it was changed, and its length.
pub(super) type Stamp = (Option<SystemTime>, u64);

impl Source {
    pub(super) fn file(path: &Path) -> Result<Self, ReadError> {
        let metadata = fs::metadata(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => ReadError::Missing { path: path.to_owned() },
            _ => ReadError::File { path: path.to_owned(), source },
        })?;
        let database = path.display().to_string();
        if !metadata.is_file() {
            return Err(ReadError::NotALedger { database });
        }
        let unchanged = (!has_log(path)).then(|| stamp(&metadata));
        let failed = |source: rusqlite::Error| ReadError::Database {
            database: database.clone(),
            source: source.into(),
        };
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let name = uri(path, unchanged.is_some())
            .map_err(|source| ReadError::File { path: path.to_owned(), source })?;
        let connection = Connection::open_with_flags(name, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_MAX).map_err(failed)?;
        Ok(Self::File { connection, path: path.to_owned(), unchanged })
    }

    pub(super) fn server(url: &Secret) -> Result<Self, DatabaseError> {
        Postgres::connect(url.expose()).map(Box::new).map(Self::Server)
    }

    pub(super) fn session(&mut self) -> &mut dyn Session {
        match self {
            Self::File { connection, .. } => connection,
            Self::Server(server) => &mut **server,
        }
    }

    /// Its version, where it is one of ours, and the one that this program knows.
    pub(super) fn versions(&mut self) -> Result<(Option<i64>, i64), DatabaseError> {
        match self {
            Self::File { connection, .. } => {
                let tables: i64 = connection.query_row(
                    "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('requests', 'calls', 'usage')",
                    [],
                    |row| row.get(0),
                )?;
                let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
                Ok((Some(found).filter(|&found| tables == 3 && found >= 1), SQLITE_VERSION.into()))
            }
            Self::Server(server) => Ok((server.version()?, Postgres::VERSION.into())),
        }
    }

    /// What was read of a file that was taken not to change holds only if it did not.
    pub(super) fn is_unchanged(&self) -> bool {
        let Self::File { path, unchanged: Some(before), .. } = self else { return true };
        let now = fs::metadata(path).map(|metadata| stamp(&metadata));
        now.is_ok_and(|now| now == *before) && !has_log(path)
    }
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    (metadata.modified().ok(), metadata.len())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Whether there is a log; one that is empty and has no index was left behind.
fn has_log(path: &Path) -> bool {
    let log = fs::metadata(beside(path, "-wal"));
    log.is_ok_and(|log| log.len() > 0 || beside(path, "-shm").exists())
}

/// The file's name for SQLite, and whether it cannot change.
fn uri(path: &Path, unchanged: bool) -> std::io::Result<String> {
    const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');
    let path = std::path::absolute(path)?;
    let path = percent_encode(path.as_os_str().as_bytes(), KEPT);
    Ok(format!("file://{path}?{}", if unchanged { "immutable=1" } else { "mode=ro" }))
}
