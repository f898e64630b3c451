//! What goes over the wire in the benchmarks: a chat request and a streamed answer.

use std::iter;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::prompts;

/// A chat request of one user turn, as a client of the SDKs sends it.
pub(crate) fn chat_body(model: &str, prompt: &str, stream: bool) -> Bytes {
    let body = json!({
        "model": model,
        "messages": [
            {"role": "system", "content": "You are a helpful assistant. Answer briefly."},
            {"role": "user", "content": prompt},
        ],
        "temperature": 0.7, "max_tokens": 512, "stream": stream,
    });
    body.to_string().into()
}

/// A streamed answer as OpenAI sends it when usage is asked for: `events` events, each with its blank line. The
/// first names the role, the last three finish, report usage and say `[DONE]`; the others carry a word each.
pub(crate) fn answer_events(events: usize) -> Vec<Bytes> {
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({
            "id": "chatcmpl-BkJ2mVq0XyZ8T4nWc6LrPsDfGhAe1", "object": "chat.completion.chunk",
            "created": 1_718_000_000, "model": "upstream-model-2024-06-01", "service_tier": "default",
            "system_fingerprint": "fp_0a1b2c3d4e", "choices": choices, "usage": usage,
        });
        Bytes::from(format!("data: {chunk}\n\n"))
    };
    let choice = |delta: Value, finish: Option<&str>| json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish}]);
    let words = prompts::TEXT.split_whitespace().cycle().take(events.saturating_sub(4));
    let usage = json!({"prompt_tokens": 64, "completion_tokens": events, "total_tokens": 64 + events});
    iter::once(chunk(choice(json!({"role": "assistant", "content": ""}), None), Value::Null))
        .chain(words.map(|word| chunk(choice(json!({"content": format!(" {word}")}), None), Value::Null)))
        .chain([
            chunk(choice(json!({}), Some("stop")), Value::Null),
            chunk(json!([]), usage),
            Bytes::from_static(b"data: [DONE]\n\n"),
        ])
        .collect()
}
