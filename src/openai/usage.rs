//! Token usage as an upstream reports it.

use serde::Deserialize;

use super::characters;

/// Tokens of one answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens read.
    pub prompt_tokens: u64,
    /// Tokens written.
    pub completion_tokens: u64,
}

/// Both spellings: chat, completions and embeddings say `prompt_tokens`, responses say `input_tokens`.
#[derive(Deserialize)]
struct Wire {
    prompt_tokens: Option<f64>,
    completion_tokens: Option<f64>,
    input_tokens: Option<f64>,
    output_tokens: Option<f64>,
}

impl Usage {
    /// What was used by an answer of which so many characters were written: as reported, or else estimated, and whether it
    /// is. Nothing is known of an answer that did not begin.
    #[must_use]
    pub fn known(reported: Option<Self>, prompt_tokens: u64, written: Option<u64>) -> Option<(Self, bool)> {
        if let Some(reported) = reported {
            return Some((reported, false));
        }
        Some((Self { prompt_tokens, completion_tokens: characters::tokens(written?) }, true))
    }

    /// Reads a `usage` object; `None` when it is null or of another shape.
    #[must_use]
    pub fn parse(json: &str) -> Option<Self> {
        let wire: Wire = serde_json::from_str(json).ok()?;
        let prompt = wire.prompt_tokens.or(wire.input_tokens);
        let completion = wire.completion_tokens.or(wire.output_tokens);
        prompt.or(completion)?;
        Some(Self { prompt_tokens: tokens(prompt), completion_tokens: tokens(completion) })
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
        assert_eq!(chat, Some(Usage { prompt_tokens: 3, completion_tokens: 4 }));
        let responses = Usage::parse(r#"{"input_tokens":3,"output_tokens":4}"#);
        assert_eq!(responses, chat);
        let embeddings = Usage::parse(r#"{"prompt_tokens":3,"total_tokens":3}"#);
        assert_eq!(embeddings, Some(Usage { prompt_tokens: 3, completion_tokens: 0 }));
    }

    #[test]
    fn other_shapes_are_no_usage() {
        for json in ["null", "{}", "[]", "7", r#"{"prompt_tokens":"many"}"#] {
            assert_eq!(Usage::parse(json), None, "{json}");
        }
        assert_eq!(Usage::parse(r#"{"prompt_tokens":-5}"#).map(|usage| usage.prompt_tokens), Some(0));
    }
}
