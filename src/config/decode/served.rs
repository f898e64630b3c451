//! Reads `served` of a route.

use super::model;
use crate::config::model::ModelConfig;
use crate::config::route::RouterKind;
use crate::config::served::{ServedApi, ServedConfig};
use crate::config::value::Value;

/// The server of a router of this kind, which reads something.
pub(super) fn served(value: &Value<'_>, router: RouterKind) -> Option<ServedConfig> {
    let mut fields =
        value.fields("a mapping such as `{base_url: http://localhost:8000/v1, model: router}`")?;
    let base_urls =
        fields.require("base_url", "the URL that its paths are below, such as http://localhost:8000/v1");
    let base_urls = base_urls.and_then(|value| model::base_urls(&value));
    let name = fields.read("model", |value| value.text("the server's name for the model"));
    let apis = [ServedApi::Completions, ServedApi::Chat, ServedApi::Embeddings, ServedApi::Embed];
    let apis: Vec<ServedApi> =
        apis.into_iter().filter(|api| api.labels() == (router == RouterKind::Causal)).collect();
    let named: Vec<(&str, ServedApi)> = apis.iter().map(|api| (api.name(), *api)).collect();
    let api = fields.read("api", |value| value.choice(&named)).or_else(|| apis.first().copied())?;
    let tokenizer = fields.take("tokenizer").and_then(|value| {
        if api == ServedApi::Completions {
            return value.file_path();
        }
        value.error_at_name(format!("`api: {}` takes no tokens", api.name()), None);
        None
    });
    if name.is_none() && api != ServedApi::Embed {
        fields.of().error_at_name("lacks `model`", "the server's name for the model".to_owned());
    }
    let base_urls = base_urls.unwrap_or_default();
    let mut upstream = ModelConfig { base_urls, ..ModelConfig::nowhere(name.unwrap_or_default()) };
    model::way(&mut fields, &mut upstream);
    fields.finish();
    (!upstream.base_urls.is_empty()).then_some(ServedConfig { upstream, api, tokenizer })
}
