//! Rows in SQLite: a prepared statement for each, which is quicker there than few for many.

use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::{
    Record,
    row::{Call, HoldRow, Row, day_of},
    rows::spent,
};

/// Writes all or nothing. What is there already is not written again.
pub(super) fn write(connection: &mut Connection, records: &[Record]) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    write_all(&transaction, records)?;
    transaction.commit()
}

fn write_all(transaction: &Transaction<'_>, records: &[Record]) -> rusqlite::Result<()> {
    for record in records {
        match record {
            Record::Request(row) => write_request(transaction, row)?,
            Record::Hold(hold) => write_hold(transaction, hold)?,
        }
    }
    Ok(())
}

/// What was held when the process before this one ended is spent: how many requests those were.
pub(super) fn settle_abandoned(connection: &mut Connection, now_ms: i64) -> rusqlite::Result<usize> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
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
    let settled = spent(&abandoned, now_ms);
    write_all(&transaction, &settled)?;
    transaction.commit()?;
    Ok(settled.len())
}

fn write_request(transaction: &Transaction<'_>, row: &Row) -> rusqlite::Result<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT OR IGNORE INTO requests VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
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
        row.artifact,
        row.cache,
        row.tags,
        row.prompt,
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
        day_of(row.arrived_ms),
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
        "INSERT INTO holds SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8
         WHERE NOT EXISTS (SELECT 1 FROM requests WHERE id = ?1)
         ON CONFLICT DO UPDATE SET pico_usd = max(pico_usd, excluded.pico_usd)",
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
