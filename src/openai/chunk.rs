//! One event of a streamed answer: what it means for the answer's state, and where its `model` stands.

use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    characters::characters,
    object::{Object, present, span_of},
    text::LossyString,
    usage::Usage,
};

/// The endpoint whose stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// `/v1/chat/completions` and `/v1/completions`: chunks with choices, ended by `[DONE]`.
    Choices,
    /// `/v1/responses`: typed events, ended by a terminal one.
    Responses,
    /// `/v1/embeddings`: never streamed, whatever the request says.
    Embeddings,
}

/// What one event says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// It carries content, reasoning, a refusal, audio or a tool call: the client would see something.
    pub content: bool,
    /// The characters of all that, as far as it is text.
    pub characters: u64,
    /// The choices that it finishes.
    pub finished: Vec<u32>,
    /// It ends the answer as a whole (responses only).
    pub terminal: bool,
    /// It says that the answer failed (responses only).
    pub failed: bool,
    /// The usage it reports.
    pub usage: Option<Usage>,
    /// It reports usage and nothing else: a non-null `usage`, and `choices` that are there and empty.
    pub usage_only: bool,
    /// It carries an error object in place of an answer.
    pub error: Option<String>,
    /// Where the value of `model` stands in the event's data.
    pub model: Option<Range<usize>>,
}

#[derive(Deserialize)]
struct WireChunk<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Object<WireChoice<'a>>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireChoice<'a> {
    index: Option<u32>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireTyped<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<LossyString<'a>>,
    #[serde(borrow)]
    response: Option<Object<WireResponse<'a>>>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireResponse<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// Reads one event's data.
///
/// # Errors
/// When it is not a JSON object of the dialect's shape.
pub fn observe(dialect: Dialect, data: &str) -> Result<Observation, serde_json::Error> {
    match dialect {
        Dialect::Choices => observe_choices(data),
        Dialect::Responses | Dialect::Embeddings => observe_typed(data),
    }
}

fn observe_choices(data: &str) -> Result<Observation, serde_json::Error> {
    let Object::<WireChunk<'_>>(chunk) = serde_json::from_str(data)?;
    let usage = chunk.usage.and_then(|raw| Usage::parse(raw.get()));
    let no_choices = chunk.choices.as_ref().is_some_and(Vec::is_empty);
    let mut seen = Observation {
        usage_only: chunk.usage.is_some() && no_choices,
        usage,
        model: chunk.model.map(|raw| span_of(data, raw.get())),
        error: chunk.error.map(|raw| raw.get().to_owned()),
        ..Observation::default()
    };
    for Object(choice) in chunk.choices.into_iter().flatten() {
        if choice.finish_reason.is_some() {
            seen.finished.push(choice.index.unwrap_or(0));
        }
        seen.content |= choice.finish_reason.is_some()
            || choice.text.is_some_and(says_something)
            || choice.delta.is_some_and(delta_says_something);
        let written = [choice.text, choice.delta].into_iter().flatten();
        seen.characters += written.map(|value| characters(value.get())).sum::<u64>();
    }
    Ok(seen)
}

/// Every field of a delta but the role is something that the client sees, those not invented yet included.
fn delta_says_something(delta: &RawValue) -> bool {
    type Fields<'a> = std::collections::HashMap<std::borrow::Cow<'a, str>, &'a RawValue>;
    serde_json::from_str::<Fields<'_>>(delta.get())
        .is_ok_and(|fields| fields.iter().any(|(key, value)| key != "role" && says_something(value)))
}

fn says_something(value: &RawValue) -> bool {
    !matches!(value.get(), "null" | "\"\"" | "[]" | "{}")
}

fn observe_typed(data: &str) -> Result<Observation, serde_json::Error> {
    let Object::<WireTyped<'_>>(event) = serde_json::from_str(data)?;
    let kind = event.kind.as_ref().map_or("", |kind| kind.0.as_ref());
    let is_error = kind == "error" || (event.kind.is_none() && event.error.is_some());
    let response = event.response.map(|object| object.0);
    let usage = response.as_ref().and_then(|inner| inner.usage).and_then(|raw| Usage::parse(raw.get()));
    let model = response.and_then(|inner| inner.model).map(|raw| span_of(data, raw.get()));
    // Audio comes as base64; what it says comes as a transcript too.
    let written = event.delta.filter(|_| kind != "response.audio.delta");
    Ok(Observation {
        characters: written.map_or(0, |value| characters(value.get())),
        failed: kind == "response.failed",
        content: !is_error
            && !matches!(kind, "response.created" | "response.in_progress" | "response.queued"),
        terminal: matches!(kind, "response.completed" | "response.incomplete" | "response.failed"),
        usage,
        model,
        error: is_error.then(|| event.error.or(event.message).map_or("", RawValue::get).to_owned()),
        ..Observation::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat(data: &str) -> Observation {
        observe(Dialect::Choices, data).unwrap()
    }

    #[test]
    fn content_of_any_kind_commits_and_a_role_does_not() {
        for nothing in [
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
            r#"{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"refusal":null}}]}"#,
            r#"{"choices":[]}"#,
            r#"{"choices":[],"prompt_filter_results":[1]}"#,
        ] {
            assert!(!chat(nothing).content, "{nothing}");
        }
        for delta in [
            r#"{"content":"x"}"#,
            r#"{"reasoning_content":"x"}"#,
            r#"{"reasoning":"x"}"#,
            r#"{"refusal":"no"}"#,
            r#"{"audio":{"id":"a"}}"#,
            r#"{"tool_calls":[{"index":0}]}"#,
            r#"{"function_call":{"name":"f"}}"#,
        ] {
            assert!(chat(&format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)).content, "{delta}");
        }
        assert!(chat(r#"{"choices":[{"index":0,"text":"x"}]}"#).content);
    }

    #[test]
    fn finish_usage_and_model_are_found() {
        let data = r#"{"model":"up","choices":[{"index":1,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
        let seen = chat(data);
        assert_eq!(seen.finished, vec![1]);
        assert!(seen.content && !seen.usage_only);
        assert_eq!(&data[seen.model.unwrap()], "\"up\"");
        assert_eq!(seen.usage, Some(Usage::of(1, 2)));
        assert!(chat(r#"{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#).usage_only);
        assert!(!chat(r#"{"choices":[],"usage":null}"#).usage_only);
        assert!(!chat(r#"{"usage":{"prompt_tokens":1}}"#).usage_only, "no choices at all is another event");
    }

    #[test]
    fn errors_are_seen() {
        assert!(chat(r#"{"error":{"message":"overloaded"}}"#).error.is_some());
        assert!(chat(r#"{"error":null,"choices":[]}"#).error.is_none());
        assert!(observe(Dialect::Choices, "<html>").is_err());
        assert!(observe(Dialect::Choices, "[]").is_err());
        let event = r#"{"type":"error","code":"x","message":"no"}"#;
        assert_eq!(observe(Dialect::Responses, event).unwrap().error.as_deref(), Some("\"no\""));
    }

    #[test]
    fn responses_end_with_a_terminal_event() {
        let read = |data| observe(Dialect::Responses, data).unwrap();
        assert!(!read(r#"{"type":"response.created","response":{"model":"up","usage":null}}"#).content);
        assert!(read(r#"{"type":"response.output_text.delta","delta":"x"}"#).content);
        let done = read(
            r#"{"type":"response.completed","response":{"model":"up","usage":{"input_tokens":5,"output_tokens":6}}}"#,
        );
        assert!(done.terminal);
        assert_eq!(done.usage, Some(Usage::of(5, 6)));
    }
}
