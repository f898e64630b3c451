//! Reads `tenants`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;

use super::{AUTO, named};
use crate::config::route::{RouteChoice, RouteConfig};
use crate::config::tenant::{KeyDigest, TenantConfig, TenantLimits};
use crate::config::value::{Fields, Value};

/// What the tenants read so far have taken.
#[derive(Default)]
struct Taken<'a> {
    keys: HashMap<KeyDigest, &'a str>,
    open: Option<&'a str>,
}

/// What tenants may name.
struct Names<'a> {
    models: &'a BTreeSet<&'a str>,
    routes: &'a BTreeMap<String, RouteConfig>,
}

pub(super) fn tenants(
    value: &Value<'_>,
    models: &BTreeSet<&str>,
    routes: &BTreeMap<String, RouteConfig>,
) -> BTreeMap<String, TenantConfig> {
    let (mut taken, names) = (Taken::default(), Names { models, routes });
    let read = |(name, entry): (_, Value<'_>)| Some((name, tenant(name, &entry, &names, &mut taken)?));
    named(value, "tenant")
        .into_iter()
        .filter_map(read)
        .map(|(name, tenant)| (name.to_owned(), tenant))
        .collect()
}

fn tenant<'a>(
    name: &'a str,
    value: &Value<'_>,
    names: &Names<'_>,
    taken: &mut Taken<'a>,
) -> Option<TenantConfig> {
    let mut fields = value.fields("a mapping with `keys` and `pool`")?;
    let open = open(name, &mut fields, taken);
    let keys = match fields.take("keys") {
        Some(value) => keys(name, &value, open, taken),
        None => {
            if !open {
                let hint = "`keys: [{hash: \"sha256:…\"}]`, or `open: true` in development".to_owned();
                value.error_at_name("lacks `keys`", hint);
            }
            Vec::new()
        }
    };
    let pool = fields.require("pool", "the names of the models that it may use");
    let pool = pool.map_or_else(Vec::new, |value| pool_names(&value, names));
    let default_route = default_route(&mut fields, &pool, names).unwrap_or_default();
    let default_model = fields.read("default_model", |value| default_model(value, &pool));
    let limits = fields.read("limits", limits);
    fields.refuse("budget", "remove it: nothing would enforce it");
    fields.finish();
    Some(TenantConfig { keys, open, pool, default_route, default_model, limits })
}

fn open<'a>(name: &'a str, fields: &mut Fields<'_>, taken: &mut Taken<'a>) -> bool {
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

fn keys<'a>(name: &'a str, value: &Value<'_>, open: bool, taken: &mut Taken<'a>) -> Vec<KeyDigest> {
    const KEYS: &str = "a list such as `[{hash: \"sha256:…\"}]`";
    let items = value.items(KEYS);
    if items.is_empty() && value.is_list() && !open {
        value.error("is empty: nobody could call", "add a key, or `open: true` in development".to_owned());
    }
    let mut keys = Vec::new();
    for item in items {
        let Some(digest) = key(&item) else { continue };
        match taken.keys.insert(digest, name) {
            None => keys.push(digest),
            Some(other) if other == name => item.error("is the same key again", None),
            Some(other) => {
                let hint = "a request could not be told apart".to_owned();
                item.error(format!("tenant `{other}` has the same key"), hint);
            }
        }
    }
    keys
}

/// Neither the key nor what may be one by mistake is ever shown.
fn key(value: &Value<'_>) -> Option<KeyDigest> {
    let mut fields = value.fields("`{hash: \"sha256:…\"}` or `{key: \"…\"}`")?;
    let (hash, key) = (fields.take("hash"), fields.take("key"));
    fields.finish();
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

fn pool_names(value: &Value<'_>, names: &Names<'_>) -> Vec<String> {
    value.distinct("a list of at least one model", |item| item.name("model", names.models).map(str::to_owned))
}

fn default_route(fields: &mut Fields<'_>, pool: &[String], names: &Names<'_>) -> Option<String> {
    let routes: BTreeSet<&str> = names.routes.keys().map(String::as_str).collect();
    let value = fields.take("default_route");
    let name = match (&value, routes.first()) {
        (Some(value), _) => value.name("route", &routes)?,
        (None, _) if routes.contains(AUTO) => AUTO,
        (None, Some(only)) if routes.len() == 1 => only,
        // That there is no route at all was reported.
        (None, None) => return None,
        (None, Some(_)) => {
            let hint = fields.of().hint("", routes.iter().copied());
            fields.of().error_at_name("lacks `default_route`, and there is no route `auto`", hint);
            return None;
        }
    };
    if let Some(RouteChoice::Static { models }) = names.routes.get(name).map(|route| &route.choice)
        && !pool.is_empty()
        && !models.iter().any(|model| pool.contains(model))
    {
        let hint = format!("route `{name}` lists: {}", models.join(", "));
        value
            .as_ref()
            .unwrap_or_else(|| fields.of())
            .error("the default route has no model of the pool", hint);
    }
    Some(name.to_owned())
}

fn limits(value: &Value<'_>) -> Option<TenantLimits> {
    const A_MINUTE_MAX: u64 = 1_000_000_000;
    const CONCURRENCY_MAX: u64 = 1_000_000;
    let mut fields = value.fields("a mapping such as `{rpm: 600, tpm: 400000, concurrency: 64}`")?;
    let (mut given, mut right) = (false, true);
    let mut limit = |key, most| {
        let value = fields.take(key)?;
        given = true;
        let limit = value.count(1..=most).and_then(NonZeroU64::new);
        right &= limit.is_some();
        limit
    };
    let rpm = limit("rpm", A_MINUTE_MAX);
    let tpm = limit("tpm", A_MINUTE_MAX);
    let concurrency = limit("concurrency", CONCURRENCY_MAX);
    if !given {
        let hint = "give it `rpm`, `tpm` or `concurrency`, or remove it".to_owned();
        value.error_at_name("sets no limit", hint);
    }
    fields.finish();
    (given && right).then_some(TenantLimits { rpm, tpm, concurrency })
}

fn default_model(value: &Value<'_>, pool: &[String]) -> Option<String> {
    let pool: BTreeSet<&str> = pool.iter().map(String::as_str).collect();
    value.name("model of the pool", &pool).map(str::to_owned)
}
