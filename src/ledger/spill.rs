//! Rows that the database has not taken, in a file beside it: a line of JSON each, until it takes them. It takes them from the
//! beginning while others come to the end.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, BufRead, BufReader, BufWriter, Seek, SeekFrom, Write},
    path::Path,
};

use super::{LedgerError, Record, rows::Rows};

/// Records that the database takes back in one transaction: not so many that it takes them too slowly ever to have them.
const TAKEN_AT_ONCE: usize = 1_000;

#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    /// Bytes at its beginning that the database has.
    given: u64,
    /// Lines after them.
    waiting: u64,
}

/// Lines from the first that waits on.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Where it ends, in bytes from the beginning of the file.
    end: u64,
    lines: u64,
}

impl Chunk {
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }
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
        let waiting = BufReader::new(&file).split(b'\n').count();
        Ok(Self { file, given: 0, waiting: u64::try_from(waiting).unwrap_or(u64::MAX) })
    }

    /// Lines that the database lacks.
    pub(super) fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Appends records: all that waits now.
    pub(super) fn add(&mut self, records: &[Record]) -> io::Result<Chunk> {
        let before = self.file.metadata()?.len();
        if let Err(error) = append(&self.file, records) {
            // The beginning of a line would spoil the next.
            self.file.set_len(before)?;
            return Err(error);
        }
        self.waiting += u64::try_from(records.len()).unwrap_or(0);
        Ok(Chunk { end: self.file.metadata()?.len(), lines: self.waiting })
    }

    /// The first of those that wait.
    pub(super) fn first(&mut self) -> io::Result<(Vec<Record>, Chunk)> {
        self.file.seek(SeekFrom::Start(self.given))?;
        let mut reader = BufReader::new(&self.file);
        let (mut records, mut line) = (Vec::new(), Vec::new());
        let mut chunk = Chunk { end: self.given, lines: 0 };
        while records.len() < TAKEN_AT_ONCE {
            line.clear();
            let length = reader.read_until(b'\n', &mut line)?;
            if length == 0 {
                // All there is, whoever has shortened it.
                chunk.lines = self.waiting;
                break;
            }
            chunk.end += u64::try_from(length).unwrap_or(0);
            chunk.lines += 1;
            // A line that a killed process has begun and not ended tells nothing.
            match serde_json::from_slice(&line) {
                Ok(record) => records.push(record),
                Err(error) => tracing::error!("ledger: a line of the spill file is no row: {error}"),
            }
        }
        Ok((records, chunk))
    }

    /// The database has these.
    pub(super) fn has_given(&mut self, chunk: Chunk) {
        self.given = chunk.end;
        self.waiting = self.waiting.saturating_sub(chunk.lines);
        if self.waiting > 0 {
            return;
        }
        match self.file.set_len(0) {
            Ok(()) => self.given = 0,
            // It has them a second time after the next start: no harm.
            Err(error) => tracing::warn!("ledger: the file beside the database cannot be emptied: {error}"),
        }
    }

    /// Gives the database all that waits: what it has already it does not write again.
    pub(super) fn take_back(&mut self, store: &mut Rows) -> io::Result<()> {
        while self.waiting > 0 {
            let (records, chunk) = self.first()?;
            store.write(&records).map_err(io::Error::other)?;
            self.has_given(chunk);
        }
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
