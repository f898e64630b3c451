//! Rows in PostgreSQL: what has come is some statements, however much it is. Several processes may write; each is known by a number
//! of its own and heard of every second or so.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use uuid::Uuid;

use super::{
    Record,
    row::{Call, HoldRow, Row, UsedRow, day_of, whole},
    usage::{UsageKey, sums},
};
use crate::database::{Cells, DatabaseError, Session, Value, rows};

/// A process that was not heard of for so long is not there any more: in PostgreSQL's words.
pub(super) const SILENT: &str = "interval '15 seconds'";

/// Writes records of this process. What is there already is not written again.
pub(super) fn write(
    session: &mut dyn Session,
    instance: Uuid,
    records: &[Record],
) -> Result<(), DatabaseError> {
    let requests: Vec<&Row> = records.iter().filter_map(Record::request).collect();
    if !requests.is_empty() {
        write_requests(session, instance, &requests)?;
    }
    // Of a call for which more was held and more again, the most.
    let mut most: BTreeMap<(Uuid, i64), &HoldRow> = BTreeMap::new();
    for hold in records.iter().filter_map(Record::hold) {
        let known = most.entry((hold.request, hold.position)).or_insert(hold);
        *known = if hold.pico_usd > known.pico_usd { hold } else { known };
    }
    let holds: Vec<&HoldRow> = most.into_values().collect();
    if !holds.is_empty() {
        // Not for a request that has ended: its row may have been written before.
        session.execute(
            "INSERT INTO holds SELECT h.request, h.position, $2::uuid, h.at_ms, h.tenant, h.project, h.key, h.model, h.pico_usd
             FROM jsonb_to_recordset($1::text::jsonb) AS h (request uuid, position bigint, at_ms bigint, tenant text, project text,
                key text, model text, pico_usd bigint)
             WHERE NOT EXISTS (SELECT 1 FROM requests WHERE id = h.request)
             ON CONFLICT (request, position) DO UPDATE SET pico_usd = greatest(holds.pico_usd, excluded.pico_usd)",
            &[json(&holds)?, Value::Uuid(instance)],
        )?;
    }
    Ok(())
}

fn write_requests(session: &mut dyn Session, instance: Uuid, requests: &[&Row]) -> Result<(), DatabaseError> {
    let ids = json(&requests.iter().map(|row| row.id).collect::<Vec<_>>())?;
    take_back_interrupted(session, &ids)?;
    let new = rows(
        session,
        "INSERT INTO requests SELECT r.*, $2::uuid FROM jsonb_to_recordset($1::text::jsonb) AS r (id uuid, arrived_ms bigint,
            request_id text, tenant text, project text, key text, route text, router text, decision_us bigint, candidates text,
            model text, outcome text, code text, answer_us bigint, duration_us bigint, artifact text, cache text, tags text,
            prompt text)
         ON CONFLICT DO NOTHING RETURNING id",
        &[json(&requests)?, Value::Uuid(instance)],
        |mut cells| cells.uuid(),
    )?;
    session.execute(
        "DELETE FROM holds WHERE request IN (SELECT listed.id::uuid FROM jsonb_array_elements_text($1::text::jsonb) AS listed (id))",
        &[ids],
    )?;
    let mut new: BTreeSet<Uuid> = new.into_iter().collect();
    // Of a request that is there twice the first is written.
    let requests: Vec<&Row> = requests.iter().copied().filter(|row| new.remove(&row.id)).collect();
    let calls: Vec<CallColumns<'_>> = requests.iter().flat_map(|row| CallColumns::of(row)).collect();
    if calls.is_empty() {
        return Ok(());
    }
    session.execute(
        "INSERT INTO calls SELECT c.* FROM jsonb_to_recordset($1::text::jsonb) AS c (request uuid, position bigint, model text,
            prompt_tokens bigint, cached_tokens bigint, audio_prompt_tokens bigint, completion_tokens bigint,
            reasoning_tokens bigint, audio_completion_tokens bigint, estimated boolean, cost_pico_usd bigint)",
        &[json(&calls)?],
    )?;
    add_usage(session, instance, &requests)
}

/// Adds up what was used; a sum that is too much for a number is the largest.
fn add_usage(session: &mut dyn Session, instance: Uuid, requests: &[&Row]) -> Result<(), DatabaseError> {
    // In one order, whoever writes: nobody waits for somebody who waits for them.
    let columns: Vec<UsageColumns<'_>> =
        sums(requests).into_iter().map(|(key, sums)| UsageColumns { key, sums }).collect();
    if columns.is_empty() {
        return Ok(());
    }
    session.execute(
        "INSERT INTO usage SELECT (u.key->>0)::bigint, u.key->>1, u.key->>2, u.key->>3, u.key->>4, (u.sums->>0)::bigint,
            (u.sums->>1)::bigint, (u.sums->>2)::bigint, (u.sums->>3)::bigint, (u.sums->>4)::bigint, (u.sums->>5)::bigint,
            (u.sums->>6)::bigint, $2::uuid
         FROM jsonb_to_recordset($1::text::jsonb) AS u (key jsonb, sums jsonb)
         ON CONFLICT (day, tenant, project, key, model, instance) DO UPDATE SET
            calls = usage.calls + excluded.calls, estimated = usage.estimated + excluded.estimated,
            prompt_tokens = least(usage.prompt_tokens::numeric + excluded.prompt_tokens, 9223372036854775807)::bigint,
            cached_tokens = least(usage.cached_tokens::numeric + excluded.cached_tokens, 9223372036854775807)::bigint,
            completion_tokens = least(usage.completion_tokens::numeric + excluded.completion_tokens, 9223372036854775807)::bigint,
            reasoning_tokens = least(usage.reasoning_tokens::numeric + excluded.reasoning_tokens, 9223372036854775807)::bigint,
            cost_pico_usd = least(usage.cost_pico_usd::numeric + excluded.cost_pico_usd, 9223372036854775807)::bigint",
        &[json(&columns)?, Value::Uuid(instance)],
    )?;
    Ok(())
}

/// Requests of a process that was taken to be gone and was not: what they did cost takes the place of what was held.
fn take_back_interrupted(session: &mut dyn Session, ids: &Value) -> Result<(), DatabaseError> {
    let taken = rows(
        session,
        "SELECT r.arrived_ms, r.tenant, r.project, r.key, c.model, c.cost_pico_usd,
            coalesce(r.instance, '00000000-0000-0000-0000-000000000000') FROM requests r JOIN calls c ON c.request = r.id
         WHERE r.code = 'interrupted' AND r.id IN (SELECT listed.id::uuid FROM jsonb_array_elements_text($1::text::jsonb) AS listed (id))
         FOR UPDATE OF r",
        std::slice::from_ref(ids),
        |mut cells| {
            let (arrived_ms, tenant) = (cells.integer()?, cells.text()?);
            let (project, key) = (cells.optional_text()?, cells.optional_text()?);
            Ok((arrived_ms, tenant, project, key, cells.text()?, cells.optional_integer()?, cells.uuid()?))
        },
    )?;
    if taken.is_empty() {
        return Ok(());
    }
    for (arrived_ms, tenant, project, key, model, cost, instance) in &taken {
        session.execute(
            "UPDATE usage SET cost_pico_usd = cost_pico_usd - $1, calls = calls - 1, estimated = estimated - 1
             WHERE day = $2 AND tenant = $3 AND project = $4 AND key = $5 AND model = $6 AND instance = $7",
            &[
                Value::Integer(cost.unwrap_or(0)),
                Value::Integer(day_of(*arrived_ms)),
                tenant.into(),
                project.as_deref().unwrap_or_default().into(),
                key.as_deref().unwrap_or_default().into(),
                model.into(),
                Value::Uuid(*instance),
            ],
        )?;
    }
    session.execute(
        "DELETE FROM requests
         WHERE code = 'interrupted' AND id IN (SELECT listed.id::uuid FROM jsonb_array_elements_text($1::text::jsonb) AS listed (id))",
        std::slice::from_ref(ids),
    )?;
    Ok(())
}

/// Takes away what is held for processes that are silent, by process.
pub(super) fn take_abandoned(
    session: &mut dyn Session,
) -> Result<BTreeMap<Uuid, Vec<HoldRow>>, DatabaseError> {
    let silent = format!(
        "DELETE FROM holds WHERE instance NOT IN (SELECT id FROM instances WHERE seen > now() - {SILENT})
         RETURNING instance, request, position, at_ms, tenant, project, key, model, pico_usd"
    );
    let holds = rows(session, &silent, &[], |mut cells| Ok((cells.uuid()?, read_hold(cells)?)))?;
    let mut by_instance: BTreeMap<Uuid, Vec<HoldRow>> = BTreeMap::new();
    for (instance, hold) in holds {
        by_instance.entry(instance).or_default().push(hold);
    }
    by_instance.values_mut().for_each(|holds| holds.sort_by_key(|hold| (hold.request, hold.position)));
    // With them goes their name: whoever looks for it there knows that they are settled. All of it has one `now()`.
    session.execute(&format!("DELETE FROM instances WHERE seen <= now() - {SILENT}"), &[])?;
    Ok(by_instance)
}

fn read_hold(mut cells: Cells) -> Result<HoldRow, DatabaseError> {
    Ok(HoldRow {
        request: cells.uuid()?,
        position: cells.integer()?,
        at_ms: cells.integer()?,
        tenant: cells.text()?,
        project: cells.optional_text()?,
        key: cells.optional_text()?,
        model: cells.text()?,
        pico_usd: cells.integer()?,
    })
}

/// This process is there.
pub(super) fn beat(session: &mut dyn Session, instance: Uuid) -> Result<(), DatabaseError> {
    let seen = "INSERT INTO instances VALUES ($1, now()) ON CONFLICT (id) DO UPDATE SET seen = now()";
    session.execute(seen, &[Value::Uuid(instance)]).map(drop)
}

/// This process ends.
pub(super) fn leave(session: &mut dyn Session, instance: Uuid) -> Result<(), DatabaseError> {
    session.execute("DELETE FROM instances WHERE id = $1", &[Value::Uuid(instance)]).map(drop)
}

/// As JSON, of which a statement takes the fields that it names. What PostgreSQL cannot keep, the end of a text in the middle of one, is
/// replaced.
fn json(columns: &impl Serialize) -> Result<Value, DatabaseError> {
    const END: &str = r"\u0000";
    let text = serde_json::to_string(columns).map_err(|_| DatabaseError::Shape)?;
    if !text.contains(END) {
        return Ok(Value::Text(text));
    }
    // A backslash that is meant stands there twice, and may be before the same letters.
    let parts: Vec<String> = text.split(r"\\").map(|part| part.replace(END, r"\ufffd")).collect();
    Ok(Value::Text(parts.join(r"\\")))
}

#[derive(Serialize)]
struct CallColumns<'a> {
    request: Uuid,
    position: i64,
    model: &'a str,
    #[serde(flatten)]
    used: Option<UsedRow>,
}

impl<'a> CallColumns<'a> {
    fn of(row: &'a Row) -> impl Iterator<Item = Self> {
        let columns = |(position, call): (usize, &'a Call)| Self {
            request: row.id,
            position: whole(position),
            model: &call.model,
            used: call.used,
        };
        row.calls.iter().enumerate().map(columns)
    }
}

#[derive(Serialize)]
struct UsageColumns<'a> {
    key: UsageKey<'a>,
    sums: [i64; 7],
}
