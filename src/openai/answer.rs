//! A whole (non-streamed) answer: is it one, what did it cost, where does its `model` stand.

use std::{fmt, ops::Range};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    characters::characters,
    chunk::Dialect,
    object::{Object, span_of},
    text::LossyString,
    usage::Usage,
};

/// What a whole answer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The usage it reports.
    pub usage: Option<Usage>,
    /// The characters that the model wrote; none are looked for where usage is reported, or nothing is written.
    pub characters: u64,
    /// It says itself that it failed (responses only).
    pub failed: bool,
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
    #[serde(borrow)]
    status: Option<&'a RawValue>,
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
    let Some(payload) = payload else {
        return Err(if wire.error.is_some() { AnswerError::ErrorObject } else { AnswerError::Lacks(key) });
    };
    let usage = wire.usage.and_then(|raw| Usage::parse(raw.get()));
    let is_written = usage.is_none() && dialect != Dialect::Embeddings;
    Ok(Answer {
        usage,
        characters: if is_written { characters(payload.get()) } else { 0 },
        failed: dialect == Dialect::Responses
            && wire.status.is_some_and(|status| status.get() == "\"failed\""),
        model: wire.model.map(|raw| span_of(text, raw.get())),
    })
}

/// How many choices of an answer, or of an event of a stream, are finished; `None` where one is in a way that is no model's
/// own (it was filtered, or given up), or where it is no answer.
#[must_use]
pub fn finished_choices(body: &[u8]) -> Option<u32> {
    const OWN_WAYS: [&str; 4] = ["stop", "length", "tool_calls", "function_call"];
    #[derive(Deserialize)]
    struct Choices<'a> {
        #[serde(borrow)]
        choices: Vec<Object<Choice<'a>>>,
    }
    #[derive(Deserialize)]
    struct Choice<'a> {
        #[serde(borrow)]
        finish_reason: Option<LossyString<'a>>,
    }
    let Object::<Choices<'_>>(answer) = serde_json::from_slice(body).ok()?;
    let reasons = answer.choices.iter().filter_map(|choice| choice.0.finish_reason.as_ref());
    reasons.map(|reason| OWN_WAYS.contains(&&*reason.0).then_some(1)).sum()
}

/// Reads the beginning of an answer that is too long to be held: where the value of `model` stands, if it is there
/// whole.
///
/// # Errors
/// When it is not the beginning of a JSON object.
pub fn read_beginning(body: &[u8]) -> Result<Option<Range<usize>>, AnswerError> {
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(AnswerError::NotJson);
    }
    let whole_characters = std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), str::len);
    let text =
        body.get(..whole_characters).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
    let mut model = None;
    let finder = ModelFinder { text, model: &mut model };
    // It ends in an error where the beginning ends; what was found by then stands.
    let _ = serde_json::Deserializer::from_str(text).deserialize_map(finder);
    Ok(model)
}

struct ModelFinder<'de, 'found> {
    text: &'de str,
    model: &'found mut Option<Range<usize>>,
}

impl<'de> Visitor<'de> for ModelFinder<'de, '_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<LossyString<'de>>()? {
            let value: &'de RawValue = map.next_value()?;
            if key.0 == "model" {
                *self.model = Some(span_of(self.text, value.get()));
                break;
            }
        }
        Ok(())
    }
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
    fn only_choices_that_end_as_models_end_them_are_finished() {
        let finished = |reasons: &[&str]| {
            let choices: Vec<String> =
                reasons.iter().map(|reason| format!(r#"{{"finish_reason":{reason}}}"#)).collect();
            finished_choices(format!(r#"{{"choices":[{}]}}"#, choices.join(",")).as_bytes())
        };
        assert_eq!(finished(&[]), Some(0));
        assert_eq!(finished(&["null", r#""stop""#, r#""tool_calls""#, r#""length""#]), Some(3));
        for other in [r#""content_filter""#, r#""abort""#, r#""error""#, "7"] {
            assert_eq!(finished(&[r#""stop""#, other]), None, "{other}");
        }
        assert_eq!(finished_choices(br#"{"error":{}}"#), None);
        assert_eq!(finished_choices(br#"{"choices":[{"index":0}]}"#), Some(0));
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

    #[test]
    fn the_model_is_found_in_a_beginning() {
        let whole =
            r#" {"id":"é","x":{"model":"no"},"mod\u0065l" : "up","choices":[{"model":"no"}],"y":"ü"}"#
                .as_bytes();
        let end = whole.iter().position(|&byte| byte == b'p').unwrap() + 2;
        for length in 2..whole.len() {
            let found = read_beginning(&whole[..length]).unwrap().map(|span| &whole[span]);
            // A value that ends where the beginning does is known to be whole by its closing quote.
            assert_eq!(found, (length >= end).then_some(&b"\"up\""[..]), "{length}");
        }
        assert_eq!(read_beginning(b"{\"choices\":["), Ok(None));
        for page in [&b"<html>"[..], b"[1,", b"", b"  ", b"\xff"] {
            assert_eq!(read_beginning(page), Err(AnswerError::NotJson));
        }
    }
}
