//! Reads the file without writing to it, or to anything beside it.
//!
//! Where a write-ahead log lies beside the file, a gateway is writing, or was killed while it was: then SQLite reads both together.
//! Where none does, nobody writes; the file is then read as one that cannot change, since SQLite would otherwise make a log and an
//! index of it, which could be neither where the folder cannot be written to, nor be opened by the gateway where they are somebody else's.

use std::{
    ffi::OsString,
    fs,
    io::ErrorKind,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::{Connection, ErrorCode, OpenFlags, Statement, params, types::FromSql};

use super::MIGRATIONS;
use crate::{
    config::Usd,
    ledger::{
        reader::ReadError,
        report::{Dimension, Filter, Totals, UsageQuery, UsageReport, UsageRow, day_text},
        row::{Call, Row, UsedRow},
    },
};

/// How long a reader waits for those who write.
const BUSY_MAX: Duration = Duration::from_secs(5);

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

#[derive(Debug)]
pub(in crate::ledger) struct SqliteReader {
    connection: Connection,
    path: PathBuf,
    /// The file as it was when nobody wrote to it; none where somebody may.
    unchanged: Option<Stamp>,
}

/// When it was changed, and its length.
type Stamp = (Option<SystemTime>, u64);

impl SqliteReader {
    pub(in crate::ledger) fn open(path: &Path) -> Result<Self, ReadError> {
        let metadata = fs::metadata(path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => ReadError::Missing { path: path.to_owned() },
            _ => ReadError::File { path: path.to_owned(), source },
        })?;
        if !metadata.is_file() {
            return Err(ReadError::NotALedger { path: path.to_owned() });
        }
        let unchanged = (!has_log(path)).then(|| stamp(&metadata));
        let failed = |source| failed(path, source);
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let name = uri(path, unchanged.is_some())
            .map_err(|source| ReadError::File { path: path.to_owned(), source })?;
        let connection = Connection::open_with_flags(name, flags).map_err(failed)?;
        connection.busy_timeout(BUSY_MAX).map_err(failed)?;
        let reader = Self { connection, path: path.to_owned(), unchanged };
        reader.check_version()?;
        Ok(reader)
    }

    fn check_version(&self) -> Result<(), ReadError> {
        let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
        let path = self.path.clone();
        let number = |query: &str| self.connection.query_row(query, [], |row| row.get::<_, i64>(0));
        let tables = number(
            "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('requests', 'calls', 'usage')",
        );
        let found = number("PRAGMA user_version");
        match (self.read(tables)?, self.read(found)?) {
            (3, found) if found > known => Err(ReadError::Newer { path, found, known }),
            (3, found) if (1..known).contains(&found) => Err(ReadError::Older { path, found, known }),
            (3, found) if found == known => Ok(()),
            _ => Err(ReadError::NotALedger { path }),
        }
    }

    pub(in crate::ledger) fn usage(&self, query: &UsageQuery) -> Result<UsageReport, ReadError> {
        let rows = self.read(self.groups(query))?;
        self.check_unchanged()?;
        if rows.len() > query.groups_max {
            return Err(ReadError::TooManyGroups { groups_max: query.groups_max });
        }
        let total = rows.iter().fold(Totals::default(), |sum, row| sum.plus(row.used));
        Ok(UsageReport { by: query.by.clone(), filter: query.filter.clone(), rows, total })
    }

    fn groups(&self, query: &UsageQuery) -> rusqlite::Result<Vec<UsageRow>> {
        let by: Vec<&str> = query.by.iter().map(|dimension| dimension.name()).collect();
        let groups = if by.is_empty() { "NULL".to_owned() } else { by.join(", ") };
        // Money in two parts, since a sum of whole numbers that is too large is an error; one that a row could not hold is the most
        // that it can.
        let text = format!(
            "SELECT sum(calls), sum(estimated), sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens),
                sum(reasoning_tokens), sum(CAST(cost_pico_usd AS INTEGER) / 1000000), sum(CAST(cost_pico_usd AS INTEGER) % 1000000), {groups}
             FROM usage WHERE day >= ?1 AND day < ?2 AND (?3 IS NULL OR tenant = ?3)
             GROUP BY {groups} ORDER BY {groups} LIMIT ?4"
        );
        let mut statement = self.connection.prepare(&text)?;
        let limit = i64::try_from(query.groups_max.saturating_add(1)).unwrap_or(i64::MAX);
        let (from, to) = days(&query.filter);
        let mut rows = statement.query(params![from, to, query.filter.tenant(), limit])?;
        let mut groups = Vec::new();
        while let Some(row) = rows.next()? {
            let mut names = Vec::new();
            for (place, dimension) in (8..).zip(&query.by) {
                names.push(match dimension {
                    Dimension::Day => Some(day_text(row.get(place)?)),
                    _ => Some(row.get::<_, String>(place)?).filter(|name| !name.is_empty()),
                });
            }
            let count =
                |place: usize| row.get::<_, i64>(place).map(|count| u64::try_from(count).unwrap_or(0));
            let cost = u128::from(count(6)?) * 1_000_000 + u128::from(count(7)?);
            let used = Totals {
                calls: count(0)?,
                estimated_calls: count(1)?,
                prompt_tokens: count(2)?,
                cached_tokens: count(3)?,
                completion_tokens: count(4)?,
                reasoning_tokens: count(5)?,
                cost: Usd::from_pico(cost),
            };
            groups.push(UsageRow { names, used });
        }
        Ok(groups)
    }

    pub(in crate::ledger) fn count(&self, filter: &Filter) -> Result<u64, ReadError> {
        let query = "SELECT count(*) FROM requests WHERE arrived_ms >= ?1 AND arrived_ms < ?2 AND (?3 IS NULL OR tenant = ?3)";
        let (from, to) = moments(filter);
        let counted =
            self.connection.query_row(query, params![from, to, filter.tenant()], |row| row.get::<_, i64>(0));
        Ok(u64::try_from(self.read(counted)?).unwrap_or(0))
    }

    pub(in crate::ledger) fn requests<E: From<ReadError>>(
        &self,
        filter: &Filter,
        mut each: impl FnMut(Row) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut requests = self.read(self.connection.prepare(
            "SELECT id, arrived_ms, request_id, tenant, project, key, route, router, decision_us, candidates, model, outcome, code,
                answer_us, duration_us
             FROM requests WHERE arrived_ms >= ?1 AND arrived_ms < ?2 AND (?3 IS NULL OR tenant = ?3) ORDER BY arrived_ms, id",
        ))?;
        let mut calls = self.read(self.connection.prepare(
            "SELECT model, prompt_tokens, cached_tokens, audio_prompt_tokens, completion_tokens, reasoning_tokens,
                audio_completion_tokens, estimated, cost_pico_usd
             FROM calls WHERE request = ?1 ORDER BY position",
        ))?;
        let (from, to) = moments(filter);
        // While this is read, so are the calls of the same moment.
        let mut rows = self.read(requests.query(params![from, to, filter.tenant()]))?;
        while let Some(row) = self.read(rows.next())? {
            let request = request(row).and_then(|request| {
                let calls = calls_of(&mut calls, &request)?;
                Ok(Row { calls, ..request })
            });
            each(self.read(request)?)?;
        }
        Ok(self.check_unchanged()?)
    }

    fn read<T>(&self, result: rusqlite::Result<T>) -> Result<T, ReadError> {
        result.map_err(|source| failed(&self.path, source))
    }

    /// What was read of a file that was taken not to change holds only if it did not.
    fn check_unchanged(&self) -> Result<(), ReadError> {
        let Some(before) = self.unchanged else { return Ok(()) };
        let now = fs::metadata(&self.path).map(|metadata| stamp(&metadata));
        if now.is_ok_and(|now| now == before) && !has_log(&self.path) {
            return Ok(());
        }
        Err(ReadError::Changed { path: self.path.clone() })
    }
}

fn failed(path: &Path, source: rusqlite::Error) -> ReadError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => ReadError::NotALedger { path: path.to_owned() },
        _ => ReadError::Database { path: path.to_owned(), source },
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

fn days(filter: &Filter) -> (i64, i64) {
    (filter.from().unwrap_or(i64::MIN), filter.to().unwrap_or(i64::MAX))
}

fn moments(filter: &Filter) -> (i64, i64) {
    let (from, to) = days(filter);
    (from.saturating_mul(DAY_MS), to.saturating_mul(DAY_MS))
}

fn request(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    let candidates: String = row.get(9)?;
    Ok(Row {
        id: row.get(0)?,
        arrived_ms: row.get(1)?,
        request_id: row.get(2)?,
        tenant: row.get(3)?,
        project: row.get(4)?,
        key: row.get(5)?,
        route: row.get(6)?,
        router: row.get(7)?,
        decision_us: row.get(8)?,
        candidates: serde_json::from_str(&candidates).unwrap_or_default(),
        model: row.get(10)?,
        outcome: row.get(11)?,
        code: row.get(12)?,
        answer_us: row.get(13)?,
        duration_us: row.get(14)?,
        calls: Vec::new(),
    })
}

fn calls_of(statement: &mut Statement<'_>, request: &Row) -> rusqlite::Result<Vec<Call>> {
    let calls = statement.query_map([request.id], |row| {
        // Tokens are all there or none is.
        let used = match row.get(1)? {
            None => None,
            Some(prompt_tokens) => Some(UsedRow {
                prompt_tokens,
                cached_tokens: or_zero(row, 2)?,
                audio_prompt_tokens: or_zero(row, 3)?,
                completion_tokens: or_zero(row, 4)?,
                reasoning_tokens: or_zero(row, 5)?,
                audio_completion_tokens: or_zero(row, 6)?,
                estimated: or_zero(row, 7)?,
                cost_pico_usd: row.get(8)?,
            }),
        };
        Ok(Call { model: row.get(0)?, used })
    })?;
    calls.collect()
}

fn or_zero<T: FromSql + Default>(row: &rusqlite::Row<'_>, place: usize) -> rusqlite::Result<T> {
    row.get::<_, Option<T>>(place).map(Option::unwrap_or_default)
}
