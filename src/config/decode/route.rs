//! Reads `routes`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{AUTO, Models, check_not_reserved, delivery::delivery, named, served::served};
use crate::config::probability::Probability;
use crate::config::route::{
    EmbedderConfig, RouteChoice, RouteConfig, RoutedConfig, RouterKind, RoutingText, Selection,
};
use crate::config::value::{Fields, Value};

/// The keys of a route with a router; of a static one they mean nothing.
const ROUTER_KEYS: [&str; 11] = [
    "router",
    "artifact",
    "embedder",
    "decoder",
    "served",
    "threshold",
    "strong_share",
    "utility",
    "budget_usd_per_1k",
    "timeout",
    "text",
];

/// What there is when the file has no `routes`.
pub(super) fn standard() -> BTreeMap<String, RouteConfig> {
    BTreeMap::from([(AUTO.to_owned(), RouteConfig::standard())])
}

pub(super) fn routes(value: &Value<'_>, models: &Models<'_>) -> BTreeMap<String, RouteConfig> {
    let mut routes = BTreeMap::new();
    for (name, entry) in named(value, "route") {
        check_not_reserved(name, &entry);
        if models.names.contains(name) {
            let hint = "requests could not tell them apart".to_owned();
            entry.error_at_name("a model has the same name", hint);
        }
        // A broken route keeps its place, so that its name is known to tenants.
        let route = route(&entry, models).unwrap_or_else(RouteConfig::standard);
        routes.insert(name.to_owned(), route);
    }
    routes
}

fn route(value: &Value<'_>, models: &Models<'_>) -> Option<RouteConfig> {
    let mut fields = value.fields("`{router: …}` or `{models: […]}`")?;
    let delivery = delivery(&mut fields);
    if models.names.len() > 1 && delivery.request_timeout <= models.first_token_min {
        let hint =
            "give the models a shorter `timeouts: {first_token: …}`, or the route a longer request_timeout";
        let message = "its request_timeout leaves no time for a second model when the first one is silent: no model's `timeouts.first_token` is shorter";
        value.warning(message, hint.to_owned());
    }
    let choice = match fields.take("models") {
        Some(listed) => RouteChoice::Static { models: fixed(&mut fields, &listed, models.names) },
        None => RouteChoice::Routed(routed(&mut fields)),
    };
    fields.finish();
    Some(RouteConfig { choice, delivery })
}

fn fixed(fields: &mut Fields<'_>, listed: &Value<'_>, models: &BTreeSet<&str>) -> Vec<String> {
    for key in ROUTER_KEYS {
        if let Some(value) = fields.take(key) {
            let hint = "a route has either a router or a list of models".to_owned();
            value.error_at_name("means nothing beside `models`", hint);
        }
    }
    listed.distinct("a list of at least one model", |item| item.name("model", models).map(str::to_owned))
}

fn routed(fields: &mut Fields<'_>) -> RoutedConfig {
    let mut route = RoutedConfig::standard();
    if let Some(value) = fields.require("router", "`router: mf`, or `models: […]` for a fixed order") {
        route.router = value.choice(&RouterKind::ALL.map(|kind| (kind.name(), kind))).unwrap_or(route.router);
    }
    if let Some(value) = fields.take("artifact") {
        route.artifact = value.file_path();
        if route.router == RouterKind::Random {
            value.error_at_name("`random` has no artefact", None);
        }
    }
    route.embedder = text_reader(fields, route.router).unwrap_or(route.embedder);
    route.selection = selection(fields).unwrap_or(route.selection);
    let longest = Duration::from_secs(60);
    route.timeout =
        fields.read("timeout", |value| value.duration(longest)).unwrap_or_else(|| route.timeout_of_kind());
    let texts = [
        ("last_user", RoutingText::LastUser),
        ("first_user", RoutingText::FirstUser),
        ("conversation", RoutingText::Conversation),
    ];
    route.text = fields.read("text", |value| value.choice(&texts)).unwrap_or(route.text);
    route
}

/// What reads texts for the router, if that is said.
fn text_reader(fields: &mut Fields<'_>, router: RouterKind) -> Option<EmbedderConfig> {
    let keys = ["embedder", "decoder", "served"];
    let given: Vec<(&str, Value<'_>)> =
        keys.into_iter().filter_map(|key| Some((key, fields.take(key)?))).collect();
    let of_language = router == RouterKind::Causal;
    if given.is_empty() && of_language {
        let hint = "`decoder: PATH`, the folder or GGUF file of the language model that the artefact was trained with, or `served: {…}`, a server of it";
        fields.of().error_at_name("lacks `decoder`", hint.to_owned());
    }
    for (key, value) in given.iter().skip(1) {
        let other = given.first().map_or("", |(key, _)| key);
        value.error_at_name("is a second one to read texts", format!("keep `{other}` or `{key}`"));
    }
    let (key, value) = given.into_iter().next()?;
    let name = router.name();
    match key {
        "embedder" => {
            if !router.reads_embeddings() {
                value.error_at_name(format!("`{name}` reads no embeddings"), None);
            }
            embedder(&value)
        }
        "decoder" if of_language => value.file_path().map(EmbedderConfig::Decoder),
        "decoder" => {
            value.error_at_name(format!("`{name}` reads no decoder"), None);
            None
        }
        _ if of_language || router.reads_embeddings() => {
            served(&value, router).map(|served| EmbedderConfig::Served(Box::new(served)))
        }
        _ => {
            value.error_at_name(format!("`{name}` reads no text"), None);
            None
        }
    }
}

/// A word, or a mapping with the folder of an encoder.
fn embedder(value: &Value<'_>) -> Option<EmbedderConfig> {
    if !value.is_map() {
        return value.choice(&[("static", ())]).map(|()| EmbedderConfig::Static);
    }
    let mut fields = value.fields("`static` or `{encoder: DIR}`")?;
    let folder = fields.require("encoder", "`{encoder: DIR}`, the folder that `pointsman models pull` fills");
    fields.finish();
    folder?.folder_path().map(EmbedderConfig::Encoder)
}

/// Exactly one rule.
fn selection(fields: &mut Fields<'_>) -> Option<Selection> {
    const RULES: &str = "one of `threshold`, `strong_share`, `utility` and `budget_usd_per_1k`";
    let rules = ["threshold", "strong_share", "utility", "budget_usd_per_1k"];
    let given: Vec<_> = rules.into_iter().filter_map(|key| Some((key, fields.take(key)?))).collect();
    if given.is_empty() {
        fields.of().error_at_name("lacks a rule to choose by", format!("give it {RULES}"));
    }
    for (_, value) in given.iter().skip(1) {
        value.error_at_name("is a second rule to choose by", format!("give it only {RULES}"));
    }
    let read: Vec<_> = given.iter().map(|(key, value)| rule(key, value)).collect();
    read.into_iter().next()?
}

fn rule(key: &str, value: &Value<'_>) -> Option<Selection> {
    let share = |selection: fn(Probability) -> Selection| value.probability().map(selection);
    match key {
        "threshold" => share(Selection::Threshold),
        "strong_share" => share(Selection::StrongShare),
        "utility" => positive(value, true).map(Selection::Utility),
        _ => positive(value, false).map(Selection::BudgetUsdPer1k),
    }
}

fn positive(value: &Value<'_>, or_zero: bool) -> Option<f64> {
    let number = value.number()?;
    if number < 0.0 {
        value.error("is negative", None);
        return None;
    }
    if number <= 0.0 && !or_zero {
        value.error("is zero", "no request is free of cost".to_owned());
        return None;
    }
    Some(number)
}
