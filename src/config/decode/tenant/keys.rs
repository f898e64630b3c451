//! Reads keys: operators' and tenants'.

use std::collections::{BTreeSet, HashMap};
use std::time::SystemTime;

use time::{
    Date, OffsetDateTime,
    format_description::well_known::{Iso8601, Rfc3339},
};

use super::budgets;
use crate::config::decode::check_name;
use crate::config::tenant::{KeyConfig, KeyDigest};
use crate::config::value::{Fields, Value};

/// What the tenants read so far have taken.
#[derive(Default)]
pub(super) struct Taken<'a> {
    keys: HashMap<KeyDigest, &'a str>,
    open: Option<&'a str>,
}

/// The operators' own keys.
pub(in crate::config::decode) fn admin_keys(value: &Value<'_>) -> Option<Vec<KeyConfig>> {
    let keys = keys("admin", value, false, &mut Taken::default());
    for key in keys.iter().filter(|key| !key.budgets.is_empty()) {
        value.error(format!("operators have no budget, and `{}` has one", key.label), None);
    }
    check_labels(value, &keys);
    Some(keys)
}

/// Budgets and the ledger tell keys apart by their names.
pub(super) fn check_labels(tenant: &Value<'_>, keys: &[KeyConfig]) {
    let mut labels = BTreeSet::new();
    for key in keys {
        if !labels.insert(&key.label) {
            tenant.error_at_name(
                format!("has two keys named `{}`", key.label),
                "give each its own `name`".to_owned(),
            );
        }
    }
}

pub(super) fn open<'a>(name: &'a str, fields: &mut Fields<'_>, taken: &mut Taken<'a>) -> bool {
    let Some(value) = fields.take("open") else { return false };
    let open = value.boolean().unwrap_or(false);
    if open {
        match taken.open {
            Some(other) => value.error(
                format!("tenant `{other}` is open already"),
                "a request without a key can belong to one tenant only".to_owned(),
            ),
            None => taken.open = Some(name),
        }
    }
    open
}

pub(super) fn keys<'a>(
    name: &'a str,
    value: &Value<'_>,
    open: bool,
    taken: &mut Taken<'a>,
) -> Vec<KeyConfig> {
    const KEYS: &str = "a list such as `[{hash: \"sha256:…\"}]`";
    let items = value.items(KEYS);
    if items.is_empty() && value.is_list() && !open {
        value.error("is empty: nobody could call", "add a key, or `open: true` in development".to_owned());
    }
    let mut keys = Vec::new();
    for item in items {
        let Some(key) = key(&item) else { continue };
        match taken.keys.insert(key.digest, name) {
            None => keys.push(key),
            Some(other) if other == name => item.error("is the same key again", None),
            Some(other) => {
                let hint = "a request could not be told apart".to_owned();
                item.error(format!("tenant `{other}` has the same key"), hint);
            }
        }
    }
    keys
}

fn key(value: &Value<'_>) -> Option<KeyConfig> {
    let mut fields = value.fields("`{hash: \"sha256:…\"}` or `{key: \"…\"}`")?;
    let digest = digest(value, &mut fields);
    let name = fields.take("name").and_then(|value| {
        let name = value.text("a name for the key")?;
        check_name(name, &value);
        Some(name.to_owned())
    });
    let expires = fields.read("expires", instant);
    let budgets = fields.read("budget", budgets).unwrap_or_default();
    fields.finish();
    let key = KeyConfig::new(digest?);
    Some(KeyConfig { label: name.unwrap_or(key.label), expires, budgets, ..key })
}

/// The beginning of a day in UTC, or a moment.
fn instant(value: &Value<'_>) -> Option<SystemTime> {
    let scalar = value.scalar("a date such as 2027-01-31")?;
    match read_instant(&scalar.text) {
        Some(instant) => Some(instant),
        None => {
            let hint =
                "such as 2027-01-31, from whose beginning in UTC it is of no use, or 2027-01-31T18:00:00Z";
            value.error(format!("{} is no date", scalar.shown()), hint.to_owned());
            None
        }
    }
}

/// Reads the beginning of a day in UTC, or a moment.
#[must_use]
pub fn read_instant(text: &str) -> Option<SystemTime> {
    let text = text.trim();
    let day = Date::parse(text, &Iso8601::DATE).map(|day| day.midnight().assume_utc());
    day.or_else(|_| OffsetDateTime::parse(text, &Rfc3339)).ok().map(SystemTime::from)
}

/// Neither the key nor what may be one by mistake is ever shown.
fn digest(value: &Value<'_>, fields: &mut Fields<'_>) -> Option<KeyDigest> {
    let (hash, key) = (fields.take("hash"), fields.take("key"));
    match (hash, key) {
        (Some(hash), None) => {
            let digest = KeyDigest::parse(hash.text("`sha256:` and 64 hexadecimal digits")?);
            if digest.is_none() {
                let hint = "`printf %s \"$KEY\" | sha256sum` prints the digits".to_owned();
                hash.error("is not `sha256:` and 64 hexadecimal digits", hint);
            }
            digest
        }
        (None, Some(key)) => {
            let secret = key.secret("a key")?;
            if !secret.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
                key.error("holds a space or another character that a bearer key cannot hold", None);
                return None;
            }
            Some(KeyDigest::of(secret.expose()))
        }
        (hash, _) => {
            let message = if hash.is_some() { "has both `hash` and `key`" } else { "lacks `hash` or `key`" };
            value.error(message, "give it one of them".to_owned());
            None
        }
    }
}
