//! Rows that the database did not take, in a file beside it: a line of JSON each, until it takes them again.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, BufWriter, Seek, Write},
    path::Path,
};

use super::{LedgerError, Record, rows::Rows};

/// Records that are taken back in one transaction.
const TAKEN_AT_ONCE: usize = 1_000;

#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    /// Lines in it.
    waiting: u64,
}

impl Spill {
    /// The file of this name; nobody else's, where it is `own`.
    pub(super) fn open(path: &Path, own: bool) -> Result<Self, LedgerError> {
        let failed = |source| match own {
            true => LedgerError::NamedSpill { path: path.to_owned(), source },
            false => LedgerError::Spill { path: path.to_owned(), source },
        };
        let file = OpenOptions::new().create(true).read(true).append(true).open(path).map_err(failed)?;
        if own {
            file.try_lock().map_err(|error| match error {
                TryLockError::WouldBlock => LedgerError::SpillTaken { path: path.to_owned() },
                TryLockError::Error(source) => failed(source),
            })?;
        }
        let waiting = BufReader::new(&file).lines().count();
        Ok(Self { file, waiting: u64::try_from(waiting).unwrap_or(u64::MAX) })
    }

    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Appends records.
    pub(super) fn add(&mut self, records: &[Record]) -> io::Result<()> {
        let before = self.file.metadata()?.len();
        if let Err(error) = append(&self.file, records) {
            // The beginning of a line would spoil the next.
            self.file.set_len(before)?;
            return Err(error);
        }
        self.waiting += u64::try_from(records.len()).unwrap_or(0);
        Ok(())
    }

    /// Gives the database what waits. It is all or nothing: what the database has already it does not write again.
    pub(super) fn take_back(&mut self, store: &mut Rows) -> io::Result<()> {
        if self.waiting == 0 {
            return Ok(());
        }
        self.file.rewind()?;
        let mut batch = Vec::new();
        let mut write = |batch: &mut Vec<Record>| {
            let written = store.write(batch).map_err(io::Error::other);
            batch.clear();
            written
        };
        for line in BufReader::new(&self.file).lines() {
            // A line that a killed process has begun and not ended tells nothing.
            match serde_json::from_str(&line?) {
                Ok(record) => batch.push(record),
                Err(error) => tracing::error!("ledger: a line of the spill file is no row: {error}"),
            }
            if batch.len() >= TAKEN_AT_ONCE {
                write(&mut batch)?;
            }
        }
        write(&mut batch)?;
        self.file.set_len(0)?;
        self.waiting = 0;
        Ok(())
    }
}

fn append(file: &File, records: &[Record]) -> io::Result<()> {
    let mut writer = BufWriter::new(file);
    for record in records {
        serde_json::to_writer(&mut writer, record)?;
        writer.write_all(b"\n")?;
    }
    writer.flush()
}
