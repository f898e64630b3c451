//! Rows in SQLite: a prepared statement for each, which is quicker there than few for many.

use std::collections::HashSet;

use rusqlite::{Connection, Statement, Transaction, TransactionBehavior, params};
use uuid::Uuid;

use super::{
    Record,
    row::{Call, HoldRow, Row},
    rows::spent,
    usage::{UsageKey, sums},
};

/// The requests for which something is held there: only this process writes.
#[derive(Debug, Default)]
pub(super) struct Holding(HashSet<Uuid>);

impl Holding {
    pub(super) fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare("SELECT DISTINCT request FROM holds")?;
        let requests = statement.query_map([], |row| row.get(0))?;
        Ok(Self(requests.collect::<rusqlite::Result<_>>()?))
    }
}

/// Writes all or nothing. What is there already is not written again.
pub(super) fn write(
    connection: &mut Connection,
    holding: &mut Holding,
    records: &[Record],
) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let new = write_requests(&transaction, records)?;
    add_usage(&transaction, &new)?;
    let ended: HashSet<Uuid> = requests(records).map(|row| row.id).collect();
    delete_holds(&transaction, ended.intersection(&holding.0))?;
    // What was held for a request that has ended meanwhile need not be there in between.
    let holds = records.iter().filter_map(Record::hold).filter(|hold| !ended.contains(&hold.request));
    let held = write_holds(&transaction, holds)?;
    transaction.commit()?;
    holding.0.retain(|request| !ended.contains(request));
    holding.0.extend(held);
    Ok(())
}

fn requests(records: &[Record]) -> impl Iterator<Item = &Row> {
    records.iter().filter_map(Record::request)
}

/// What was held when the process before this one ended is spent: how many requests those were.
pub(super) fn settle_abandoned(
    connection: &mut Connection,
    holding: &mut Holding,
    now_ms: i64,
) -> rusqlite::Result<usize> {
    let abandoned = {
        let mut statement = connection.prepare(
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
    let settled = spent(&abandoned, now_ms);
    write(connection, holding, &settled)?;
    Ok(settled.len())
}

/// Those that were not there yet.
fn write_requests<'a>(
    transaction: &Transaction<'_>,
    records: &'a [Record],
) -> rusqlite::Result<Vec<&'a Row>> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    )?;
    let mut insert_call = transaction
        .prepare_cached("INSERT INTO calls VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)")?;
    let mut new = Vec::new();
    for row in requests(records) {
        let candidates = serde_json::to_string(&row.candidates).unwrap_or_default();
        let inserted = insert.execute(params![
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
            row.artifact,
            row.cache,
            row.tags,
            row.prompt,
        ])?;
        if inserted == 0 {
            continue;
        }
        for (position, call) in (0_i64..).zip(&row.calls) {
            write_call(&mut insert_call, row, (position, call))?;
        }
        new.push(row);
    }
    Ok(new)
}

fn write_call(insert: &mut Statement<'_>, row: &Row, (position, call): (i64, &Call)) -> rusqlite::Result<()> {
    let used = call.used;
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
        used.and_then(|used| used.cost_pico_usd),
    ])?;
    Ok(())
}

/// Adds up what was used.
fn add_usage(transaction: &Transaction<'_>, requests: &[&Row]) -> rusqlite::Result<()> {
    let mut add = transaction.prepare_cached(
        "INSERT INTO usage VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         -- What is too much for a whole number would become one with a point: it is the largest.
         ON CONFLICT DO UPDATE SET calls = calls + excluded.calls, estimated = estimated + excluded.estimated,
            prompt_tokens = CAST(prompt_tokens + excluded.prompt_tokens AS INTEGER),
            cached_tokens = CAST(cached_tokens + excluded.cached_tokens AS INTEGER),
            completion_tokens = CAST(completion_tokens + excluded.completion_tokens AS INTEGER),
            reasoning_tokens = CAST(reasoning_tokens + excluded.reasoning_tokens AS INTEGER),
            cost_pico_usd = CAST(cost_pico_usd + excluded.cost_pico_usd AS INTEGER)",
    )?;
    for (UsageKey(day, tenant, project, key, model), sums) in sums(requests) {
        let [calls, estimated, prompt, cached, completion, reasoning, cost] = sums;
        add.execute(params![
            day, tenant, project, key, model, calls, estimated, prompt, cached, completion, reasoning, cost
        ])?;
    }
    Ok(())
}

fn delete_holds<'a>(
    transaction: &Transaction<'_>,
    requests: impl IntoIterator<Item = &'a Uuid>,
) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM holds WHERE request = ?1")?;
    requests.into_iter().try_for_each(|request| delete.execute([request]).map(drop))
}

/// The requests that something is held for now.
fn write_holds<'a>(
    transaction: &Transaction<'_>,
    holds: impl IntoIterator<Item = &'a HoldRow>,
) -> rusqlite::Result<Vec<Uuid>> {
    // Not for a request that has ended: its row may have been written before.
    let mut insert = transaction.prepare_cached(
        "INSERT INTO holds SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
         WHERE NOT EXISTS (SELECT 1 FROM requests WHERE id = ?1)
         ON CONFLICT DO UPDATE SET pico_usd = max(pico_usd, excluded.pico_usd)",
    )?;
    let mut held = Vec::new();
    for hold in holds {
        let written = insert.execute(params![
            hold.request,
            hold.position,
            hold.at_ms,
            hold.tenant,
            hold.project,
            hold.key,
            hold.model,
            hold.pico_usd,
        ])?;
        if written == 1 {
            held.push(hold.request);
        }
    }
    Ok(held)
}
