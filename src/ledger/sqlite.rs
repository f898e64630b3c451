//! The ledger in a file, by SQLite: one process writes, others may read meanwhile.
//!
//! With a write-ahead log whose commits reach the operating system, not the disk, at once: rows outlive a killed process, and a
//! power cut takes the last of them at most.

pub(super) mod reading;

use std::{path::Path, time::SystemTime};

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{
    LedgerError, Record, Spent,
    row::{Call, HoldRow, Row, UsedRow, milliseconds},
};
use crate::{budget::Holder, config::Usd, openai::usage::Usage};

/// What makes each version of its predecessor; the number of them is the version that this program knows.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE requests (
        id BLOB PRIMARY KEY,
        arrived_ms INTEGER NOT NULL,
        request_id TEXT NOT NULL,
        tenant TEXT NOT NULL,
        project TEXT,
        key TEXT,
        route TEXT,
        router TEXT,
        decision_us INTEGER,
        candidates TEXT NOT NULL,
        model TEXT,
        outcome TEXT NOT NULL,
        code TEXT,
        answer_us INTEGER,
        duration_us INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX requests_by_time ON requests (arrived_ms);
    CREATE TABLE calls (
        request BLOB NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
        position INTEGER NOT NULL,
        model TEXT NOT NULL,
        prompt_tokens INTEGER,
        cached_tokens INTEGER,
        audio_prompt_tokens INTEGER,
        completion_tokens INTEGER,
        reasoning_tokens INTEGER,
        audio_completion_tokens INTEGER,
        estimated INTEGER,
        cost_pico_usd INTEGER,
        PRIMARY KEY (request, position)
    ) WITHOUT ROWID;
    CREATE TABLE usage (
        day INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        project TEXT NOT NULL,
        key TEXT NOT NULL,
        model TEXT NOT NULL,
        calls INTEGER NOT NULL,
        estimated INTEGER NOT NULL,
        prompt_tokens INTEGER NOT NULL,
        cached_tokens INTEGER NOT NULL,
        completion_tokens INTEGER NOT NULL,
        reasoning_tokens INTEGER NOT NULL,
        cost_pico_usd INTEGER NOT NULL,
        PRIMARY KEY (day, tenant, project, key, model)
    ) WITHOUT ROWID;
    CREATE TABLE holds (
        request BLOB NOT NULL,
        position INTEGER NOT NULL,
        at_ms INTEGER NOT NULL,
        tenant TEXT NOT NULL,
        project TEXT,
        key TEXT,
        model TEXT NOT NULL,
        pico_usd INTEGER NOT NULL,
        PRIMARY KEY (request, position)
    ) WITHOUT ROWID;
",
    "
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        project TEXT,
        name TEXT NOT NULL,
        digest BLOB NOT NULL UNIQUE,
        prefix TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        expires_ms INTEGER,
        revoked_ms INTEGER,
        budgets TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE versions (what TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO versions VALUES ('keys', 0);
",
    "
    CREATE TABLE tenants (
        name TEXT PRIMARY KEY,
        definition TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        changed_ms INTEGER NOT NULL
    ) WITHOUT ROWID;
    INSERT INTO versions VALUES ('tenants', 0);
",
];

/// Rows that retention deletes in one transaction: others wait no longer than for this.
const DELETED_AT_ONCE: u32 = 2_000;

/// The outcome and the code of requests that a process has left behind.
const INTERRUPTED: (&str, &str) = ("gateway_error", "interrupted");

#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Opens the file, makes it where there is none, and brings it up to this version.
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        Ok(Self { connection: open(path)? })
    }

    /// Writes all or nothing. What is there already is not written again.
    pub(super) fn write(&mut self, records: &[Record]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for record in records {
            match record {
                Record::Request(row) => write_request(&transaction, row)?,
                Record::Hold(hold) => write_hold(&transaction, hold)?,
            }
        }
        transaction.commit()
    }

    /// What was held when the process before this one ended is spent: how many requests those were.
    pub(super) fn settle_abandoned(&mut self, now: SystemTime) -> rusqlite::Result<usize> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let abandoned = {
            let mut statement = transaction.prepare(
                "SELECT request, position, at_ms, tenant, project, key, model, pico_usd FROM holds ORDER BY request, position",
            )?;
            let read = statement.query_map([], |row| {
                Ok(HoldRow {
                    request: row.get(0)?,
                    position: row.get(1)?,
                    at_ms: row.get(2)?,
                    tenant: row.get(3)?,
                    project: row.get(4)?,
                    key: row.get(5)?,
                    model: row.get(6)?,
                    pico_usd: row.get(7)?,
                })
            })?;
            read.collect::<rusqlite::Result<Vec<HoldRow>>>()?
        };
        let rows: Vec<Row> = abandoned
            .chunk_by(|a, b| a.request == b.request)
            .filter_map(|holds| interrupted(holds, milliseconds(now)))
            .collect();
        for row in &rows {
            write_request(&transaction, row)?;
        }
        transaction.commit()?;
        Ok(rows.len())
    }

    /// What was spent on this day and since.
    pub(super) fn spent_since(&self, day: i64) -> rusqlite::Result<Vec<Spent>> {
        let mut statement = self
            .connection
            .prepare("SELECT tenant, project, key, day, cost_pico_usd FROM usage WHERE day >= ?1 AND cost_pico_usd > 0")?;
        let name = |text: String| (!text.is_empty()).then(|| text.into());
        let rows = statement.query_map([day], |row| {
            let tenant: String = row.get(0)?;
            let by = Holder { tenant: tenant.into(), project: name(row.get(1)?), key: name(row.get(2)?) };
            let pico: i64 = row.get(4)?;
            Ok(Spent { by, day: row.get(3)?, amount: Usd::from_pico(u128::try_from(pico).unwrap_or(0)) })
        })?;
        rows.collect()
    }

    /// Deletes some of the rows from before a time; whether there may be more.
    pub(super) fn forget_before(&mut self, arrived_ms: i64) -> rusqlite::Result<bool> {
        let deleted = self.connection.execute(
            "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE arrived_ms < ?1 LIMIT ?2)",
            params![arrived_ms, DELETED_AT_ONCE],
        )?;
        Ok(u32::try_from(deleted) == Ok(DELETED_AT_ONCE))
    }
}

/// The database in a file, which is made where there is none, at this version.
pub(crate) fn open(path: &Path) -> Result<Connection, LedgerError> {
    let failed = |source| LedgerError::Database { path: path.to_owned(), source };
    let mut connection = Connection::open(path).map_err(failed)?;
    prepare(&connection).map_err(failed)?;
    let found = migrate(&mut connection).map_err(failed)?;
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(LedgerError::Newer { path: path.to_owned(), found, known });
    }
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    connection.pragma_update(None, "foreign_keys", true)
}

/// The version that the file has then; later versions are left alone.
fn migrate(connection: &mut Connection) -> rusqlite::Result<u32> {
    let version =
        |connection: &Connection| connection.pragma_query_value(None, "user_version", |row| row.get(0));
    if version(connection)? >= u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX) {
        return version(connection);
    }
    // Looked at again by whoever gets to write.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let mut at = version(&transaction)?;
    for step in MIGRATIONS.iter().skip(usize::try_from(at).unwrap_or(usize::MAX)) {
        transaction.execute_batch(step)?;
        at += 1;
    }
    transaction.pragma_update(None, "user_version", at)?;
    transaction.commit()?;
    Ok(at)
}

fn write_request(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )?;
    let candidates = serde_json::to_string(&row.candidates).unwrap_or_default();
    let is_new = insert.execute(params![
        row.id,
        row.arrived_ms,
        row.request_id,
        row.tenant,
        row.project,
        row.key,
        row.route,
        row.router,
        row.decision_us,
        candidates,
        row.model,
        row.outcome,
        row.code,
        row.answer_us,
        row.duration_us,
    ])? == 1;
    transaction.prepare_cached("DELETE FROM holds WHERE request = ?1")?.execute([row.id])?;
    if !is_new {
        return Ok(());
    }
    for (position, call) in (0_i64..).zip(&row.calls) {
        write_call(transaction, row, (position, call))?;
    }
    Ok(())
}

fn write_call(
    transaction: &Transaction<'_>,
    row: &Row,
    (position, call): (i64, &Call),
) -> rusqlite::Result<()> {
    let used = call.used;
    let cost = used.and_then(|used| used.cost_pico_usd);
    let mut insert = transaction
        .prepare_cached("INSERT INTO calls VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?;
    insert.execute(params![
        row.id,
        position,
        call.model,
        used.map(|used| used.prompt_tokens),
        used.map(|used| used.cached_tokens),
        used.map(|used| used.audio_prompt_tokens),
        used.map(|used| used.completion_tokens),
        used.map(|used| used.reasoning_tokens),
        used.map(|used| used.audio_completion_tokens),
        used.map(|used| used.estimated),
        cost,
    ])?;
    let Some(used) = used else { return Ok(()) };
    let mut add = transaction.prepare_cached(
        "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?7, ?8, ?9, ?10, ?11)
         -- What is too much for a whole number would become one with a point: it is the largest.
         ON CONFLICT DO UPDATE SET calls = calls + 1, estimated = estimated + excluded.estimated,
            prompt_tokens = CAST(prompt_tokens + excluded.prompt_tokens AS INTEGER),
            cached_tokens = CAST(cached_tokens + excluded.cached_tokens AS INTEGER),
            completion_tokens = CAST(completion_tokens + excluded.completion_tokens AS INTEGER),
            reasoning_tokens = CAST(reasoning_tokens + excluded.reasoning_tokens AS INTEGER),
            cost_pico_usd = CAST(cost_pico_usd + excluded.cost_pico_usd AS INTEGER)",
    )?;
    add.execute(params![
        row.arrived_ms.div_euclid(86_400_000),
        row.tenant,
        row.project.as_deref().unwrap_or_default(),
        row.key.as_deref().unwrap_or_default(),
        call.model,
        used.estimated,
        used.prompt_tokens,
        used.cached_tokens,
        used.completion_tokens,
        used.reasoning_tokens,
        cost.unwrap_or(0),
    ])?;
    Ok(())
}

fn write_hold(transaction: &Transaction<'_>, hold: &HoldRow) -> rusqlite::Result<()> {
    // Not for a request that has ended: its row may have been written before.
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO holds SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
         WHERE NOT EXISTS (SELECT 1 FROM requests WHERE id = ?1)",
    )?;
    insert.execute(params![
        hold.request,
        hold.position,
        hold.at_ms,
        hold.tenant,
        hold.project,
        hold.key,
        hold.model,
        hold.pico_usd,
    ])?;
    Ok(())
}

/// The row of a request of which only what was held is known.
fn interrupted(holds: &[HoldRow], now_ms: i64) -> Option<Row> {
    let first = holds.first()?;
    let (outcome, code) = INTERRUPTED;
    let spent = |hold: &HoldRow| UsedRow {
        estimated: true,
        cost_pico_usd: Some(hold.pico_usd),
        ..UsedRow::of(Usage::default())
    };
    Some(Row {
        id: first.request,
        arrived_ms: first.at_ms,
        request_id: String::new(),
        tenant: first.tenant.clone(),
        project: first.project.clone(),
        key: first.key.clone(),
        route: None,
        router: None,
        decision_us: None,
        candidates: Vec::new(),
        model: holds.last().map(|hold| hold.model.clone()),
        outcome: outcome.to_owned(),
        code: Some(code.to_owned()),
        answer_us: None,
        duration_us: now_ms.saturating_sub(first.at_ms).max(0).saturating_mul(1000),
        calls: holds.iter().map(|hold| Call { model: hold.model.clone(), used: Some(spent(hold)) }).collect(),
    })
}
