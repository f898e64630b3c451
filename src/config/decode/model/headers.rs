//! Reads what goes with every request to a model: headers and query.

use http::{HeaderName, HeaderValue, header};

use crate::config::model::ModelConfig;
use crate::config::value::Value;
use crate::secret::Secret;

/// Headers that the gateway itself is in charge of.
const OWN_HEADERS: [HeaderName; 13] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// The name of a header that the gateway does not set by itself.
pub(super) fn name(value: &Value<'_>) -> Option<HeaderName> {
    let name = parse_name(value.text("the name of a header")?);
    if let Err(message) = &name {
        value.error(message.clone(), None);
    }
    name.ok()
}

fn parse_name(text: &str) -> Result<HeaderName, String> {
    let name: HeaderName = text.parse().map_err(|_| "is not the name of a header".to_owned())?;
    if OWN_HEADERS.contains(&name) {
        return Err(format!("the gateway sets `{name}` itself"));
    }
    Ok(name)
}

/// A secret that a header can carry.
pub(super) fn secret(value: &Value<'_>, expected: &str) -> Option<(Secret, HeaderValue)> {
    let secret = value.secret(expected)?;
    let Ok(mut header) = HeaderValue::from_str(secret.expose()) else {
        value.error("holds characters that a header cannot carry", None);
        return None;
    };
    header.set_sensitive(true);
    Some((secret, header))
}

/// The headers of every request to `model`, whose own key is known already.
pub(super) fn headers(value: &Value<'_>, model: &ModelConfig) -> Vec<(HeaderName, HeaderValue)> {
    read(value, |name| model.api_key.is_some() && *name == model.auth_header)
}

/// Headers beside which there is no key.
pub(in crate::config::decode) fn plain(value: &Value<'_>) -> Vec<(HeaderName, HeaderValue)> {
    read(value, |_| false)
}

fn read(value: &Value<'_>, carries_key: impl Fn(&HeaderName) -> bool) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for (key, entry) in value.entries("a mapping such as `{x-team: search}`") {
        let name = parse_name(key).and_then(|name| {
            if carries_key(&name) {
                return Err(format!("`{name}` carries the `api_key`"));
            }
            if headers.iter().any(|(earlier, _)| *earlier == name) {
                return Err(format!("`{name}` is set twice"));
            }
            Ok(name)
        });
        match name {
            Ok(name) => {
                headers.extend(secret(&entry, "the value of a header").map(|(_, header)| (name, header)));
            }
            Err(message) => entry.error_at_name(message, None),
        }
    }
    headers
}

/// A query; names and values may be anything, since they are percent-encoded.
pub(super) fn query(value: &Value<'_>) -> Option<Secret> {
    let mut query = String::new();
    for (name, entry) in value.entries("a mapping such as `{api-version: \"2024-10-21\"}`") {
        if !query.is_empty() {
            query.push('&');
        }
        percent_encode(name, &mut query);
        query.push('=');
        percent_encode(entry.secret("the value of a parameter")?.expose(), &mut query);
    }
    (!query.is_empty()).then(|| Secret::new(query))
}

fn percent_encode(text: &str, encoded: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
}
