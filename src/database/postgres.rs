//! PostgreSQL: any number of processes read and write.
//!
//! A connection that is lost is made anew by whoever needs it next; no call takes longer than [`TIMEOUT`].

use std::{fmt, future::Future, time::Duration};

use futures_util::{StreamExt, pin_mut};
use tokio::{runtime::Runtime, time::timeout};
use tokio_postgres::{Client, IsolationLevel, RowStream, types::Type};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::{Cells, DatabaseError, Session, Value, rows};
use crate::{
    config::{PostgresUrl, UpstreamTls, explained},
    upstream::tls,
};

/// The longest that a server may be silent.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// One for all programs of ours: whoever has it brings the database to a version.
const MIGRATION_LOCK: i64 = 0x706f_696e_7473_6d61;

/// What makes each version of its predecessor; the number of them is the version that this program knows.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE requests (
        id UUID PRIMARY KEY,
        arrived_ms BIGINT NOT NULL,
        request_id TEXT NOT NULL,
        tenant TEXT NOT NULL,
        project TEXT,
        key TEXT,
        route TEXT,
        router TEXT,
        decision_us BIGINT,
        candidates TEXT NOT NULL,
        model TEXT,
        outcome TEXT NOT NULL,
        code TEXT,
        answer_us BIGINT,
        duration_us BIGINT NOT NULL,
        artifact TEXT,
        cache TEXT,
        tags TEXT,
        prompt TEXT
    );
    CREATE INDEX requests_by_time ON requests (arrived_ms);
    CREATE TABLE calls (
        request UUID NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
        position BIGINT NOT NULL,
        model TEXT NOT NULL,
        prompt_tokens BIGINT,
        cached_tokens BIGINT,
        audio_prompt_tokens BIGINT,
        completion_tokens BIGINT,
        reasoning_tokens BIGINT,
        audio_completion_tokens BIGINT,
        estimated BOOLEAN,
        cost_pico_usd BIGINT,
        PRIMARY KEY (request, position)
    );
    CREATE TABLE usage (
        day BIGINT NOT NULL,
        tenant TEXT NOT NULL,
        project TEXT NOT NULL,
        key TEXT NOT NULL,
        model TEXT NOT NULL,
        calls BIGINT NOT NULL,
        estimated BIGINT NOT NULL,
        prompt_tokens BIGINT NOT NULL,
        cached_tokens BIGINT NOT NULL,
        completion_tokens BIGINT NOT NULL,
        reasoning_tokens BIGINT NOT NULL,
        cost_pico_usd BIGINT NOT NULL,
        PRIMARY KEY (day, tenant, project, key, model)
    );
    -- Processes that write here, and when each was last heard of.
    CREATE TABLE instances (id UUID PRIMARY KEY, seen TIMESTAMPTZ NOT NULL);
    CREATE TABLE holds (
        request UUID NOT NULL,
        position BIGINT NOT NULL,
        instance UUID NOT NULL,
        at_ms BIGINT NOT NULL,
        tenant TEXT NOT NULL,
        project TEXT,
        key TEXT,
        model TEXT NOT NULL,
        pico_usd BIGINT NOT NULL,
        PRIMARY KEY (request, position)
    );
    CREATE TABLE keys (
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        project TEXT,
        name TEXT NOT NULL,
        digest BYTEA NOT NULL UNIQUE,
        prefix TEXT NOT NULL,
        created_ms BIGINT NOT NULL,
        expires_ms BIGINT,
        revoked_ms BIGINT,
        budgets TEXT NOT NULL
    );
    CREATE TABLE versions (what TEXT PRIMARY KEY, number BIGINT NOT NULL);
    CREATE TABLE tenants (
        name TEXT PRIMARY KEY,
        definition TEXT NOT NULL,
        created_ms BIGINT NOT NULL,
        changed_ms BIGINT NOT NULL
    );
    INSERT INTO versions VALUES ('keys', 0), ('tenants', 0);
",
    "
    -- The process that wrote them: what is spent by those that are there is known elsewhere, and sooner.
    ALTER TABLE requests ADD COLUMN instance UUID;
    ALTER TABLE usage ADD COLUMN instance UUID NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000';
    ALTER TABLE usage DROP CONSTRAINT usage_pkey;
    ALTER TABLE usage ADD PRIMARY KEY (day, tenant, project, key, model, instance);
",
    "
    -- Processes that spend all that they were granted, and not only what others know of.
    CREATE TABLE apart (instance UUID NOT NULL, number BIGINT NOT NULL, PRIMARY KEY (instance, number));
",
];

/// Waits for answers; a connection is looked after while somebody waits.
struct Waiter {
    runtime: Option<Runtime>,
    at_most: Duration,
}

impl Waiter {
    fn new() -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { runtime: Some(runtime), at_most: TIMEOUT })
    }

    /// Not for ever.
    fn wait<T>(&self, answer: impl Future<Output = T>) -> Result<T, DatabaseError> {
        let runtime = self.runtime.as_ref().ok_or(DatabaseError::Timeout)?;
        runtime.block_on(async { timeout(self.at_most, answer).await }).map_err(|_| DatabaseError::Timeout)
    }

    fn answer<T>(
        &self,
        answer: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, DatabaseError> {
        self.wait(answer)?.map_err(|error| failed(&error))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        // On whatever thread, also one that must not wait.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A server, connected to or not.
pub(crate) struct Postgres {
    waiter: Waiter,
    url: PostgresUrl,
    tls: MakeRustlsConnect,
    client: Option<Client>,
    tasks: TaskTracker,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Postgres({})", self.url)
    }
}

impl Postgres {
    /// The version that this program writes.
    pub(crate) const VERSION: u32 = MIGRATIONS.len() as u32;

    /// Connects to the server that a URL names. Not for threads that others wait for: every call waits for the server.
    pub(crate) fn connect(url: &str) -> Result<Self, DatabaseError> {
        let url = PostgresUrl::parse(url).map_err(DatabaseError::Url)?;
        let trust = UpstreamTls { ca_file: url.root_certificate.clone(), client: None };
        let tls = MakeRustlsConnect::new(tls::client_config(&trust)?);
        let waiter = Waiter::new().map_err(DatabaseError::System)?;
        let mut server = Self { waiter, url, tls, client: None, tasks: TaskTracker::new() };
        server.ready()?;
        Ok(server)
    }

    /// From now on no answer is waited for any longer than this.
    pub(crate) fn wait_at_most(&mut self, at_most: Duration) {
        self.waiter.at_most = at_most;
    }

    /// Connects, where there is no connection.
    fn ready(&mut self) -> Result<(), DatabaseError> {
        if self.client.as_ref().is_some_and(|client| !client.is_closed()) {
            return Ok(());
        }
        let (server, tls) = (&self.url.server, self.tls.clone());
        let (client, connection) = self.waiter.answer(server.connect(tls))?;
        if let Some(runtime) = &self.waiter.runtime {
            self.tasks.spawn_on(async move { drop(connection.await) }, runtime.handle());
        }
        // What a process that stands still has begun holds nobody up.
        self.waiter.answer(client.batch_execute("SET idle_in_transaction_session_timeout = '15s'"))?;
        self.client = Some(client);
        Ok(())
    }

    /// All of `work` or nothing.
    pub(crate) fn transaction<T, E: From<DatabaseError>>(
        &mut self,
        work: impl FnOnce(&mut dyn Session) -> Result<T, E>,
    ) -> Result<T, E> {
        self.ready()?;
        let Self { waiter, client, .. } = self;
        let Some(connected) = client.as_mut() else { return Err(DatabaseError::Timeout.into()) };
        let done = in_transaction(waiter, connected, work);
        // What may still be on its way there is not waited for.
        if done.is_err() {
            *client = None;
        }
        done
    }

    /// The version of the database, where it is one of ours.
    pub(crate) fn version(&mut self) -> Result<Option<i64>, DatabaseError> {
        self.transaction(version)
    }

    /// Brings the database up to this version; the version that it has then. Later ones are left alone.
    pub(crate) fn migrate(&mut self) -> Result<u32, DatabaseError> {
        let at = self.transaction(|session: &mut dyn Session| {
            session.query(
                "SELECT pg_advisory_xact_lock($1)::text",
                &[Value::Integer(MIGRATION_LOCK)],
                &mut |_| Ok(()),
            )?;
            let found = version(session)?;
            if found.is_none() {
                session.execute("CREATE TABLE pointsman_version (number BIGINT NOT NULL)", &[])?;
            }
            let at = found.unwrap_or(0);
            let known = i64::from(Self::VERSION);
            if at >= known {
                return Ok(at);
            }
            for step in MIGRATIONS.iter().skip(usize::try_from(at).unwrap_or(usize::MAX)) {
                for statement in step.split(';').filter(|statement| !statement.trim().is_empty()) {
                    session.execute(statement, &[])?;
                }
            }
            session.execute("DELETE FROM pointsman_version", &[])?;
            session.execute("INSERT INTO pointsman_version VALUES ($1)", &[Value::Integer(known)])?;
            Ok::<i64, DatabaseError>(known)
        })?;
        Ok(u32::try_from(at).unwrap_or(u32::MAX))
    }
}

fn in_transaction<T, E: From<DatabaseError>>(
    waiter: &Waiter,
    client: &mut Client,
    work: impl FnOnce(&mut dyn Session) -> Result<T, E>,
) -> Result<T, E> {
    let begin = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start();
    let transaction = waiter.answer(begin)?;
    let done = work(&mut Open { waiter, transaction: &transaction })?;
    waiter.answer(transaction.commit())?;
    Ok(done)
}

fn version(session: &mut dyn Session) -> Result<Option<i64>, DatabaseError> {
    let one = |mut cells: Cells| cells.integer();
    let is_ours = rows(session, "SELECT to_regclass('pointsman_version') IS NOT NULL", &[], one)? == [1];
    let found =
        if is_ours { rows(session, "SELECT number FROM pointsman_version", &[], one)? } else { Vec::new() };
    Ok(found.first().copied())
}

/// A transaction that is on.
struct Open<'a> {
    waiter: &'a Waiter,
    transaction: &'a tokio_postgres::Transaction<'a>,
}

impl Session for Open<'_> {
    fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, DatabaseError> {
        self.waiter.answer(self.transaction.execute_raw(statement, values))
    }

    fn query(
        &mut self,
        statement: &str,
        values: &[Value],
        each: &mut dyn FnMut(Cells) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        let rows = self.waiter.answer(self.transaction.query_raw(statement, values))?;
        show(self.waiter, rows, each)
    }
}

impl Session for Postgres {
    fn execute(&mut self, statement: &str, values: &[Value]) -> Result<u64, DatabaseError> {
        self.transaction(|session| session.execute(statement, values))
    }

    fn query(
        &mut self,
        statement: &str,
        values: &[Value],
        each: &mut dyn FnMut(Cells) -> Result<(), DatabaseError>,
    ) -> Result<(), DatabaseError> {
        self.transaction(|session| session.query(statement, values, each))
    }
}

fn show(
    waiter: &Waiter,
    rows: RowStream,
    each: &mut dyn FnMut(Cells) -> Result<(), DatabaseError>,
) -> Result<(), DatabaseError> {
    pin_mut!(rows);
    loop {
        let Some(row) = waiter.wait(rows.next())? else { return Ok(()) };
        let row = row.map_err(|error| failed(&error))?;
        let cells = (0..row.len()).map(|place| value(&row, place)).collect::<Result<_, _>>()?;
        each(Cells::of(cells))?;
    }
}

fn value(row: &tokio_postgres::Row, place: usize) -> Result<Value, DatabaseError> {
    let of = row.columns().get(place).map(|column| column.type_().clone()).ok_or(DatabaseError::Shape)?;
    let found = match of {
        Type::INT8 => row.try_get::<_, Option<i64>>(place).map(Value::from),
        Type::BOOL => row.try_get::<_, Option<bool>>(place).map(|value| value.map(i64::from).into()),
        Type::TEXT => row.try_get::<_, Option<&str>>(place).map(Value::from),
        Type::UUID => {
            row.try_get::<_, Option<Uuid>>(place).map(|value| value.map_or(Value::Null, Value::Uuid))
        }
        Type::BYTEA => {
            row.try_get::<_, Option<Vec<u8>>>(place).map(|value| value.map_or(Value::Null, Value::Bytes))
        }
        _ => return Err(DatabaseError::Shape),
    };
    found.map_err(|error| failed(&error))
}

fn failed(error: &tokio_postgres::Error) -> DatabaseError {
    DatabaseError::Postgres(explained(error))
}
