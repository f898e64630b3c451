//! Token usage as an upstream reports it.

use std::ops::Add;

use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::characters;

/// Tokens of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
    /// Of those read, the ones that the upstream had in its cache.
    pub cached_tokens: u64,
    /// Of those read, the ones that stand for sound.
    pub audio_prompt_tokens: u64,
    /// Of those written, the ones that the model has thought and not said.
    pub reasoning_tokens: u64,
    /// Of those written, the ones that stand for sound.
    pub audio_completion_tokens: u64,
}

/// Both spellings: chat, completions and embeddings say `prompt_tokens`, responses say `input_tokens`.
#[derive(Deserialize)]
struct Wire<'a> {
    prompt_tokens: Option<f64>,
    completion_tokens: Option<f64>,
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
    #[serde(borrow)]
    prompt_tokens_details: Option<&'a RawValue>,
    #[serde(borrow)]
    completion_tokens_details: Option<&'a RawValue>,
    #[serde(borrow)]
    input_tokens_details: Option<&'a RawValue>,
    #[serde(borrow)]
    output_tokens_details: Option<&'a RawValue>,
}

#[derive(Default, Deserialize)]
struct Details {
    cached_tokens: Option<f64>,
    audio_tokens: Option<f64>,
    reasoning_tokens: Option<f64>,
}

impl Details {
    /// Details of another shape are none: the sums above them still hold.
    fn parse(chat: Option<&RawValue>, responses: Option<&RawValue>) -> Self {
        let raw = chat.or(responses);
        raw.and_then(|raw| serde_json::from_str(raw.get()).ok()).unwrap_or_default()
    }
}

impl Usage {
    /// So many tokens read and written, of no special kind.
    #[must_use]
    pub const fn of(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            cached_tokens: 0,
            audio_prompt_tokens: 0,
            reasoning_tokens: 0,
            audio_completion_tokens: 0,
        }
    }

    /// The estimate for an answer to a prompt of about so many tokens, of which so many characters were written.
    #[must_use]
    pub fn estimated(prompt_tokens: u64, written_characters: u64) -> Self {
        Self::of(prompt_tokens, characters::tokens(written_characters))
    }

    /// Reads a `usage` object; `None` when it is null or of another shape.
    #[must_use]
    pub fn parse(json: &str) -> Option<Self> {
        let wire: Wire<'_> = serde_json::from_str(json).ok()?;
        let prompt = wire.prompt_tokens.or(wire.input_tokens);
        let completion = wire.completion_tokens.or(wire.output_tokens);
        prompt.or(completion)?;
        let read = Details::parse(wire.prompt_tokens_details, wire.input_tokens_details);
        let written = Details::parse(wire.completion_tokens_details, wire.output_tokens_details);
        Some(Self {
            prompt_tokens: tokens(prompt),
            completion_tokens: tokens(completion),
            cached_tokens: tokens(read.cached_tokens),
            audio_prompt_tokens: tokens(read.audio_tokens),
            reasoning_tokens: tokens(written.reasoning_tokens),
            audio_completion_tokens: tokens(written.audio_tokens),
        })
    }

    /// Puts these numbers in the place of a chat answer's own; what else its `usage` says stays.
    pub fn write(self, usage: &mut Value) {
        let Some(usage) = usage.as_object_mut() else { return };
        let total_tokens = self.prompt_tokens.saturating_add(self.completion_tokens);
        for (name, tokens) in [
            ("prompt_tokens", self.prompt_tokens),
            ("completion_tokens", self.completion_tokens),
            ("total_tokens", total_tokens),
        ] {
            usage.insert(name.to_owned(), tokens.into());
        }
        for (details, name, tokens) in [
            ("prompt_tokens_details", "cached_tokens", self.cached_tokens),
            ("prompt_tokens_details", "audio_tokens", self.audio_prompt_tokens),
            ("completion_tokens_details", "reasoning_tokens", self.reasoning_tokens),
            ("completion_tokens_details", "audio_tokens", self.audio_completion_tokens),
        ] {
            put_detail(usage, details, name, tokens);
        }
    }
}

/// A detail stands where there is something to tell, or where it stood.
fn put_detail(usage: &mut Map<String, Value>, details: &str, name: &str, tokens: u64) {
    match usage.get_mut(details).and_then(Value::as_object_mut) {
        Some(details) if tokens > 0 || details.contains_key(name) => {
            details.insert(name.to_owned(), tokens.into());
        }
        None if tokens > 0 => {
            usage.insert(details.to_owned(), json!({name: tokens}));
        }
        Some(_) | None => {}
    }
}

impl Add for Usage {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            prompt_tokens: self.prompt_tokens.saturating_add(other.prompt_tokens),
            completion_tokens: self.completion_tokens.saturating_add(other.completion_tokens),
            cached_tokens: self.cached_tokens.saturating_add(other.cached_tokens),
            audio_prompt_tokens: self.audio_prompt_tokens.saturating_add(other.audio_prompt_tokens),
            reasoning_tokens: self.reasoning_tokens.saturating_add(other.reasoning_tokens),
            audio_completion_tokens: self
                .audio_completion_tokens
                .saturating_add(other.audio_completion_tokens),
        }
    }
}

/// Some upstreams write `12.0`, and a hostile one may write `-1` or `1e300`: casting saturates.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, NaN gives 0")]
fn tokens(value: Option<f64>) -> u64 {
    value.unwrap_or(0.0).min(1e12) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_spellings() {
        let chat = Usage::parse(r#"{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"x":{}}"#);
        assert_eq!(chat, Some(Usage::of(3, 4)));
        let responses = Usage::parse(r#"{"input_tokens":3,"output_tokens":4}"#);
        assert_eq!(responses, chat);
        let embeddings = Usage::parse(r#"{"prompt_tokens":3,"total_tokens":3}"#);
        assert_eq!(embeddings, Some(Usage::of(3, 0)));
    }

    #[test]
    fn reads_the_details_of_both_spellings() {
        let chat = r#"{"prompt_tokens":9,"completion_tokens":8,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":1},
            "completion_tokens_details":{"reasoning_tokens":5,"audio_tokens":2,"accepted_prediction_tokens":0}}"#;
        let told = Usage {
            cached_tokens: 4,
            audio_prompt_tokens: 1,
            reasoning_tokens: 5,
            audio_completion_tokens: 2,
            ..Usage::of(9, 8)
        };
        assert_eq!(Usage::parse(chat), Some(told));
        let responses = r#"{"input_tokens":9,"output_tokens":8,"input_tokens_details":{"cached_tokens":4},"output_tokens_details":{"reasoning_tokens":5}}"#;
        let told = Usage { cached_tokens: 4, reasoning_tokens: 5, ..Usage::of(9, 8) };
        assert_eq!(Usage::parse(responses), Some(told));
    }

    #[test]
    fn other_shapes_are_no_usage() {
        for json in ["null", "{}", "[]", "7", r#"{"prompt_tokens":"many"}"#] {
            assert_eq!(Usage::parse(json), None, "{json}");
        }
        assert_eq!(Usage::parse(r#"{"prompt_tokens":-5}"#).map(|usage| usage.prompt_tokens), Some(0));
        let odd = r#"{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":"none"}"#;
        assert_eq!(Usage::parse(odd), Some(Usage::of(3, 4)));
    }

    #[test]
    fn written_back_it_leaves_the_rest_alone() {
        let mut usage =
            json!({"prompt_tokens": 1, "prompt_tokens_details": {"cached_tokens": 1, "x": 7}, "y": null});
        let sum = Usage { reasoning_tokens: 2, ..Usage::of(10, 5) };
        sum.write(&mut usage);
        assert_eq!(
            usage,
            json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "y": null,
                "prompt_tokens_details": {"cached_tokens": 0, "x": 7}, "completion_tokens_details": {"reasoning_tokens": 2}})
        );
    }
}
