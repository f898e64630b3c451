//! Reads `models`.

pub(super) mod headers;

use std::collections::BTreeMap;

use http::header;

use super::{AUTO, check_not_reserved, delivery, named};
use crate::config::Continuation;
use crate::config::base_url::{HttpBaseUrl, Scheme};
use crate::config::model::{
    ClientIdentity, FeatureSet, ModelConfig, Provider, ResponseModel, UpstreamTls, UsageMode,
};
use crate::config::price::{Price, TokenPrice};
use crate::config::value::{Fields, Value};

const OPENAI: &str = "https://api.openai.com/v1";

pub(super) fn models(value: &Value<'_>) -> BTreeMap<String, ModelConfig> {
    let mut models = BTreeMap::new();
    for (name, entry) in named(value, "model") {
        check_not_reserved(name, &entry);
        if name == AUTO {
            entry.error_at_name(
                "`auto` always means the tenant's default route",
                "call it otherwise".to_owned(),
            );
        }
        if let Some(model) = model(name, &entry) {
            models.insert(name.to_owned(), model);
        }
    }
    models
}

/// `None` only where the default address cannot be read, which it can: a broken field leaves a model with a default
/// in its place, so that its name is known to pools.
fn model(name: &str, value: &Value<'_>) -> Option<ModelConfig> {
    let mut model = ModelConfig::new(name, OPENAI.parse().ok()?);
    let Some(mut fields) = value.fields("a mapping such as `{base_url: …, api_key: …}`") else {
        return Some(model);
    };
    fields.read("provider", |value| value.choice(&[("openai", Provider::OpenAi)]));
    if let Some(base_urls) = fields.read("base_url", base_urls) {
        model.base_urls = base_urls;
    }
    if let Some(upstream_model) =
        fields.read("model", |value| value.text("the upstream's name for the model"))
    {
        upstream_model.clone_into(&mut model.upstream_model);
    }
    model.rated_as =
        fields.read("rated_as", |value| value.text("the name of a rated model").map(str::to_owned));
    model.elo = fields.read("elo", elo);
    model.price = fields.read("price", price);
    let mut tokens =
        |key| fields.read(key, |value| u32::try_from(value.count(1..=u64::from(u32::MAX))?).ok());
    model.context_tokens = tokens("context_tokens");
    model.max_output_tokens = tokens("max_output_tokens");
    model.features = fields.read("features", features);
    model.usage = fields
        .read("usage", |value| value.choice(&[("request", UsageMode::Request), ("as_is", UsageMode::AsIs)]))
        .unwrap_or(model.usage);
    let names = [("pool", ResponseModel::Pool), ("upstream", ResponseModel::Upstream)];
    model.response_model =
        fields.read("response_model", |value| value.choice(&names)).unwrap_or(model.response_model);
    connection(&mut fields, &mut model);
    fields.finish();
    Some(model)
}

fn connection(fields: &mut Fields<'_>, model: &mut ModelConfig) {
    way(fields, model);
    model.timeouts = fields.read("timeouts", delivery::timeouts).unwrap_or_default();
    model.health_check = fields.read("health_check", delivery::health_check);
    let continuations =
        [("none", Continuation::None), ("prefill", Continuation::Prefill), ("vllm", Continuation::Vllm)];
    model.continuation =
        fields.read("continuation", |value| value.choice(&continuations)).unwrap_or(model.continuation);
}

/// How it is called, whatever it is asked.
pub(super) fn way(fields: &mut Fields<'_>, model: &mut ModelConfig) {
    model.auth_header = fields.read("auth_header", headers::name).unwrap_or(header::AUTHORIZATION);
    model.api_key = fields.read("api_key", |value| headers::secret(value, "a key")).map(|(key, _)| key);
    model.headers = fields.take("headers").map(|value| headers::headers(&value, model)).unwrap_or_default();
    model.query = fields.read("query", headers::query);
    model.breaker = fields.read("breaker", delivery::breaker).unwrap_or_default();
    model.http2 = fields.read("http2", Value::boolean).unwrap_or(model.http2);
    if let Some(value) = fields.take("tls") {
        model.tls = tls(&value).unwrap_or_default();
        if model.base_urls.iter().any(|url| url.scheme() == Scheme::Http) {
            value.error_at_name(
                "means nothing for an http:// address",
                "write https:// in `base_url`".to_owned(),
            );
        }
    }
}

/// One, or a list of at least one.
pub(super) fn base_urls(value: &Value<'_>) -> Option<Vec<HttpBaseUrl>> {
    if value.is_list() {
        let urls = value.distinct("a list of at least one URL", base_url);
        return (!urls.is_empty()).then_some(urls);
    }
    Some(vec![base_url(value)?])
}

pub(super) fn base_url(value: &Value<'_>) -> Option<HttpBaseUrl> {
    let text = value.text("a URL such as https://api.openai.com/v1")?;
    match text.parse() {
        Ok(url) => Some(url),
        Err(error) => {
            let hint = "for example https://api.openai.com/v1; keys go into `api_key`, a query into `query`";
            value.error(format!("the URL {error}"), hint.to_owned());
            None
        }
    }
}

fn elo(value: &Value<'_>) -> Option<f64> {
    let elo = value.number()?;
    if !(0.0..=4000.0).contains(&elo) {
        value.error("is no rating on the Arena's scale", "for example 1250".to_owned());
        return None;
    }
    Some(elo)
}

fn price(value: &Value<'_>) -> Option<Price> {
    let mut fields = value.fields("USD per million tokens, `{input: 2.50, output: 10.00}`")?;
    let input = fields.require("input", "USD per million tokens of the prompt");
    let output = fields.require("output", "USD per million tokens of the answer");
    let (input, output) = (input.map(|value| token_price(&value)), output.map(|value| token_price(&value)));
    let kinds = ["cached_input", "reasoning", "audio_input", "audio_output"];
    let [cached_input, reasoning, audio_input, audio_output] =
        kinds.map(|kind| fields.read(kind, token_price));
    fields.finish();
    let flat = Price::flat(input??, output??);
    Some(Price {
        cached_input: cached_input.unwrap_or(flat.cached_input),
        reasoning: reasoning.unwrap_or(flat.reasoning),
        audio_input: audio_input.unwrap_or(flat.audio_input),
        audio_output: audio_output.unwrap_or(flat.audio_output),
        ..flat
    })
}

fn token_price(value: &Value<'_>) -> Option<TokenPrice> {
    const UNUSUAL_USD: f64 = 1000.0;
    let scalar = value.scalar("USD per million tokens")?;
    match TokenPrice::parse(scalar.text.trim()) {
        Ok(price) => {
            if price.usd_per_million() > UNUSUAL_USD {
                let hint = "prices are in USD per million tokens".to_owned();
                value.warning("is more than any model costs", hint);
            }
            Some(price)
        }
        Err(error) => {
            value.error(format!("{} {error}", scalar.shown()), "such as 2.50".to_owned());
            None
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Feature {
    Tools,
    Vision,
    JsonSchema,
    Audio,
}

/// An empty list says that the model can do none of them.
fn features(value: &Value<'_>) -> Option<FeatureSet> {
    let names = [
        ("tools", Feature::Tools),
        ("vision", Feature::Vision),
        ("json_schema", Feature::JsonSchema),
        ("audio", Feature::Audio),
    ];
    let mut features = FeatureSet::default();
    for item in value.items("a list such as `[tools, vision]`") {
        match item.choice(&names) {
            Some(Feature::Tools) => features.tools = true,
            Some(Feature::Vision) => features.vision = true,
            Some(Feature::JsonSchema) => features.json_schema = true,
            Some(Feature::Audio) => features.audio = true,
            None => {}
        }
    }
    Some(features)
}

fn tls(value: &Value<'_>) -> Option<UpstreamTls> {
    let mut fields = value.fields("a mapping of `ca_file`, `client_cert` and `client_key`")?;
    let ca_file = fields.read("ca_file", Value::file_path);
    let cert = fields.take("client_cert");
    let key = fields.take("client_key");
    if cert.is_some() != key.is_some() {
        let hint = "a client certificate needs both".to_owned();
        fields.of().error_at_name("has only one of `client_cert` and `client_key`", hint);
    }
    fields.finish();
    let (cert, key) = (cert.map(|value| value.file_path()), key.map(|value| value.file_path()));
    let client = cert.zip(key).and_then(|(cert, key)| Some(ClientIdentity { cert: cert?, key: key? }));
    Some(UpstreamTls { ca_file, client })
}
