//! What requests have used, added up as reports want it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::row::{Call, Row, UsedRow, day_of};

/// Day, tenant, project, key and model.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct UsageKey<'a>(
    pub(super) i64,
    pub(super) &'a str,
    pub(super) &'a str,
    pub(super) &'a str,
    pub(super) &'a str,
);

impl<'a> UsageKey<'a> {
    fn of(row: &'a Row, call: &'a Call) -> Self {
        let name = |name: &'a Option<String>| name.as_deref().unwrap_or_default();
        Self(day_of(row.arrived_ms), &row.tenant, name(&row.project), name(&row.key), &call.model)
    }
}

/// Calls, estimated ones, tokens of four kinds and cost, in the order of the table's columns; what is too much is the largest.
pub(super) fn sums<'a>(requests: &[&'a Row]) -> BTreeMap<UsageKey<'a>, [i64; 7]> {
    let mut sums: BTreeMap<UsageKey<'a>, [i64; 7]> = BTreeMap::new();
    for row in requests {
        for (call, used) in row.calls.iter().filter_map(|call| Some((call, call.used?))) {
            let sum = sums.entry(UsageKey::of(row, call)).or_default();
            for (sum, more) in sum.iter_mut().zip(counts(used)) {
                *sum = sum.saturating_add(more);
            }
        }
    }
    sums
}

fn counts(used: UsedRow) -> [i64; 7] {
    [
        1,
        i64::from(used.estimated),
        used.prompt_tokens,
        used.cached_tokens,
        used.completion_tokens,
        used.reasoning_tokens,
        used.cost_pico_usd.unwrap_or(0),
    ]
}
