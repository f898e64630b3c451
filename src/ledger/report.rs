//! What was used, summed by day, tenant, project, key and model: what may be asked of a ledger, and the answer.
//!
//! Must not know how a ledger is kept.

#[cfg(test)]
mod tests;

use std::time::SystemTime;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;
use time::{Date, OffsetDateTime, format_description::well_known::Iso8601};

use crate::config::Usd;

/// What usage is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    /// The day on which requests arrived, in UTC.
    Day,
    /// Whose they were.
    Tenant,
    /// The tenant's project.
    Project,
    /// What the key is called.
    Key,
    /// The model that was called.
    Model,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Day, Self::Tenant, Self::Project, Self::Key, Self::Model];

    /// What it is called in requests, reports and databases.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Tenant => "tenant",
            Self::Project => "project",
            Self::Key => "key",
            Self::Model => "model",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.name() == name)
    }
}

impl Serialize for Dimension {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// Why something cannot be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// No such day, or not written so.
    #[error("is no day such as 2026-11-01")]
    Day,
    /// The first day is not before the end.
    #[error("`from` is the first day and `to` the day after the last: `from` must be before `to`")]
    Empty,
    /// Something unknown to group by.
    #[error("takes day, tenant, project, key and model, with commas between them")]
    Dimension,
    /// One of them twice.
    #[error("holds one of day, tenant, project, key and model twice")]
    Twice,
}

/// Which requests are looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Filter {
    /// From this day on, the number of days since 1970.
    #[serde(serialize_with = "as_text")]
    from: Option<i64>,
    /// Before this day.
    #[serde(serialize_with = "as_text")]
    to: Option<i64>,
    /// Of this tenant.
    tenant: Option<String>,
}

fn as_text<S: Serializer>(day: &Option<i64>, serializer: S) -> Result<S::Ok, S::Error> {
    day.map(day_text).serialize(serializer)
}

impl Filter {
    /// From a day on, before another, of a tenant.
    ///
    /// # Errors
    /// When no day is left.
    pub fn new(from: Option<i64>, to: Option<i64>, tenant: Option<String>) -> Result<Self, QueryError> {
        match (from, to) {
            (Some(from), Some(to)) if from >= to => Err(QueryError::Empty),
            _ => Ok(Self { from, to, tenant }),
        }
    }

    /// With the month of this moment, in UTC, where no day is named.
    #[must_use]
    pub fn or_month_of(self, now: SystemTime) -> Self {
        let first = || OffsetDateTime::from(now).date().replace_day(1).ok().map(day_of);
        let from = if self.from.is_none() && self.to.is_none() { first() } else { self.from };
        Self { from, ..self }
    }

    /// The first day, if there is one.
    #[must_use]
    pub fn from(&self) -> Option<i64> {
        self.from
    }

    /// The day after the last, if there is one.
    #[must_use]
    pub fn to(&self) -> Option<i64> {
        self.to
    }

    /// The tenant, where it is one's alone.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }
}

/// A day such as `2026-11-01`, as the number of days since 1970.
///
/// # Errors
/// When it is none.
pub fn parse_day(text: &str) -> Result<i64, QueryError> {
    // ISO 8601 has other ways to write a day, too.
    let is_plain = text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let date = Date::parse(text, &Iso8601::DATE).ok().filter(|_| is_plain);
    date.map(day_of).filter(|day| day_text(*day) == text).ok_or(QueryError::Day)
}

/// The Julian day of 1970-01-01.
const EPOCH: i64 = 2_440_588;

fn day_of(date: Date) -> i64 {
    i64::from(date.to_julian_day()) - EPOCH
}

/// The day as it is read again; a number, where no calendar has it.
#[must_use]
pub fn day_text(day: i64) -> String {
    let julian = day.checked_add(EPOCH).and_then(|day| i32::try_from(day).ok());
    match julian.and_then(|julian| Date::from_julian_day(julian).ok()) {
        Some(date) => format!("{:04}-{:02}-{:02}", date.year(), u8::from(date.month()), date.day()),
        None => day.to_string(),
    }
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageQuery {
    /// What usage is grouped by.
    pub by: Vec<Dimension>,
    /// Of which requests.
    pub filter: Filter,
    /// How many groups there may be.
    pub groups_max: usize,
}

impl UsageQuery {
    /// What is grouped by unless something else is said.
    pub const BY: [Dimension; 2] = [Dimension::Tenant, Dimension::Model];

    /// Reads `tenant,model`; white space does not count.
    ///
    /// # Errors
    /// When something is unknown, or there twice.
    pub fn parse_by(text: &str) -> Result<Vec<Dimension>, QueryError> {
        let mut by = Vec::new();
        for name in text.split(',') {
            let dimension = Dimension::from_name(name.trim()).ok_or(QueryError::Dimension)?;
            if by.contains(&dimension) {
                return Err(QueryError::Twice);
            }
            by.push(dimension);
        }
        Ok(by)
    }
}

/// Sums over calls whose tokens are known or estimated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls.
    pub calls: u64,
    /// Of those, the ones whose tokens no upstream reported.
    pub estimated_calls: u64,
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Of those, the ones in the upstreams' caches.
    pub cached_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Of those, the ones that were thought and not said.
    pub reasoning_tokens: u64,
    /// What they cost; calls of models without a price cost nothing.
    pub cost: Usd,
}

impl Totals {
    /// What is counted, by the names that reports use.
    pub const COUNTS: [&str; 6] = [
        "calls",
        "estimated_calls",
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "reasoning_tokens",
    ];

    /// The counts, in this order.
    #[must_use]
    pub fn counts(&self) -> [u64; 6] {
        let Self { calls, estimated_calls, prompt_tokens, cached_tokens, .. } = *self;
        [calls, estimated_calls, prompt_tokens, cached_tokens, self.completion_tokens, self.reasoning_tokens]
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            estimated_calls: self.estimated_calls.saturating_add(other.estimated_calls),
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            cost: self.cost.plus(other.cost),
        }
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for (name, count) in Self::COUNTS.iter().zip(self.counts()) {
            map.serialize_entry(name, &count)?;
        }
        map.serialize_entry("cost_usd", &exact(self.cost))?;
        map.serialize_entry("cost_pico_usd", &self.cost.pico())
    }
}

/// An amount as a number of JSON, with all its decimals.
pub(super) fn exact(amount: Usd) -> Option<Box<RawValue>> {
    RawValue::from_string(amount.to_string()).ok()
}

impl Serialize for Totals {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.write(&mut map)?;
        map.end()
    }
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// What it is grouped by, in the order of the question; no project and no key where requests had none.
    pub names: Vec<Option<String>>,
    /// What was used.
    pub used: Totals,
}

/// The answer: groups in the order of their names, and the sum of all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageReport {
    /// What usage is grouped by.
    pub by: Vec<Dimension>,
    /// Of which requests.
    pub filter: Filter,
    /// The groups.
    pub rows: Vec<UsageRow>,
    /// Their sum.
    pub total: Totals,
}

struct Group<'a>(&'a [Dimension], &'a UsageRow);

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(by, row) = self;
        let mut map = serializer.serialize_map(None)?;
        for (dimension, name) in by.iter().zip(&row.names) {
            map.serialize_entry(dimension.name(), name)?;
        }
        row.used.write(&mut map)?;
        map.end()
    }
}

impl Serialize for UsageReport {
    /// For JSON: `{by, from, to, tenant, usage: [{…, calls, …}], total: {calls, …}}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shape<'a> {
            by: &'a [Dimension],
            #[serde(flatten)]
            filter: &'a Filter,
            usage: Vec<Group<'a>>,
            total: Totals,
        }
        let usage = self.rows.iter().map(|row| Group(&self.by, row)).collect();
        Shape { by: &self.by, filter: &self.filter, usage, total: self.total }.serialize(serializer)
    }
}
