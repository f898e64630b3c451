//! OpenAI's error object: the one shape in which this gateway says no.

use serde::Serialize;

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

#[cfg(test)]
mod tests {
    use super::*;

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
