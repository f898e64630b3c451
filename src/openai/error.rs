//! OpenAI's error object: the one shape in which this gateway says no.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The body of an error answer, `{"error": {…}}`, and of an error event in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorBody {
    /// A sentence for a person.
    pub message: String,
    /// The class, as OpenAI names it (`invalid_request_error`, `server_error`, …).
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The request field at fault.
    pub param: Option<String>,
    /// A stable word for a program.
    pub code: Option<&'static str>,
}

#[derive(Serialize)]
struct Envelope<'a> {
    error: &'a ErrorBody,
}

impl ErrorBody {
    /// The JSON text.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of strings cannot fail to serialise; the fallback keeps the shape all the same.
        serde_json::to_string(&Envelope { error: self }).unwrap_or_else(|_| {
            r#"{"error":{"message":"internal error","type":"server_error","param":null,"code":null}}"#
                .to_owned()
        })
    }

    /// A server-sent event carrying the error; official SDKs raise an `APIError` on it.
    #[must_use]
    pub fn to_event(&self) -> String {
        format!("data: {}\n\n", self.to_json())
    }
}

/// The JSON text of the error object in a body.
#[must_use]
pub fn in_body(body: &[u8]) -> Option<&str> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        error: &'a RawValue,
    }
    serde_json::from_slice::<Wire<'_>>(body)
        .ok()
        .map(|wire| wire.error.get())
        .filter(|error| *error != "null")
}

/// Whether an error object blames the request: a status of success before it does not make it the upstream's fault.
#[must_use]
pub fn blames_the_request(error: &str) -> bool {
    #[derive(Deserialize)]
    struct Wire {
        #[serde(default, rename = "type")]
        kind: serde_json::Value,
        #[serde(default)]
        code: serde_json::Value,
    }
    const CODES: [&str; 4] =
        ["content_filter", "content_policy_violation", "context_length_exceeded", "invalid_request_error"];
    serde_json::from_str::<Wire>(error).is_ok_and(|Wire { kind, code }| {
        kind == "invalid_request_error" || CODES.iter().any(|known| code == *known) || code == 400
    })
}

/// Whether an upstream's error object says that the prompt is longer than the model's context. OpenAI has a code for it; others
/// say so in words alone.
#[must_use]
pub fn is_too_long_for_the_context(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Wire {
        error: Inner,
    }
    #[derive(Deserialize)]
    struct Inner {
        #[serde(default)]
        code: serde_json::Value,
        #[serde(default)]
        message: String,
    }
    const WORDS: [&str; 4] = ["context length", "context window", "context size", "prompt is too long"];
    serde_json::from_slice::<Wire>(body).is_ok_and(|Wire { error: Inner { code, message } }| {
        let message = message.to_lowercase();
        code == "context_length_exceeded" || WORDS.iter().any(|words| message.contains(words))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_too_long_is_told_from_other_refusals() {
        let told = |body: &str| is_too_long_for_the_context(body.as_bytes());
        assert!(told(r#"{"error":{"message":"no","code":"context_length_exceeded"}}"#));
        assert!(told(
            r#"{"error":{"message":"This model's maximum context length is 4096 tokens.","code":400}}"#
        ));
        assert!(!told(r#"{"error":{"message":"bad temperature","code":"invalid_value"}}"#));
        assert!(!told(r#"{"error":"context length"}"#));
        assert!(!told("<html>context length</html>"));
    }

    #[test]
    fn has_all_four_fields_even_when_empty() {
        let body = ErrorBody {
            message: "no \"x\"".into(),
            kind: "invalid_request_error",
            param: None,
            code: Some("c"),
        };
        assert_eq!(
            body.to_json(),
            r#"{"error":{"message":"no \"x\"","type":"invalid_request_error","param":null,"code":"c"}}"#
        );
        assert!(body.to_event().ends_with("}\n\n"));
    }
}
