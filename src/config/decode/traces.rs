//! Reads `traces`.

use super::model::{base_url, headers};
use crate::config::{probability::Probability, traces::TracesConfig, value::Value};

/// What a gateway calls itself that is not told otherwise.
const SERVICE: &str = "pointsman";

/// A collector's URL, or a mapping with more.
pub(super) fn traces(value: &Value<'_>) -> Option<TracesConfig> {
    if !value.is_map() {
        return Some(TracesConfig {
            endpoint: base_url(value)?,
            headers: Vec::new(),
            sample: Probability::ONE,
            service: SERVICE.to_owned(),
        });
    }
    let mut fields =
        value.fields("the URL of a collector, or `{endpoint: \"http://collector:4318\", sample: 0.1}`")?;
    let endpoint =
        fields.require("endpoint", "a collector that takes OTLP over HTTP: `http://collector:4318`");
    let headers = fields.take("headers").map(|value| headers::plain(&value)).unwrap_or_default();
    let sample = fields.read("sample", Value::probability).unwrap_or(Probability::ONE);
    let service = fields.read("service", |value| value.text("a name")).unwrap_or(SERVICE).to_owned();
    fields.finish();
    Some(TracesConfig { endpoint: base_url(&endpoint?)?, headers, sample, service })
}
