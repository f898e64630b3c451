//! What is asked of the ledger's tables, for reports and exports.

use crate::{
    config::Usd,
    database::{Cells, DatabaseError, Session, Value},
    ledger::{
        report::{Dimension, Filter, Totals, UsageQuery, UsageRow, day_text},
        row::{Call, DAY_MS, Row, UsedRow},
    },
};

/// The groups of a report, in no order; one more than may be, where there are more.
pub(super) fn groups(session: &mut dyn Session, query: &UsageQuery) -> Result<Vec<UsageRow>, DatabaseError> {
    const COUNTED: [&str; 6] =
        ["calls", "estimated", "prompt_tokens", "cached_tokens", "completion_tokens", "reasoning_tokens"];
    let by: Vec<&str> = query.by.iter().map(|dimension| dimension.name()).collect();
    let groups = if by.is_empty() { "NULL".to_owned() } else { by.join(", ") };
    let counted: String = COUNTED.iter().map(|name| format!("CAST(sum({name}) AS BIGINT), ")).collect();
    // Money in two parts, since a sum of whole numbers that is too large is an error; one that a row could not hold is the most
    // that it can.
    let text = format!(
        "SELECT {counted}CAST(sum(CAST(cost_pico_usd AS BIGINT) / 1000000) AS BIGINT),
            CAST(sum(CAST(cost_pico_usd AS BIGINT) % 1000000) AS BIGINT), {groups}
         FROM usage WHERE day >= $1 AND day < $2 AND (CAST($3 AS TEXT) IS NULL OR tenant = $3)
         GROUP BY {groups} LIMIT $4"
    );
    let limit = i64::try_from(query.groups_max.saturating_add(1)).unwrap_or(i64::MAX);
    let (from, to) = days(&query.filter);
    let mut found = Vec::new();
    session.query(
        &text,
        &[from.into(), to.into(), query.filter.tenant().into(), limit.into()],
        &mut |cells| {
            found.extend(group(cells, query)?);
            Ok(())
        },
    )?;
    Ok(found)
}

/// None of nothing: a sum without groups is one row where there are none.
fn group(mut cells: Cells, query: &UsageQuery) -> Result<Option<UsageRow>, DatabaseError> {
    let Some(calls) = cells.optional_integer()? else { return Ok(None) };
    let mut count = || cells.integer().map(|count| u64::try_from(count).unwrap_or(0));
    let used = Totals {
        calls: u64::try_from(calls).unwrap_or(0),
        estimated_calls: count()?,
        prompt_tokens: count()?,
        cached_tokens: count()?,
        completion_tokens: count()?,
        reasoning_tokens: count()?,
        cost: Usd::from_pico(u128::from(count()?) * 1_000_000 + u128::from(count()?)),
    };
    let mut names = Vec::new();
    for dimension in &query.by {
        names.push(match dimension {
            Dimension::Day => Some(day_text(cells.integer()?)),
            _ => cells.optional_text()?.filter(|name| !name.is_empty()),
        });
    }
    Ok(Some(UsageRow { names, used }))
}

pub(super) fn count(session: &mut dyn Session, filter: &Filter) -> Result<u64, DatabaseError> {
    let text = "SELECT count(*) FROM requests
        WHERE arrived_ms >= $1 AND arrived_ms < $2 AND (CAST($3 AS TEXT) IS NULL OR tenant = $3)";
    let mut count = 0;
    session.query(text, &moments(filter), &mut |mut cells| {
        count = u64::try_from(cells.integer()?).unwrap_or(0);
        Ok(())
    })?;
    Ok(count)
}

/// Shows each request in the order of their arrival, and no more than one at a time.
pub(super) fn requests(
    session: &mut dyn Session,
    filter: &Filter,
    each: &mut dyn FnMut(Row) -> Result<(), DatabaseError>,
) -> Result<(), DatabaseError> {
    // A row for each call, and one for a request without any: those of a request follow each other.
    let text = "SELECT r.id, r.arrived_ms, r.request_id, r.tenant, r.project, r.key, r.route, r.router, r.decision_us, r.candidates,
            r.model, r.outcome, r.code, r.answer_us, r.duration_us, r.artifact, r.cache, r.tags, r.prompt, c.model, c.prompt_tokens, c.cached_tokens, c.audio_prompt_tokens,
            c.completion_tokens, c.reasoning_tokens, c.audio_completion_tokens, c.estimated, c.cost_pico_usd
         FROM requests r LEFT JOIN calls c ON c.request = r.id
         WHERE r.arrived_ms >= $1 AND r.arrived_ms < $2 AND (CAST($3 AS TEXT) IS NULL OR r.tenant = $3)
         ORDER BY r.arrived_ms, r.id, c.position";
    let mut open: Option<Row> = None;
    session.query(text, &moments(filter), &mut |mut cells| {
        let row = request(&mut cells)?;
        let call = call(&mut cells)?;
        match &mut open {
            Some(open) if open.id == row.id => open.calls.extend(call),
            _ => {
                let before = open.replace(Row { calls: call.into_iter().collect(), ..row });
                before.map_or(Ok(()), &mut *each)?;
            }
        }
        Ok(())
    })?;
    open.map_or(Ok(()), each)
}

fn request(cells: &mut Cells) -> Result<Row, DatabaseError> {
    Ok(Row {
        id: cells.uuid()?,
        arrived_ms: cells.integer()?,
        request_id: cells.text()?,
        tenant: cells.text()?,
        project: cells.optional_text()?,
        key: cells.optional_text()?,
        route: cells.optional_text()?,
        router: cells.optional_text()?,
        decision_us: cells.optional_integer()?,
        candidates: serde_json::from_str(&cells.text()?).unwrap_or_default(),
        model: cells.optional_text()?,
        outcome: cells.text()?,
        code: cells.optional_text()?,
        answer_us: cells.optional_integer()?,
        duration_us: cells.integer()?,
        artifact: cells.optional_text()?,
        cache: cells.optional_text()?,
        tags: cells.optional_text()?,
        prompt: cells.optional_text()?,
        calls: Vec::new(),
    })
}

fn call(cells: &mut Cells) -> Result<Option<Call>, DatabaseError> {
    let Some(model) = cells.optional_text()? else { return Ok(None) };
    // Tokens are all there or none is.
    let Some(prompt_tokens) = cells.optional_integer()? else { return Ok(Some(Call { model, used: None })) };
    let mut or_zero = || cells.optional_integer().map(Option::unwrap_or_default);
    let used = UsedRow {
        prompt_tokens,
        cached_tokens: or_zero()?,
        audio_prompt_tokens: or_zero()?,
        completion_tokens: or_zero()?,
        reasoning_tokens: or_zero()?,
        audio_completion_tokens: or_zero()?,
        estimated: or_zero()? != 0,
        cost_pico_usd: cells.optional_integer()?,
    };
    Ok(Some(Call { model, used: Some(used) }))
}

fn days(filter: &Filter) -> (i64, i64) {
    (filter.from().unwrap_or(i64::MIN), filter.to().unwrap_or(i64::MAX))
}

fn moments(filter: &Filter) -> [Value; 3] {
    let (from, to) = days(filter);
    [from.saturating_mul(DAY_MS).into(), to.saturating_mul(DAY_MS).into(), filter.tenant().into()]
}
