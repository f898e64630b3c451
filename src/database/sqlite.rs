//! SQLite: one process writes, others may read meanwhile.
//!
//! With a write-ahead log whose commits reach the operating system, not the disk, at once: rows outlive a killed process, and a
//! power cut takes the last of them at most.

use std::path::Path;

use rusqlite::{Connection, ToSql, TransactionBehavior, types::ValueRef};

use super::{Cells, DatabaseError, Session, Value};

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
    "
    ALTER TABLE requests ADD COLUMN artifact TEXT;
    ALTER TABLE requests ADD COLUMN cache TEXT;
    ALTER TABLE requests ADD COLUMN tags TEXT;
    ALTER TABLE requests ADD COLUMN prompt TEXT;
",
];

/// The version that this program writes.
pub(crate) const VERSION: u32 = MIGRATIONS.len() as u32;

/// The database in a file, which is made where there is none, and the version that it has then; later versions are left alone.
pub(super) fn open(path: &Path) -> rusqlite::Result<(Connection, u32)> {
    let mut connection = Connection::open(path)?;
    prepare(&connection)?;
    let found = migrate(&mut connection)?;
    Ok((connection, found))
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
    if version(connection)? >= VERSION {
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

/// All of `work` or nothing; nobody else writes meanwhile.
pub(super) fn transaction<T, E: From<DatabaseError>>(
    connection: &mut Connection,
    work: impl FnOnce(&mut dyn Session) -> Result<T, E>,
) -> Result<T, E> {
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(DatabaseError::from)?;
    let mut session: &Connection = &transaction;
    let done = work(&mut session)?;
    transaction.commit().map_err(DatabaseError::from)?;
    Ok(done)
}

impl Session for &Connection {
    fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, DatabaseError> {
        let changed = self.prepare_cached(statement)?.execute(&*borrowed(values))?;
        Ok(u64::try_from(changed).unwrap_or(u64::MAX))
    }

    fn query(
        &mut self,
        statement: &str,
        values: &[Value],
        each: &mut dyn FnMut(Cells) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        let mut statement = self.prepare_cached(statement)?;
        let columns = statement.column_count();
        let mut rows = statement.query(&*borrowed(values))?;
        while let Some(row) = rows.next()? {
            let cells = (0..columns).map(|place| value(row.get_ref(place)?)).collect::<Result<_, _>>()?;
            each(Cells::of(cells))?;
        }
        Ok(())
    }
}

impl Session for Connection {
    fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, DatabaseError> {
        (&mut &*self).execute(statement, values)
    }

    fn query(
        &mut self,
        statement: &str,
        values: &[Value],
        each: &mut dyn FnMut(Cells) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        (&mut &*self).query(statement, values, each)
    }
}

fn borrowed(values: &[Value]) -> Vec<&dyn ToSql> {
    values.iter().map(|value| -> &dyn ToSql { value }).collect()
}

fn value(found: ValueRef<'_>) -> Result<Value, DatabaseError> {
    Ok(match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(value) => Value::Integer(value),
        ValueRef::Text(text) => Value::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Value::Bytes(bytes.to_owned()),
        ValueRef::Real(_) => return Err(DatabaseError::Shape),
    })
}
