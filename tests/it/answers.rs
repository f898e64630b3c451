//! What upstreams of the tests say.

/// An event of a stream.
pub(crate) fn event(json: &str) -> String {
    format!("data: {json}\n\n")
}

/// The event that says whose turn it is; no content.
pub(crate) fn role() -> String {
    event(
        r#"{"id":"c1","object":"chat.completion.chunk","model":"up","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
    )
}

/// An event with content.
pub(crate) fn word(text: &str) -> String {
    event(&format!(
        r#"{{"id":"c1","object":"chat.completion.chunk","model":"up","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}]}}"#
    ))
}

/// The end of a choice.
pub(crate) fn finish(choice: u32) -> String {
    event(&format!(
        r#"{{"id":"c1","object":"chat.completion.chunk","model":"up","choices":[{{"index":{choice},"delta":{{}},"finish_reason":"stop"}}]}}"#
    ))
}

/// The event that reports usage.
pub(crate) fn usage(prompt: u32, completion: u32) -> String {
    event(&format!(
        r#"{{"id":"c1","object":"chat.completion.chunk","model":"up","choices":[],"usage":{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{}}}}}"#,
        prompt + completion
    ))
}

/// The end of a stream.
pub(crate) fn done() -> String {
    event("[DONE]")
}

/// A whole streamed answer of one word.
pub(crate) fn stream(text: &str) -> Vec<String> {
    vec![role(), word(text), finish(0), done()]
}

/// A whole answer.
pub(crate) fn answer(text: &str) -> String {
    format!(
        r#"{{"id":"c1", "object":"chat.completion","model":"up","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}}}"#
    )
}

/// A chat request to a model.
pub(crate) fn chat(model: &str) -> String {
    format!(r#"{{"model":"{model}","messages":[{{"role":"user","content":"hi"}}]}}"#)
}

/// A chat request to a model for a stream.
pub(crate) fn chat_stream(model: &str) -> String {
    format!(r#"{{"model":"{model}","stream":true,"messages":[{{"role":"user","content":"hi"}}]}}"#)
}

/// What a client gets of an upstream's text: the pool's name for the upstream's.
pub(crate) fn as_named(text: &str, pool_name: &str) -> String {
    text.replace(r#""model":"up""#, &format!(r#""model":"{pool_name}""#))
}
