//! A client's request body: read once, kept as the bytes it came in.
//!
//! Only the keys below are read, each with its place in the body, so that [`super::rewrite`] can change those
//! bytes and no others.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    endpoint::Endpoint,
    messages::{self, Message, MessagesError},
    object::{Object, present, span_of},
    text::LossyString,
};

/// Why a body is refused. The text goes to the client.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum RequestError {
    /// Not UTF-8.
    #[error("the request body is not valid UTF-8 (at byte {0})")]
    Utf8(usize),
    /// Not JSON, not an object, or a key that is read occurs twice.
    #[error("the request body is not a valid JSON object: {0}")]
    Json(String),
    /// A required key is missing.
    #[error("you must provide '{0}'")]
    Missing(&'static str),
    /// A key that is read has another type than expected.
    #[error("'{key}' must be {expected}")]
    Type {
        /// The key.
        key: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// `messages` is wrong in itself.
    #[error(transparent)]
    Messages(#[from] MessagesError),
}

impl RequestError {
    /// The field at fault, for the error object's `param`.
    #[must_use]
    pub fn param(&self) -> Option<&'static str> {
        match self {
            Self::Utf8(_) | Self::Json(_) => None,
            Self::Missing(key) | Self::Type { key, .. } => Some(key),
            Self::Messages(_) => Some("messages"),
        }
    }
}

/// `stream_options` as the client sent it, with the places that a rewrite touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamOptions {
    /// Not there.
    Absent,
    /// There, and null.
    Null(Range<usize>),
    /// An object.
    Object {
        /// The whole value, braces included.
        span: Range<usize>,
        /// It has no keys.
        empty: bool,
        /// The value of `include_usage`, and whether it is `true`.
        include_usage: Option<(Range<usize>, bool)>,
    },
}

/// What a request asks of a model beyond text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requirements {
    /// Tools or functions are declared.
    pub tools: bool,
    /// A message holds an image.
    pub vision: bool,
    /// `response_format` is a JSON schema.
    pub json_schema: bool,
    /// A message holds audio, or audio is asked for.
    pub audio: bool,
    /// Tokens that the context must hold: the prompt (estimated) and the longest answer asked for.
    pub context_tokens: u64,
    /// The estimated tokens of the prompt alone.
    pub prompt_tokens: u64,
    /// A model whose price is known: there is a budget.
    pub price: bool,
}

/// The most that a request can make a model read, in tokens, and write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Of the prompt, as far as the request shows it.
    pub prompt: u64,
    /// How many answers there are.
    pub answers: u64,
}

/// A parsed request of any endpoint.
#[derive(Debug, Clone)]
pub struct Request {
    pub(super) body: Bytes,
    pub(super) model_span: Range<usize>,
    pub(super) stream_options: StreamOptions,
    model: String,
    stream: bool,
    choices: u32,
    choices_each: u32,
    asked: Asked,
}

/// What the largest images count for with the providers that count most for them.
const IMAGE_TOKENS_MAX: usize = 50_000;

/// The most tokens of each answer, as the endpoints call them. What an endpoint does not know bounds nothing there.
#[derive(Debug, Clone, Copy, Default)]
struct Answer {
    /// `max_completion_tokens`, or `max_tokens` where that is more.
    chat: Option<u64>,
    /// `max_output_tokens`.
    responses: Option<u64>,
}

impl Answer {
    fn of(self, endpoint: Endpoint) -> Option<u64> {
        match endpoint {
            Endpoint::Chat | Endpoint::Completions => self.chat,
            Endpoint::Responses => self.responses,
            Endpoint::Embeddings => Some(0),
        }
    }
}

/// What was asked for outside the messages.
#[derive(Debug, Clone, Default)]
struct Asked {
    messages: Option<Range<usize>>,
    tools: bool,
    tools_bytes: usize,
    json_schema: bool,
    audio: bool,
    logprobs: bool,
    /// It says itself how the last message is gone on with.
    continues: bool,
    answer: Answer,
    input_bytes: usize,
    /// Answers that are written and not shown: `best_of`.
    best_of: u32,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    model: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    messages: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    stream: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    n: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    tools: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    functions: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    response_format: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    modalities: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    logprobs: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    continue_final_message: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    add_generation_prompt: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    max_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    max_completion_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    max_output_tokens: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    best_of: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    input: Option<&'a RawValue>,
}

impl Request {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is not a JSON object in UTF-8, has no string `model`, or a key that is read has another type or
    /// occurs twice.
    pub fn parse(body: Bytes) -> Result<Self, RequestError> {
        let text = std::str::from_utf8(&body).map_err(|error| RequestError::Utf8(error.valid_up_to()))?;
        let Object::<Wire<'_>>(wire) =
            serde_json::from_str(text).map_err(|error| RequestError::Json(error.to_string()))?;
        let span = |raw: &RawValue| span_of(text, raw.get());
        let model_raw = wire.model.ok_or(RequestError::Missing("model"))?;
        let model: LossyString<'_> = serde_json::from_str(model_raw.get())
            .map_err(|_| RequestError::Type { key: "model", expected: "a string" })?;
        let model = model.0.into_owned();
        let model_span = span(model_raw);
        let stream = optional(wire.stream, "stream", "a boolean")?.unwrap_or(false);
        let choices_each = optional::<u32>(wire.n, "n", "a positive integer")?.unwrap_or(1).max(1);
        // A chat request may carry a key of that name too, which means nothing there.
        let prompt = wire.prompt.filter(|_| wire.messages.is_none());
        let choices = choices_each.saturating_mul(prompt.map_or(1, prompts));
        let stream_options =
            wire.stream_options.map_or(Ok(StreamOptions::Absent), |raw| read_options(text, raw))?;
        let asked = Asked {
            messages: wire.messages.map(span),
            tools: not_empty(wire.tools) || not_empty(wire.functions),
            tools_bytes: wire.tools.map_or(0, |raw| raw.get().len()),
            json_schema: wire.response_format.is_some_and(is_json_schema),
            audio: wire.modalities.is_some_and(|raw| raw.get().contains("\"audio\"")),
            logprobs: wire.logprobs.is_some_and(|raw| !matches!(raw.get(), "null" | "false")),
            continues: wire.continue_final_message.is_some() || wire.add_generation_prompt.is_some(),
            answer: Answer {
                chat: [wire.max_completion_tokens, wire.max_tokens].into_iter().filter_map(number).max(),
                responses: number(wire.max_output_tokens),
            },
            best_of: number(wire.best_of).map_or(1, |best_of| u32::try_from(best_of).unwrap_or(u32::MAX)),
            input_bytes: wire.prompt.or(wire.input).map_or(0, |raw| raw.get().len()),
        };
        Ok(Self { body, model_span, stream_options, model, stream, choices, choices_each, asked })
    }

    /// The model asked for: a model's name, a route's, or a router string.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// A streamed answer is asked for.
    #[must_use]
    pub fn stream(&self) -> bool {
        self.stream
    }

    /// How many choices the answer must have: `n`, for each prompt of a legacy completion.
    #[must_use]
    pub fn choices(&self) -> u32 {
        self.choices
    }

    /// The client itself asked for the usage event of a stream.
    #[must_use]
    pub fn wants_usage(&self) -> bool {
        matches!(&self.stream_options, StreamOptions::Object { include_usage: Some((_, true)), .. })
    }

    /// The messages of a chat request.
    ///
    /// # Errors
    /// When there are none, or they are of another shape.
    pub fn messages(&self) -> Result<Vec<Message<'_>>, RequestError> {
        let span = self.asked.messages.clone().ok_or(RequestError::Missing("messages"))?;
        let json = self.body.get(span).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or_default();
        Ok(messages::parse(json)?)
    }

    /// Where `messages` stands.
    pub(super) fn messages_span(&self) -> Option<Range<usize>> {
        self.asked.messages.clone()
    }

    /// An answer to it is one text and nothing else: one choice, no tools, no log probabilities, no JSON schema, no audio.
    #[must_use]
    pub fn asks_for_text(&self) -> bool {
        let Asked { messages, tools, json_schema, audio, logprobs, .. } = &self.asked;
        messages.is_some() && self.choices == 1 && !(*tools || *json_schema || *audio || *logprobs)
    }

    /// Its answer can be gone on with from a part of it: nothing limits its length, and no message of the assistant's is the last.
    #[must_use]
    pub fn can_be_continued(&self) -> bool {
        let ends_with_assistant = || {
            self.messages()
                .is_ok_and(|messages| messages.last().is_some_and(|last| last.role.0 == "assistant"))
        };
        self.asked.answer.chat.is_none() && !self.asked.continues && !ends_with_assistant()
    }

    /// The estimated tokens of a request that has a `prompt` or an `input` in place of messages.
    #[must_use]
    pub fn input_tokens(&self) -> u64 {
        u64::try_from(self.asked.input_bytes.div_ceil(4)).unwrap_or(u64::MAX)
    }

    /// The most that it can make a model read, and how often it can make it write. No tokenizer makes more tokens of a text than it has bytes, and
    /// what frames a message in JSON is longer than what frames it for a model; an image stands for as many tokens as
    /// the most that providers count for one.
    #[must_use]
    pub fn bounds(&self) -> Bounds {
        let images = memchr::memmem::find_iter(&self.body, b"image_url").count().div_ceil(2)
            + memchr::memmem::find_iter(&self.body, b"input_image").count();
        let prompt = self.body.len().saturating_add(images.saturating_mul(IMAGE_TOKENS_MAX));
        Bounds { prompt: u64::try_from(prompt).unwrap_or(u64::MAX), answers: self.answers() }
    }

    /// The most tokens that each answer may have; `None` where the request sets no limit.
    #[must_use]
    pub fn answer_bound(&self, endpoint: Endpoint) -> Option<u64> {
        self.asked.answer.of(endpoint)
    }

    /// How many answers are written, those among them that are not shown.
    #[must_use]
    pub fn answers(&self) -> u64 {
        let prompts = self.choices / self.choices_each.max(1);
        u64::from(self.choices_each.max(self.asked.best_of)) * u64::from(prompts)
    }

    /// The most tokens that the answers may have in all, as far as the request says; else none.
    #[must_use]
    pub fn answer_tokens(&self, endpoint: Endpoint) -> u64 {
        self.answer_bound(endpoint).unwrap_or(0).saturating_mul(u64::from(self.choices))
    }

    /// What the request asks of a model.
    #[must_use]
    pub fn requirements(&self, messages: &[Message<'_>]) -> Requirements {
        let prompt_tokens = estimate_tokens(messages, self.asked.tools_bytes);
        Requirements {
            tools: self.asked.tools,
            vision: messages.iter().any(|message| message.has_image),
            json_schema: self.asked.json_schema,
            audio: self.asked.audio || messages.iter().any(|message| message.has_audio),
            context_tokens: prompt_tokens.saturating_add(self.asked.answer.chat.unwrap_or(0)),
            prompt_tokens,
            price: false,
        }
    }
}

/// Four bytes a token, as English text has with common tokenizers, and four tokens of framing a message.
fn estimate_tokens(messages: &[Message<'_>], tools_bytes: usize) -> u64 {
    let text: usize = messages.iter().flat_map(|message| &message.texts).map(|text| text.0.len()).sum();
    let tokens = (text + tools_bytes).div_ceil(4) + 4 * messages.len();
    u64::try_from(tokens).unwrap_or(u64::MAX)
}

/// A value that may be absent or null.
fn optional<'a, T: Deserialize<'a>>(
    raw: Option<&'a RawValue>,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<T>, RequestError> {
    raw.map_or(Ok(None), |raw| {
        serde_json::from_str(raw.get()).map_err(|_| RequestError::Type { key, expected })
    })
}

fn number(raw: Option<&RawValue>) -> Option<u64> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
}

fn not_empty(raw: Option<&RawValue>) -> bool {
    raw.is_some_and(|raw| {
        serde_json::from_str::<Vec<&RawValue>>(raw.get()).is_ok_and(|items| !items.is_empty())
    })
}

/// How many prompts a legacy completion holds: one text or one list of tokens, or a list of either.
fn prompts(raw: &RawValue) -> u32 {
    let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else { return 1 };
    let many = items.first().is_some_and(|first| first.get().starts_with(['"', '[']));
    if many { u32::try_from(items.len()).unwrap_or(u32::MAX) } else { 1 }
}

fn is_json_schema(raw: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Format<'a> {
        #[serde(borrow, rename = "type")]
        kind: LossyString<'a>,
    }
    serde_json::from_str::<Object<Format<'_>>>(raw.get()).is_ok_and(|format| format.0.kind.0 == "json_schema")
}

fn read_options(text: &str, raw: &RawValue) -> Result<StreamOptions, RequestError> {
    #[derive(Deserialize)]
    struct Options<'a> {
        #[serde(borrow, default, deserialize_with = "present")]
        include_usage: Option<&'a RawValue>,
    }
    let span = span_of(text, raw.get());
    if raw.get() == "null" {
        return Ok(StreamOptions::Null(span));
    }
    let wrong = || RequestError::Type {
        key: "stream_options",
        expected: "an object or null, with 'include_usage' at most once and a boolean",
    };
    let Object::<Options<'_>>(options) = serde_json::from_str(raw.get()).map_err(|_| wrong())?;
    let include_usage = match options.include_usage {
        None => None,
        Some(value) => {
            let wanted: Option<bool> = serde_json::from_str(value.get()).map_err(|_| wrong())?;
            Some((span_of(text, value.get()), wanted == Some(true)))
        }
    };
    let inner = raw.get().get(1..raw.get().len() - 1).unwrap_or_default();
    Ok(StreamOptions::Object { span, empty: inner.trim_ascii().is_empty(), include_usage })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Request, RequestError> {
        Request::parse(Bytes::copy_from_slice(json.as_bytes()))
    }

    #[test]
    fn reads_what_it_needs_and_no_more() {
        let request = parse(
            r#"{"new_field":{"a":[1e400]},"model":"auto","stream":true,"n":2,"stream_options":{"include_usage":true},
                "messages":[{"role":"user","content":"hi"}],"tools":[{}],"response_format":{"type":"json_schema"},"max_tokens":100}"#,
        )
        .unwrap();
        assert_eq!((request.model(), request.stream(), request.choices()), ("auto", true, 2));
        assert!(request.wants_usage());
        let needs = request.requirements(&request.messages().unwrap());
        assert!(needs.tools && needs.json_schema && !needs.vision && !needs.audio);
        assert!(needs.context_tokens >= 100 && needs.prompt_tokens < 20);
    }

    #[test]
    fn a_read_key_that_occurs_twice_is_refused_in_any_spelling() {
        for twice in [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","mod\u0065l":"b"}"#,
            r#"{"model":"a","stream":true,"stream":false}"#,
            r#"{"model":"a","stream_options":{"include_usage":true,"include_us\u0061ge":false}}"#,
        ] {
            assert!(parse(twice).is_err(), "{twice}");
        }
        assert!(parse(r#"{"model":"a","other":1,"other":2}"#).is_ok(), "a key that is not read may");
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(parse("{}").unwrap_err(), RequestError::Missing("model"));
        assert_eq!(parse(r#"{"model":3}"#).unwrap_err().param(), Some("model"));
        assert_eq!(parse(r#"{"model":"a","stream":"yes"}"#).unwrap_err().param(), Some("stream"));
        assert_eq!(parse(r#"{"model":"a","n":-1}"#).unwrap_err().param(), Some("n"));
        assert_eq!(
            parse(r#"{"model":"a","stream_options":[true]}"#).unwrap_err().param(),
            Some("stream_options")
        );
        for broken in
            ["", "[]", r#"["m"]"#, "null", "\"x\"", r#"{"model":"a""#, r#"{"model":"a"} x"#, "{'model':1}"]
        {
            assert!(matches!(parse(broken), Err(RequestError::Json(_))), "{broken}");
        }
        let not_utf8 = Request::parse(Bytes::from_static(b"{\"model\":\"a\",\"x\":\"\xff\"}"));
        assert_eq!(not_utf8.unwrap_err(), RequestError::Utf8(18));
        assert_eq!(
            parse(r#"{"model":"a"}"#).unwrap().messages().unwrap_err(),
            RequestError::Missing("messages")
        );
    }

    #[test]
    fn a_legacy_completion_answers_every_prompt() {
        let choices = |json| parse(json).unwrap().choices();
        assert_eq!(choices(r#"{"model":"a","n":2,"prompt":["x","y","z"]}"#), 6);
        assert_eq!(choices(r#"{"model":"a","prompt":[[1,2],[3]]}"#), 2);
        assert_eq!(choices(r#"{"model":"a","prompt":[1,2,3]}"#), 1);
        assert_eq!(choices(r#"{"model":"a","prompt":"x"}"#), 1);
        assert_eq!(choices(r#"{"model":"a","messages":[],"prompt":["x","y"]}"#), 1, "no completion");
    }

    #[test]
    fn the_longest_answer_is_in_one_of_three_keys_for_each_choice() {
        let tokens = |endpoint, json| parse(json).unwrap().answer_tokens(endpoint);
        let chat = |json| tokens(Endpoint::Chat, json);
        assert_eq!(chat(r#"{"model":"a","messages":[],"max_tokens":7}"#), 7);
        assert_eq!(chat(r#"{"model":"a","messages":[],"max_tokens":7,"max_completion_tokens":9,"n":2}"#), 18);
        assert_eq!(chat(r#"{"model":"a","messages":[],"max_output_tokens":5}"#), 0, "not a chat's");
        assert_eq!(chat(r#"{"model":"a","messages":[],"max_tokens":null}"#), 0);
        let responses = r#"{"model":"a","input":"x","messages":[],"max_tokens":1,"max_output_tokens":5}"#;
        assert_eq!(tokens(Endpoint::Responses, responses), 5);
        let endless = r#"{"model":"a","prompt":["x","y"],"max_tokens":18446744073709551615}"#;
        assert_eq!(tokens(Endpoint::Completions, endless), u64::MAX);
    }

    #[test]
    fn deep_nesting_in_a_field_that_is_not_read_is_no_matter() {
        let deep = format!(r#"{{"model":"a","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(parse(&deep).is_ok());
    }
}
