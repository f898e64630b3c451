//! The forwarded body: the client's bytes, but for the top-level `model` and `stream_options.include_usage`.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;

use super::request::{Request, StreamOptions};

/// A body as slices of the client's, with the replaced bytes between them: nothing is copied.
pub type Segments = VecDeque<Bytes>;

/// An answer that broke off, for another model to go on with.
#[derive(Debug, Clone, Copy)]
pub struct Partial<'a> {
    /// What was written of it.
    pub text: &'a str,
    /// Asked for as vLLM does.
    pub vllm: bool,
}

/// One replacement; an empty range inserts.
struct Edit {
    span: Range<usize>,
    bytes: Bytes,
}

impl Request {
    /// The body for an upstream that calls the model `upstream_model`; with `ask_usage`, a streamed request
    /// also asks for the usage event; with `partial`, for an answer that goes on from there.
    #[must_use]
    pub fn forward(&self, upstream_model: &str, ask_usage: bool, partial: Option<Partial<'_>>) -> Segments {
        let mut edits = Vec::with_capacity(4);
        if upstream_model != self.model() {
            let name = serde_json::Value::from(upstream_model).to_string();
            edits.push(Edit { span: self.model_span.clone(), bytes: name.into() });
        }
        if ask_usage && self.stream() {
            edits.extend(self.usage_edit());
        }
        if let Some(partial) = partial {
            edits.extend(self.partial_edits(partial));
        }
        // Both orders occur, since a client may write its keys in any.
        edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
        apply(&self.body, edits)
    }

    /// The assistant's message is appended to the others; vLLM's keys stand before the first key.
    fn partial_edits(&self, partial: Partial<'_>) -> Vec<Edit> {
        let Some((span, is_empty)) = self.messages_end() else { return Vec::new() };
        let message = serde_json::json!({"role": "assistant", "content": partial.text});
        let text = if is_empty { message.to_string() } else { format!(",{message}") };
        let mut edits = vec![Edit { span, bytes: text.into() }];
        if partial.vllm {
            let start = self.body.iter().position(|&byte| byte == b'{').map_or(0, |brace| brace + 1);
            let keys = br#""continue_final_message":true,"add_generation_prompt":false,"#;
            edits.push(Edit { span: start..start, bytes: Bytes::from_static(keys) });
        }
        edits
    }

    /// Where another message can be appended, and whether it would be the first.
    fn messages_end(&self) -> Option<(Range<usize>, bool)> {
        let span = self.messages_span()?;
        let end = span.end.checked_sub(1)?;
        let inside = self.body.get(span.start + 1..end)?;
        Some((end..end, inside.trim_ascii().is_empty()))
    }

    fn usage_edit(&self) -> Option<Edit> {
        let edit = |span, text: &'static str| Some(Edit { span, bytes: Bytes::from_static(text.as_bytes()) });
        match &self.stream_options {
            StreamOptions::Absent => {
                let end = self.model_span.end;
                edit(end..end, r#","stream_options":{"include_usage":true}"#)
            }
            StreamOptions::Null(span) => edit(span.clone(), r#"{"include_usage":true}"#),
            StreamOptions::Object { include_usage: Some((_, true)), .. } => None,
            StreamOptions::Object { include_usage: Some((span, false)), .. } => edit(span.clone(), "true"),
            StreamOptions::Object { span, empty, include_usage: None } => {
                let after_brace = span.start + 1;
                edit(
                    after_brace..after_brace,
                    if *empty { r#""include_usage":true"# } else { r#""include_usage":true,"# },
                )
            }
        }
    }
}

fn apply(body: &Bytes, edits: Vec<Edit>) -> Segments {
    let mut segments = Segments::with_capacity(2 * edits.len() + 1);
    let mut at = 0;
    for edit in edits {
        push(&mut segments, body.slice(at..edit.span.start));
        push(&mut segments, edit.bytes);
        at = edit.span.end;
    }
    push(&mut segments, body.slice(at..));
    segments
}

fn push(segments: &mut Segments, bytes: Bytes) {
    if !bytes.is_empty() {
        segments.push_back(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn forward(json: &str, model: &str, ask: bool) -> String {
        let request = Request::parse(Bytes::copy_from_slice(json.as_bytes())).unwrap();
        let bytes: Vec<u8> = request.forward(model, ask, None).into_iter().flatten().collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn only_the_model_changes() {
        let sent = "{ \"a\" : 1.0e5 ,\"mod\\u0065l\"\t:\"auto\" , \"z\":\"\\ud800\" }";
        assert_eq!(
            forward(sent, "x\"y", true),
            "{ \"a\" : 1.0e5 ,\"mod\\u0065l\"\t:\"x\\\"y\" , \"z\":\"\\ud800\" }"
        );
        assert_eq!(forward(r#"{"model":"same"}"#, "same", true), r#"{"model":"same"}"#);
    }

    #[test]
    fn usage_is_asked_for_once_wherever_the_options_stand() {
        let cases = [
            (
                r#"{"model":"m","stream":true}"#,
                r#"{"model":"u","stream_options":{"include_usage":true},"stream":true}"#,
            ),
            (
                r#"{"stream_options":null,"stream":true,"model":"m"}"#,
                r#"{"stream_options":{"include_usage":true},"stream":true,"model":"u"}"#,
            ),
            (
                r#"{"stream":true,"model":"m","stream_options":{ }}"#,
                r#"{"stream":true,"model":"u","stream_options":{"include_usage":true }}"#,
            ),
            (
                r#"{"stream":true,"model":"m","stream_options":{"x":1}}"#,
                r#"{"stream":true,"model":"u","stream_options":{"include_usage":true,"x":1}}"#,
            ),
            (
                r#"{"stream":true,"model":"m","stream_options":{"include_usage":false}}"#,
                r#"{"stream":true,"model":"u","stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream":true,"model":"m","stream_options":{"include_usage":true}}"#,
                r#"{"stream":true,"model":"u","stream_options":{"include_usage":true}}"#,
            ),
        ];
        for (sent, expected) in cases {
            assert_eq!(forward(sent, "u", true), expected);
        }
        assert_eq!(forward(r#"{"model":"m","stream":true}"#, "u", false), r#"{"model":"u","stream":true}"#);
        assert_eq!(forward(r#"{"model":"m"}"#, "u", true), r#"{"model":"u"}"#, "not streamed");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((".*", inner), 0..6)
                    .prop_map(|pairs| Value::from(pairs.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        /// Law 1: any object survives but for `model` and `include_usage`, in its keys' order and spelling.
        #[test]
        fn any_object_survives(
            fields in prop::collection::vec(("[a-zA-Z_ü\"]{0,8}", any_json()), 0..8),
            at in 0_usize..9, model in ".*", upstream in ".*", pretty in any::<bool>(), stream in any::<bool>(),
        ) {
            let read = ["model", "messages", "stream", "stream_options", "n", "tools", "functions", "response_format",
                "modalities", "max_tokens", "max_completion_tokens"];
            let mut object = Map::new();
            for (index, (key, value)) in fields.iter().enumerate() {
                if index == at { object.insert("model".into(), model.clone().into()); }
                if !read.contains(&key.as_str()) { object.insert(key.clone(), value.clone()); }
            }
            object.insert("model".into(), model.into());
            object.insert("stream".into(), stream.into());
            let value = Value::from(object);
            let sent = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };

            let got = forward(&sent, &upstream, true);
            let mut expected = value;
            expected["model"] = upstream.into();
            if stream { expected["stream_options"] = serde_json::json!({"include_usage": true}); }
            prop_assert_eq!(serde_json::from_str::<Value>(&got).unwrap(), expected);
            // Byte for byte: without the model's value and the insertion, what is left is the client's own.
            let request = Request::parse(Bytes::copy_from_slice(sent.as_bytes())).unwrap();
            let (before, after) = (&sent[..request.model_span.start], &sent[request.model_span.end..]);
            prop_assert!(got.starts_with(before) && got.ends_with(after));
        }
    }
}
