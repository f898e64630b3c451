//! Reads `tenants`.

mod keys;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU64;

pub(super) use keys::admin_keys;
pub use keys::read_instant;
use keys::{Taken, check_labels, keys, open};

use super::{AUTO, named};
use crate::budget::{BudgetRule, Period};
use crate::config::model::ModelConfig;
use crate::config::route::{RouteChoice, RouteConfig, Selection};
use crate::config::tenant::{KeyConfig, TenantConfig, TenantLimits};
use crate::config::usd::Usd;
use crate::config::value::{Fields, Value};

/// What tenants may name.
pub(in crate::config) struct Names<'a> {
    models: &'a BTreeSet<&'a str>,
    /// Those without a price.
    unpriced: BTreeSet<&'a str>,
    routes: &'a BTreeMap<String, RouteConfig>,
    keys: KeysFrom,
}

/// Where keys of tenants come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum KeysFrom {
    /// The file lists them.
    File,
    /// The file may list some; tokens may stand for tenants, too.
    FileOrTokens,
    /// They are made beside the tenant, which lists none.
    Store,
}

impl<'a> Names<'a> {
    pub(in crate::config) fn of(
        models: &'a BTreeMap<String, ModelConfig>,
        names: &'a BTreeSet<&'a str>,
        routes: &'a BTreeMap<String, RouteConfig>,
        keys: KeysFrom,
    ) -> Self {
        let unpriced =
            models.iter().filter(|(_, model)| model.price.is_none()).map(|(name, _)| name.as_str());
        Self { models: names, unpriced: unpriced.collect(), routes, keys }
    }
}

pub(super) fn tenants(value: &Value<'_>, names: &Names<'_>) -> BTreeMap<String, TenantConfig> {
    let mut taken = Taken::default();
    let read = |(name, entry): (_, Value<'_>)| Some((name, tenant(name, &entry, names, &mut taken)?));
    named(value, "tenant")
        .into_iter()
        .filter_map(read)
        .map(|(name, tenant)| (name.to_owned(), tenant))
        .collect()
}

/// A tenant that no file lists; its keys come from the store.
pub(in crate::config) fn managed(name: &str, value: &Value<'_>, names: &Names<'_>) -> Option<TenantConfig> {
    tenant(name, value, names, &mut Taken::default())
}

fn tenant<'a>(
    name: &'a str,
    value: &Value<'_>,
    names: &Names<'_>,
    taken: &mut Taken<'a>,
) -> Option<TenantConfig> {
    let is_managed = names.keys == KeysFrom::Store;
    let mut fields = value.fields(if is_managed {
        "a mapping with `pool`"
    } else {
        "a mapping with `keys` and `pool`"
    })?;
    let (open, own_keys) = if is_managed {
        refuse_keys(&mut fields, &["keys", "open"]);
        (false, None)
    } else {
        (open(name, &mut fields, taken), fields.take("keys"))
    };
    let has_keys = own_keys.is_some();
    let mut keys = own_keys.map_or_else(Vec::new, |value| keys(name, &value, open, taken));
    let projects = fields.take("projects").map_or_else(BTreeMap::new, |value| {
        let read = |(project, entry): (&str, Value<'_>)| {
            (project.to_owned(), self::project((name, project), &entry, (taken, &mut keys), names.keys))
        };
        named(&value, "project").into_iter().map(read).collect()
    });
    if !has_keys && projects.is_empty() && !open && names.keys == KeysFrom::File {
        let hint = "`keys: [{hash: \"sha256:…\"}]`, or `open: true` in development".to_owned();
        value.error_at_name("lacks `keys`", hint);
    }
    check_labels(value, &keys);
    let budgets = fields.read("budget", budgets).unwrap_or_default();
    let has_budget = !budgets.is_empty()
        || projects.values().any(|budgets| !budgets.is_empty())
        || keys.iter().any(|key| !key.budgets.is_empty());
    let pool = fields.require("pool", "the names of the models that it may use");
    let pool = pool.map_or_else(Vec::new, |value| pool_names(&value, names));
    if has_budget {
        warn_of_unpriced(value, &pool, &names.unpriced);
    }
    let default_route = default_route(&mut fields, &pool, names).unwrap_or_default();
    let routes = fields.take("routes");
    let allowed_routes = routes.as_ref().and_then(|value| allowed_routes(value, names));
    if let (Some(value), Some(allowed)) = (&routes, &allowed_routes)
        && !default_route.is_empty()
        && !allowed.contains(&default_route)
    {
        value.error(
            format!("lacks the default route `{default_route}`"),
            "add it, or give another `default_route`".to_owned(),
        );
    }
    let selection = selection(&mut fields);
    let default_model = fields.read("default_model", |value| default_model(value, &pool));
    let limits = fields.read("limits", limits);
    let tags = fields.read("tags", tags).unwrap_or_default();
    let keep_prompts = fields.read("keep_prompts", Value::boolean).unwrap_or(false);
    fields.finish();
    Some(TenantConfig {
        keys,
        open,
        pool,
        default_route,
        allowed_routes,
        selection,
        default_model,
        budgets,
        projects,
        limits,
        tags,
        keep_prompts,
    })
}

/// `{team: search, cost_centre: "4711"}`.
fn tags(value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    const TAGS_MAX: usize = 32;
    const CHARACTERS_MAX: usize = 256;
    let tags: BTreeMap<String, String> = named(value, "tag")
        .into_iter()
        .filter_map(|(name, value)| {
            let text = value.text("a text")?;
            if text.chars().count() > CHARACTERS_MAX {
                value.error(format!("has more than {CHARACTERS_MAX} characters"), None);
            }
            Some((name.to_owned(), text.to_owned()))
        })
        .collect();
    if tags.len() > TAGS_MAX {
        value.error(format!("has more than {TAGS_MAX} tags"), None);
    }
    Some(tags)
}

fn refuse_keys(fields: &mut Fields<'_>, refused: &[&'static str]) {
    for key in refused {
        if let Some(value) = fields.take(key) {
            let hint = "its keys are made beside it: `pointsman keys create`, or POST /admin/keys".to_owned();
            value.error_at_name("only a tenant of the configuration's file has this", hint);
        }
    }
}

/// What a model without a price costs cannot be held of a budget.
fn warn_of_unpriced(tenant: &Value<'_>, pool: &[String], unpriced: &BTreeSet<&str>) {
    let without: Vec<&str> =
        pool.iter().map(String::as_str).filter(|model| unpriced.contains(model)).collect();
    if !without.is_empty() {
        let hint = "give it a `price`; one that is free has `{input: 0, output: 0}`".to_owned();
        tenant.warning(
            format!("has a budget, so that a model without a price is never asked: {}", without.join(", ")),
            hint,
        );
    }
}

/// The budgets of a project, whose keys are added to the tenant's.
fn project<'a>(
    (tenant, name): (&'a str, &str),
    value: &Value<'_>,
    (taken, all): (&mut Taken<'a>, &mut Vec<KeyConfig>),
    keys_from: KeysFrom,
) -> Vec<BudgetRule> {
    let Some(mut fields) = value.fields("a mapping with `keys` and `budget`") else { return Vec::new() };
    let own_keys = if keys_from == KeysFrom::Store {
        refuse_keys(&mut fields, &["keys"]);
        None
    } else {
        fields.require("keys", "the keys that belong to it: `keys: [{hash: \"sha256:…\"}]`")
    };
    let keys = own_keys.map_or_else(Vec::new, |value| keys(tenant, &value, false, taken));
    all.extend(keys.into_iter().map(|key| KeyConfig { project: Some(name.to_owned()), ..key }));
    let budgets = fields.read("budget", budgets).unwrap_or_default();
    fields.finish();
    budgets
}

/// A rule in place of the routes' own.
fn selection(fields: &mut Fields<'_>) -> Option<Selection> {
    let share = fields.take("strong_share");
    let threshold = fields.take("threshold");
    if let (Some(_), Some(second)) = (&share, &threshold) {
        second.error_at_name(
            "is a second rule to choose by",
            "give it only one of `strong_share` and `threshold`".to_owned(),
        );
    }
    let share = share.and_then(|value| value.probability()).map(Selection::StrongShare);
    share.or_else(|| threshold.and_then(|value| value.probability()).map(Selection::Threshold))
}

/// One budget, or a list of them: one for each period at most.
fn budgets(value: &Value<'_>) -> Option<Vec<BudgetRule>> {
    if !value.is_list() {
        return Some(vec![budget(value)?]);
    }
    let mut budgets: Vec<BudgetRule> = Vec::new();
    for item in value.items("a list of budgets") {
        let Some(budget) = budget(&item) else { continue };
        if budgets.iter().any(|other| other.per == budget.per) {
            item.error(
                format!("is a second budget per {}", budget.per.name()),
                "one of them is enough".to_owned(),
            );
        } else {
            budgets.push(budget);
        }
    }
    Some(budgets)
}

fn budget(value: &Value<'_>) -> Option<BudgetRule> {
    let mut fields = value.fields("`{usd: 200, per: month}`")?;
    let limit = fields.require("usd", "the most that may be spent, in USD");
    let per = fields.require("per", "`day`, `month` or `total`");
    fields.finish();
    let (limit, per) = (
        limit.map(|value| usd(&value)),
        per.map(|value| value.choice(&Period::ALL.map(|per| (per.name(), per)))),
    );
    Some(BudgetRule { limit: limit??, per: per?? })
}

fn usd(value: &Value<'_>) -> Option<Usd> {
    let scalar = value.scalar("USD")?;
    match Usd::parse(scalar.text.trim()) {
        Ok(amount) => Some(amount),
        Err(error) => {
            value.error(format!("{} {error}", scalar.shown()), "such as 200 or 0.50".to_owned());
            None
        }
    }
}

/// Names, and patterns such as `openai/*`, which stand for every model whose name fits.
fn pool_names(value: &Value<'_>, names: &Names<'_>) -> Vec<String> {
    let read = |item: &Value<'_>| {
        let written = item.text("the name of a model")?;
        if !written.contains('*') {
            return item.name("model", names.models).map(str::to_owned);
        }
        if !names.models.iter().any(|model| fits(written, model)) {
            item.error("no model fits this pattern", item.hint("", names.models.iter().copied()));
        }
        Some(written.to_owned())
    };
    let mut pool: Vec<String> = Vec::new();
    for written in value.distinct("a list of at least one model", read) {
        // A name that was complained about fits none.
        for model in names.models.iter().filter(|model| fits(&written, model)) {
            if !pool.iter().any(|known| known == model) {
                pool.push((*model).to_owned());
            }
        }
    }
    pool
}

/// Whether a name fits a pattern, in which each `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    while let Some(part) = parts.next() {
        // The last part must be the end; any other is taken where it comes first.
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else { return false };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    rest.is_empty()
}

/// The routes that the tenant may use; its default route must be one.
fn allowed_routes(value: &Value<'_>, names: &Names<'_>) -> Option<BTreeSet<String>> {
    let routes: BTreeSet<&str> = names.routes.keys().map(String::as_str).collect();
    let allowed = value.distinct("a list of at least one route", |item| item.name("route", &routes));
    (!allowed.is_empty()).then(|| allowed.into_iter().map(str::to_owned).collect())
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

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn patterns() {
        for (pattern, name) in [
            ("openai/*", "openai/gpt-4o"),
            ("*", "m"),
            ("*-mini", "gpt-4o-mini"),
            ("a*b*c", "a-b-b-c"),
            ("m*", "m"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("openai/*", "azure/gpt-4o"),
            ("*-mini", "gpt-4o-mini-2"),
            ("a*b*c", "a-c"),
            ("ab*ba", "aba"),
            ("m*x", "m"),
        ] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }
}
