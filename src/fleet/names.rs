//! What accounts and amounts are called in Redis.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::board::Epoch;
use crate::{
    budget::{AccountName, Holder, Period},
    config::Usd,
};

/// The largest amount that scripts count exactly, in 10⁻⁶ USD: 2⁵³.
pub(super) const MICROS_MAX: u64 = 1 << 53;

/// How long an account is kept after its period, and one for ever after it was last told of. One that is lost is made anew.
const KEPT: Duration = Duration::from_secs(2 * 86_400);

pub(super) fn micros(amount: Usd) -> u64 {
    amount.in_micros().min(MICROS_MAX)
}

pub(super) fn keep_seconds(per: Period, now: SystemTime) -> u64 {
    per.until_next(now).map_or(KEPT, |left| left + KEPT).as_secs()
}

/// The name of an account's hash. Its fields: `b`, what was spent by nobody of the epoch; `l`, by those who have left; of each
/// process `g`, what was granted to it, `u`, what of that it may have spent, and `s`, what it has.
pub(super) fn key(epoch: &Epoch, name: &AccountName, number: i64) -> String {
    format!("pointsman:{}:budget:{number}:{}", epoch.id, label(name))
}

/// An account in every period.
pub(super) fn label(name: &AccountName) -> String {
    let AccountName { holder: Holder { tenant, project, key }, per } = name;
    let part = |mark: &str, part: Option<&Arc<str>>| {
        part.map_or_else(String::new, |part| {
            format!(":{mark}={}", utf8_percent_encode(part, NON_ALPHANUMERIC))
        })
    };
    let parts = [part("tenant", Some(tenant)), part("project", project.as_ref()), part("key", key.as_ref())];
    format!("{}{}", per.name(), parts.concat())
}

/// The account of a [`label`].
pub(super) fn read_label(label: &str) -> Option<AccountName> {
    let mut parts = label.split(':');
    let per = parts.next()?;
    let per = [Period::Day, Period::Month, Period::Total].into_iter().find(|one| one.name() == per)?;
    let (mut tenant, mut project, mut key) = (None, None, None);
    for part in parts {
        let (mark, text) = part.split_once('=')?;
        let text: Arc<str> = percent_decode_str(text).decode_utf8().ok()?.into();
        let place = match mark {
            "tenant" => &mut tenant,
            "project" => &mut project,
            "key" => &mut key,
            _ => return None,
        };
        *place = Some(text);
    }
    Some(AccountName { holder: Holder { tenant: tenant?, project, key }, per })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn an_account_is_found_again_by_its_label(
            tenant in ".{1,12}", project in proptest::option::of(".{0,12}"), key in proptest::option::of(".{0,12}"), per in 0..3_usize,
        ) {
            let holder = Holder { tenant: tenant.into(), project: project.map(Into::into), key: key.map(Into::into) };
            let name = AccountName { holder, per: [Period::Day, Period::Month, Period::Total][per] };
            prop_assert_eq!(read_label(&label(&name)), Some(name));
        }

        #[test]
        fn any_text_is_a_label_or_none(text in "(day|month|total|x)?(:(tenant|project|key)?=?[a-z%:=]{0,4}){0,4}") {
            if let Some(name) = read_label(&text) {
                prop_assert_eq!(read_label(&label(&name)), Some(name));
            }
        }
    }
}
