//! The columns of an export: what each holds of a request.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    config::Usd,
    ledger::{
        report::exact,
        row::{Call, Row, UsedRow},
    },
};

/// What a column's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Texts.
    Text,
    /// Texts that are JSON.
    Json,
    /// Whole numbers.
    Whole,
    /// Milliseconds since 1970.
    Time,
    /// Whole 10⁻¹² USD, which are shown in USD.
    Usd,
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// Of texts.
    Text(Cow<'a, str>),
    /// Of anything else.
    Whole(i64),
}

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    /// Its name.
    pub(super) name: &'static str,
    /// What its values are.
    pub(super) kind: Kind,
    /// The value of a request; none where there is none.
    pub(super) of: for<'a> fn(&'a Record<'a>) -> Option<Value<'a>>,
}

/// A request, and the sums over its calls.
pub(super) struct Record<'a> {
    row: &'a Row,
    sums: Sums,
}

#[derive(Default)]
struct Sums {
    estimated_calls: i64,
    prompt_tokens: i64,
    cached_tokens: i64,
    completion_tokens: i64,
    reasoning_tokens: i64,
    /// None where no call has a cost.
    cost_pico_usd: Option<i64>,
}

impl<'a> Record<'a> {
    pub(super) fn of(row: &'a Row) -> Self {
        let mut sums = Sums::default();
        for used in row.calls.iter().filter_map(|call| call.used) {
            let add = |sum: &mut i64, more: i64| *sum = sum.saturating_add(more);
            add(&mut sums.estimated_calls, i64::from(used.estimated));
            add(&mut sums.prompt_tokens, used.prompt_tokens);
            add(&mut sums.cached_tokens, used.cached_tokens);
            add(&mut sums.completion_tokens, used.completion_tokens);
            add(&mut sums.reasoning_tokens, used.reasoning_tokens);
            if let Some(cost) = used.cost_pico_usd {
                add(sums.cost_pico_usd.get_or_insert(0), cost);
            }
        }
        Self { row, sums }
    }
}

/// The columns, in their order.
#[rustfmt::skip]
pub(super) const COLUMNS: &[Column] = &[
    Column { name: "id", kind: Kind::Text, of: |record| Some(Value::Text(record.row.id.to_string().into())) },
    Column { name: "arrived", kind: Kind::Time, of: |record| whole(record.row.arrived_ms) },
    Column { name: "request_id", kind: Kind::Text, of: |record| text(&record.row.request_id) },
    Column { name: "tenant", kind: Kind::Text, of: |record| text(&record.row.tenant) },
    Column { name: "project", kind: Kind::Text, of: |record| maybe(&record.row.project) },
    Column { name: "key", kind: Kind::Text, of: |record| maybe(&record.row.key) },
    Column { name: "route", kind: Kind::Text, of: |record| maybe(&record.row.route) },
    Column { name: "router", kind: Kind::Text, of: |record| maybe(&record.row.router) },
    Column { name: "artifact", kind: Kind::Text, of: |record| maybe(&record.row.artifact) },
    Column { name: "decision_us", kind: Kind::Whole, of: |record| record.row.decision_us.and_then(whole) },
    Column { name: "model", kind: Kind::Text, of: |record| maybe(&record.row.model) },
    Column { name: "outcome", kind: Kind::Text, of: |record| text(&record.row.outcome) },
    Column { name: "code", kind: Kind::Text, of: |record| maybe(&record.row.code) },
    Column { name: "answer_us", kind: Kind::Whole, of: |record| record.row.answer_us.and_then(whole) },
    Column { name: "duration_us", kind: Kind::Whole, of: |record| whole(record.row.duration_us) },
    Column { name: "cache", kind: Kind::Text, of: |record| maybe(&record.row.cache) },
    Column { name: "tags", kind: Kind::Json, of: |record| maybe(&record.row.tags) },
    Column { name: "prompt", kind: Kind::Text, of: |record| maybe(&record.row.prompt) },
    Column { name: "call_count", kind: Kind::Whole, of: |record| whole(crate::ledger::row::whole(record.row.calls.len())) },
    Column { name: "estimated_calls", kind: Kind::Whole, of: |record| whole(record.sums.estimated_calls) },
    Column { name: "prompt_tokens", kind: Kind::Whole, of: |record| whole(record.sums.prompt_tokens) },
    Column { name: "cached_tokens", kind: Kind::Whole, of: |record| whole(record.sums.cached_tokens) },
    Column { name: "completion_tokens", kind: Kind::Whole, of: |record| whole(record.sums.completion_tokens) },
    Column { name: "reasoning_tokens", kind: Kind::Whole, of: |record| whole(record.sums.reasoning_tokens) },
    Column { name: "cost_usd", kind: Kind::Usd, of: |record| record.sums.cost_pico_usd.and_then(whole) },
    Column { name: "cost_pico_usd", kind: Kind::Whole, of: |record| record.sums.cost_pico_usd.and_then(whole) },
    Column { name: "candidates", kind: Kind::Json, of: candidates },
    Column { name: "calls", kind: Kind::Json, of: calls },
];

#[expect(clippy::unnecessary_wraps, reason = "as columns give them")]
fn whole(number: i64) -> Option<Value<'static>> {
    Some(Value::Whole(number))
}

#[expect(clippy::unnecessary_wraps, reason = "as columns give them")]
fn text(text: &str) -> Option<Value<'_>> {
    Some(Value::Text(text.into()))
}

fn maybe(maybe: &Option<String>) -> Option<Value<'_>> {
    maybe.as_deref().and_then(text)
}

fn json(value: &impl Serialize) -> Option<Value<'static>> {
    serde_json::to_string(value).ok().map(|text| Value::Text(text.into()))
}

fn candidates<'a>(record: &'a Record<'a>) -> Option<Value<'a>> {
    #[derive(Serialize)]
    struct Candidate<'a> {
        model: &'a str,
        skill: f64,
    }
    let candidates = record.row.candidates.iter();
    json(&candidates.map(|(model, skill)| Candidate { model, skill: *skill }).collect::<Vec<_>>())
}

fn calls<'a>(record: &'a Record<'a>) -> Option<Value<'a>> {
    #[derive(Serialize)]
    struct Entry<'a> {
        model: &'a str,
        #[serde(flatten)]
        used: Option<UsedRow>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cost_usd: Option<Box<RawValue>>,
    }
    let entry = |call: &'a Call| {
        let cost_usd = call.used.and_then(|used| used.cost_pico_usd).and_then(|pico| exact(usd(pico)));
        Entry { model: &call.model, used: call.used, cost_usd }
    };
    json(&record.row.calls.iter().map(entry).collect::<Vec<_>>())
}

/// An amount of a ledger.
pub(super) fn usd(pico: i64) -> Usd {
    Usd::from_pico(u128::try_from(pico).unwrap_or(0))
}

/// A moment as people and programs read it, in UTC.
pub(super) fn moment(milliseconds: i64) -> Option<String> {
    let nanoseconds = i128::from(milliseconds) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanoseconds).ok()?.format(&Rfc3339).ok()
}
