//! A chat request with a past: what reading and rewriting is measured on.

use bytes::Bytes;
use serde_json::json;

use crate::prompts;

/// A streamed chat request of `bytes` bytes, at least some 700: a long system message, turns before the last one,
/// one of them in parts, escapes, and fields that the gateway does not read.
pub(crate) fn body(bytes: usize) -> Bytes {
    let with_system = |system: &str| {
        let turns = json!([
            {"role": "system", "content": system},
            {"role": "user", "content": "What does \"idempotent\" mean?\nGive one example, please."},
            {"role": "assistant", "content": "Doing it twice changes nothing more: `PUT /lamp {\"on\": true}`."},
            {"role": "user", "content": [{"type": "text", "text": "And is DELETE idempotent, too \u{2014} even if the second call gets a 404?"}]},
        ]);
        json!({
            "model": "auto", "messages": turns, "temperature": 0.2, "top_p": 1, "n": 1, "stream": true,
            "stream_options": {"include_usage": true}, "max_tokens": 800, "presence_penalty": 0,
            "user": "customer-4711", "metadata": {"team": "search", "experiment": "b"},
        })
        .to_string()
    };
    // A character of plain ASCII takes one byte in JSON, so the last ones decide the length.
    let room = bytes.saturating_sub(with_system("").len());
    let mut system: String = prompts::TEXT.chars().cycle().take(room / 2).collect();
    let left = bytes.saturating_sub(with_system(&system).len());
    system.extend(prompts::TEXT.chars().filter(char::is_ascii_lowercase).cycle().take(left));
    with_system(&system).into()
}
