//! A whole (non-streamed) answer: is it one, what did it cost, where does its `model` stand.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    chunk::Dialect,
    object::{Object, span_of},
    usage::Usage,
};

/// What a whole answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The usage it reports.
    pub usage: Option<Usage>,
    /// Where the value of `model` stands.
    pub model: Option<Range<usize>>,
}

/// Why a body that came with status 200 is no answer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum AnswerError {
    /// Not a JSON object: an HTML page, a cut body.
    #[error("the body is not a JSON object")]
    NotJson,
    /// An error object in place of an answer.
    #[error("the body is an error object")]
    ErrorObject,
    /// An object that lacks what every answer of this endpoint has.
    #[error("the body has no '{0}'")]
    Lacks(&'static str),
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

/// Reads the body of an answer with a success status.
///
/// # Errors
/// When the body is no answer of this endpoint.
pub fn read(dialect: Dialect, body: &[u8]) -> Result<Answer, AnswerError> {
    let text = std::str::from_utf8(body).map_err(|_| AnswerError::NotJson)?;
    let Object::<Wire<'_>>(wire) = serde_json::from_str(text).map_err(|_| AnswerError::NotJson)?;
    let (payload, key) = match dialect {
        Dialect::Choices => (wire.choices, "choices"),
        Dialect::Responses => (wire.output, "output"),
        Dialect::Embeddings => (wire.data, "data"),
    };
    if payload.is_none() {
        return Err(if wire.error.is_some() { AnswerError::ErrorObject } else { AnswerError::Lacks(key) });
    }
    Ok(Answer {
        usage: wire.usage.and_then(|raw| Usage::parse(raw.get())),
        model: wire.model.map(|raw| span_of(text, raw.get())),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_its_payload() {
        let body =
            br#"{"id":"x","model":"up","choices":[{}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
        let answer = read(Dialect::Choices, body).unwrap();
        assert_eq!(&body[answer.model.unwrap()], b"\"up\"");
        assert_eq!(answer.usage.unwrap().completion_tokens, 2);
        assert!(read(Dialect::Embeddings, br#"{"data":[],"usage":{"prompt_tokens":1}}"#).is_ok());
        assert!(read(Dialect::Responses, br#"{"output":[],"error":null}"#).is_ok());
    }

    #[test]
    fn what_is_no_answer_is_named() {
        let chat = |body: &[u8]| read(Dialect::Choices, body).unwrap_err();
        assert_eq!(chat(b"<html>"), AnswerError::NotJson);
        assert_eq!(chat(b"{\"choices\":[{}]"), AnswerError::NotJson);
        assert_eq!(chat(b"[]"), AnswerError::NotJson);
        assert_eq!(chat(b"\xff"), AnswerError::NotJson);
        assert_eq!(chat(br#"{"error":{"message":"no"}}"#), AnswerError::ErrorObject);
        assert_eq!(chat(b"{}"), AnswerError::Lacks("choices"));
    }
}
