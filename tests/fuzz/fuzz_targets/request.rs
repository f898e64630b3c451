//! A client's request body: reading never panics, and what is forwarded says the same as what was sent, but for the
//! two fields that law 1 allows to change. Its canonical form is one for all spellings, and says no less than was sent.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pointsman::{
    config::RoutingText,
    openai::{
        canonical::Canonical,
        request::{Request, Requirements},
    },
    routing::text::routing_text,
};
use serde_json::{Value, json};

const UPSTREAM_MODEL: &str = "up/\"stream\" é";
const ROUTING_CHARS_MAX: usize = 64;

fuzz_target!(|body: &[u8]| {
    let Ok(request) = Request::parse(Bytes::copy_from_slice(body)) else { return };
    read_all(&request);
    check_canonical(body);
    assert_eq!(forwarded(&request, request.model(), false), body, "nothing to change, nothing changed");
    for ask_usage in [false, true] {
        check_forwarded(body, &request, ask_usage);
    }
});

/// Everything that the gateway reads of a request to route it.
fn read_all(request: &Request) {
    let Ok(messages) = request.messages() else { return };
    let Requirements { context_tokens, prompt_tokens, .. } = request.requirements(&messages);
    assert!(context_tokens >= prompt_tokens && request.choices() > 0);
    for mode in [RoutingText::LastUser, RoutingText::FirstUser, RoutingText::Conversation] {
        assert!(routing_text(mode, &messages, ROUTING_CHARS_MAX).chars().count() <= ROUTING_CHARS_MAX);
    }
}

/// What a text's canonical form is; `None` where it has none.
fn canonical(text: &[u8]) -> Option<Vec<u8>> {
    let mut written = Vec::new();
    Canonical::read(text).ok()?.write(&mut |bytes| written.extend_from_slice(bytes));
    Some(written)
}

fn check_canonical(sent: &[u8]) {
    let Some(written) = canonical(sent) else { return };
    assert_eq!(canonical(&[b" ", sent, b"\n"].concat()).as_ref(), Some(&written), "white space says nothing");
    // Another reader sorts the keys and unescapes the strings, but writes numbers in its own way.
    let Ok(value) = serde_json::from_slice::<Value>(sent) else { return };
    if !has_numbers(&value) {
        assert_eq!(canonical(value.to_string().as_bytes()), Some(written), "another spelling of the same");
    }
}

fn has_numbers(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::Array(items) => items.iter().any(has_numbers),
        Value::Object(members) => members.values().any(has_numbers),
        _ => false,
    }
}

fn forwarded(request: &Request, model: &str, ask_usage: bool) -> Vec<u8> {
    request.forward(model, ask_usage, None).into_iter().flatten().collect()
}

fn check_forwarded(sent: &[u8], request: &Request, ask_usage: bool) {
    let got = forwarded(request, UPSTREAM_MODEL, ask_usage);
    let asks = ask_usage && request.stream();
    let read = Request::parse(got.clone().into()).expect("what is forwarded can be read as what came");
    assert_eq!(
        (read.model(), read.stream(), read.choices()),
        (UPSTREAM_MODEL, request.stream(), request.choices())
    );
    assert_eq!(read.wants_usage(), asks || request.wants_usage());
    // Numbers and surrogates that no `Value` can hold are JSON all the same.
    let Ok(mut expected) = serde_json::from_slice::<Value>(sent) else { return };
    expected["model"] = json!(UPSTREAM_MODEL);
    if asks {
        expected["stream_options"]["include_usage"] = json!(true);
    }
    assert_eq!(serde_json::from_slice::<Value>(&got).expect("what is forwarded is JSON"), expected);
}
