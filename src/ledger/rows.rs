//! The ledger's tables, whichever database they are in.

use std::time::{Duration, SystemTime};

use uuid::Uuid;

use super::{
    LedgerError, Record, Spent, postgres,
    row::{HoldRow, Row, interrupted, milliseconds},
    sqlite::{self, Holding},
};
use crate::{
    budget::Holder,
    config::{Database, Usd},
    database::{Connection, DatabaseError, Value, rows},
};

/// How long a server may take that rows are written to. They are in the spill file long before.
const WRITTEN_IN: Duration = Duration::from_secs(2);

/// Rows that retention deletes in one transaction: others wait no longer than for this.
const DELETED_AT_ONCE: u32 = 2_000;

/// Whose spending it is. What is held is taken to be spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum By {
    /// Everybody's, without what this process holds.
    AllButHeldBy(Uuid),
    /// That of all processes but these.
    AllBut(Vec<Uuid>),
    /// This process's.
    One(Uuid),
}

#[derive(Debug)]
pub(super) struct Rows {
    connection: Connection,
    /// Where the database is a file.
    holding: Holding,
    /// The process that writes; none of ours while rows are taken that another one has left.
    instance: Uuid,
}

impl Rows {
    /// Opens a database, and brings it up to this version.
    pub(super) fn open(database: &Database) -> Result<Self, LedgerError> {
        let connection = Connection::open(database)?;
        let failed = |source: rusqlite::Error| {
            let (database, source) = (database.to_string(), source.into());
            LedgerError::Database { database, source }
        };
        let holding = match &connection {
            Connection::Sqlite(connection) => Holding::read(connection).map_err(failed)?,
            Connection::Postgres(_) => Holding::default(),
        };
        Ok(Self { connection, holding, instance: Uuid::nil() })
    }

    /// What is written from now on is of this process.
    pub(super) fn write_as(&mut self, instance: Uuid) -> Result<(), DatabaseError> {
        self.instance = instance;
        if let Connection::Postgres(server) = &mut self.connection {
            server.wait_at_most(WRITTEN_IN);
        }
        self.beat()
    }

    /// Several processes write: each must be heard of.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self.connection, Connection::Postgres(_))
    }

    /// Writes all or nothing. What is there already is not written again.
    pub(super) fn write(&mut self, records: &[Record]) -> Result<(), DatabaseError> {
        let instance = self.instance;
        match &mut self.connection {
            Connection::Sqlite(connection) => Ok(sqlite::write(connection, &mut self.holding, records)?),
            Connection::Postgres(_) if records.is_empty() => Ok(()),
            shared @ Connection::Postgres(_) => {
                shared.transaction(|session| postgres::write(session, instance, records))
            }
        }
    }

    /// What is held for processes that are gone is spent: how many requests those were.
    pub(super) fn settle_abandoned(&mut self, now: SystemTime) -> Result<usize, DatabaseError> {
        let now = milliseconds(now);
        match &mut self.connection {
            Connection::Sqlite(connection) => {
                Ok(sqlite::settle_abandoned(connection, &mut self.holding, now)?)
            }
            shared @ Connection::Postgres(_) => shared.transaction(|session| {
                let mut requests = 0;
                for (instance, holds) in postgres::take_abandoned(session)? {
                    let settled = spent(&holds, now);
                    postgres::write(session, instance, &settled)?;
                    requests += settled.len();
                }
                Ok(requests)
            }),
        }
    }

    /// What was spent on this day and since.
    pub(super) fn spent_since(&mut self, day: i64, by: &By) -> Result<Vec<Spent>, DatabaseError> {
        let name = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Into::into);
        let read = |mut cells: crate::database::Cells| {
            let tenant = cells.text()?;
            let by = Holder {
                tenant: tenant.into(),
                project: name(cells.optional_text()?),
                key: name(cells.optional_text()?),
            };
            let (day, pico) = (cells.integer()?, cells.integer()?);
            Ok(Spent { by, day, amount: Usd::from_pico(u128::try_from(pico).unwrap_or(0)) })
        };
        let is_shared = self.is_shared();
        let session = self.connection.session();
        let spent = "SELECT tenant, project, key, day, cost_pico_usd FROM usage WHERE day >= $1 AND cost_pico_usd > 0";
        if !is_shared {
            return rows(session, spent, &[day.into()], read);
        }
        let held =
            "SELECT tenant, project, key, at_ms / 86400000, pico_usd FROM holds WHERE at_ms / 86400000 >= $1";
        let listed =
            "(SELECT listed.id::uuid FROM jsonb_array_elements_text($2::text::jsonb) AS listed (id))";
        let (of_spent, of_held, processes) = match by {
            By::AllButHeldBy(process) => {
                (String::new(), format!("AND instance NOT IN {listed}"), std::slice::from_ref(process))
            }
            By::AllBut(processes) => {
                let others = format!("AND instance NOT IN {listed}");
                (others.clone(), others, &**processes)
            }
            By::One(process) => {
                let this = format!("AND instance IN {listed}");
                (this.clone(), this, std::slice::from_ref(process))
            }
        };
        let processes = serde_json::to_string(processes).map_err(|_| DatabaseError::Shape)?;
        let one = format!("{spent} {of_spent} UNION ALL {held} {of_held} AND $2::text IS NOT NULL");
        rows(session, &one, &[day.into(), Value::Text(processes)], read)
    }

    /// The processes that are there, or have left what nobody has settled yet.
    pub(super) fn instances(&mut self) -> Result<Vec<Uuid>, DatabaseError> {
        rows(self.connection.session(), "SELECT id FROM instances", &[], |mut cells| cells.uuid())
    }

    /// A process spends of its shares without telling anybody else.
    pub(super) fn goes_apart(&mut self, instance: Uuid, number: i64) -> Result<(), DatabaseError> {
        let note = "INSERT INTO apart VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.connection.session().execute(note, &[Value::Uuid(instance), number.into()]).map(drop)
    }

    /// It does no more; later notes stay.
    pub(super) fn is_together(&mut self, instance: Uuid, number: i64) -> Result<(), DatabaseError> {
        let forget = "DELETE FROM apart WHERE instance = $1 AND number <= $2";
        self.connection.session().execute(forget, &[Value::Uuid(instance), number.into()]).map(drop)
    }

    pub(super) fn is_apart(&mut self, instance: Uuid) -> Result<bool, DatabaseError> {
        let notes = "SELECT number FROM apart WHERE instance = $1 LIMIT 1";
        let notes =
            rows(self.connection.session(), notes, &[Value::Uuid(instance)], |mut cells| cells.integer())?;
        Ok(!notes.is_empty())
    }

    /// Deletes some of the rows from before a time; whether there may be more.
    pub(super) fn forget_before(&mut self, arrived_ms: i64) -> Result<bool, DatabaseError> {
        let old = "DELETE FROM requests WHERE id IN (SELECT id FROM requests WHERE arrived_ms < $1 LIMIT $2)";
        let values = [Value::Integer(arrived_ms), Value::Integer(DELETED_AT_ONCE.into())];
        Ok(self.connection.session().execute(old, &values)? == u64::from(DELETED_AT_ONCE))
    }

    /// This process is there.
    pub(super) fn beat(&mut self) -> Result<(), DatabaseError> {
        if !self.is_shared() {
            return Ok(());
        }
        postgres::beat(self.connection.session(), self.instance)
    }

    /// This process ends, and has left nothing behind.
    pub(super) fn leave(&mut self) -> Result<(), DatabaseError> {
        if !self.is_shared() {
            return Ok(());
        }
        postgres::leave(self.connection.session(), self.instance)
    }
}

/// The rows of requests of which only what was held is known.
pub(super) fn spent(holds: &[HoldRow], now_ms: i64) -> Vec<Record> {
    let rows = holds.chunk_by(|a, b| a.request == b.request).filter_map(|holds| interrupted(holds, now_ms));
    rows.map(|row: Row| Record::Request(Box::new(row))).collect()
}
