//! What a client has been given of an answer, and how another upstream's answer is made the rest of it.
//!
//! An answer that breaks can be gone on with as long as it is one text and nothing else. Another upstream either *continues* it,
//! being given what there is, or *replays* it: it is asked the same again, and what it writes is held back while it repeats
//! what the client has. The first difference ends the attempt: a client is never given two halves of different answers.

use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::openai::usage::Usage;

/// Longest text that is remembered.
const TEXT_BYTES_MAX: usize = 4 << 20;

/// One answer over all the attempts at it.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    /// What the first attempt called the answer, and when it said that it was made; JSON texts.
    id: Option<String>,
    created: Option<String>,
    /// All of the text that the client has, or is about to get.
    text: String,
    /// It has had something else too, or more than can be remembered.
    lost: bool,
    /// What earlier attempts used.
    used_before: Usage,
    part: Part,
}

/// What the attempt that is on its way does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Part {
    /// It is the first.
    #[default]
    Leads,
    /// It repeats; so many bytes of the text have come again.
    Replays(usize),
    /// It goes on.
    Continues,
}

/// What becomes of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// It goes to the client as it is.
    AsItIs,
    /// It goes to the client with this data.
    With(String),
    /// The client has what it says.
    Known,
    /// It says something else than the client has.
    Differs,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<Vec<Choice<'a>>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<std::collections::HashMap<String, &'a RawValue>>,
}

/// Fields of a delta that hold how a model reasons: no part of the answer's text.
const REASONING: [&str; 2] = ["reasoning", "reasoning_content"];

impl Transcript {
    /// What is left of the answer can come from another upstream.
    #[must_use]
    pub fn can_go_on(&self) -> bool {
        !self.lost
    }

    /// The text so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The attempt that broke used so much.
    pub fn add_usage(&mut self, used: Usage) {
        self.used_before = self.used_before + used;
    }

    /// Whether the next attempt is given the text to go on from, or repeats it.
    pub fn aims_at(&mut self, continues: bool) {
        self.part = if continues { Part::Continues } else { Part::Replays(0) };
    }

    /// The text that the attempt is given to go on from.
    #[must_use]
    pub fn given(&self) -> Option<&str> {
        (self.part == Part::Continues).then_some(&*self.text)
    }

    /// Takes an event's data.
    pub fn take(&mut self, data: &str) -> Taken {
        match self.part {
            Part::Leads => {
                self.remember(data);
                Taken::AsItIs
            }
            Part::Replays(_) | Part::Continues => self.follow(data),
        }
    }

    fn remember(&mut self, data: &str) {
        if self.lost {
            return;
        }
        let Ok(chunk) = serde_json::from_str::<Chunk<'_>>(data) else {
            self.lost = true;
            return;
        };
        // A client gets one usage event, the last: after one of its own the answer is all but over.
        self.lost |= chunk.usage.is_some() && chunk.choices.as_ref().is_some_and(Vec::is_empty);
        let raw = |value: Option<&RawValue>| value.map(|value| value.get().to_owned());
        if self.id.is_none() {
            (self.id, self.created) = (raw(chunk.id), raw(chunk.created));
        }
        for (key, value) in chunk.choices.into_iter().flatten().filter_map(|choice| choice.delta).flatten() {
            match (&*key, value.get()) {
                ("role", _) | (_, "null" | "\"\"" | "[]" | "{}") => {}
                ("content", text) => match serde_json::from_str::<String>(text) {
                    Ok(text) => self.text.push_str(&text),
                    Err(_) => self.lost = true,
                },
                _ => self.lost = true,
            }
        }
        self.lost |= self.text.len() > TEXT_BYTES_MAX;
    }

    fn follow(&mut self, data: &str) -> Taken {
        let Ok(mut chunk) = serde_json::from_str::<Value>(data) else { return Taken::Differs };
        let mut says_more = self.sum_usage(&mut chunk);
        let is_repeating = matches!(self.part, Part::Replays(matched) if matched < self.text.len());
        if let Some(choice) = chunk.pointer_mut("/choices/0") {
            let finishes = choice.get("finish_reason").is_some_and(|reason| !reason.is_null());
            if let Some(delta) = choice.get_mut("delta").and_then(Value::as_object_mut) {
                // The client has been told whose turn it is.
                delta.remove("role");
                delta.retain(|key, value| {
                    let is_empty = matches!(value, Value::Null) || *value == json!("") || *value == json!([]);
                    let is_aside = is_repeating && REASONING.contains(&&**key);
                    !(is_empty || is_aside)
                });
                if let Some(content) = delta.remove("content") {
                    let Some(text) = content.as_str() else { return Taken::Differs };
                    match self.go_on(text) {
                        None => return Taken::Differs,
                        Some("") => {}
                        Some(new) => {
                            let new = new.to_owned();
                            self.text.push_str(&new);
                            delta.insert("content".to_owned(), new.into());
                        }
                    }
                }
                says_more |= !delta.is_empty();
                let only_text = delta.keys().all(|key| key == "content" || REASONING.contains(&&**key));
                if !only_text || (is_repeating && delta.keys().any(|key| key != "content")) {
                    return Taken::Differs;
                }
            }
            if finishes && matches!(self.part, Part::Replays(matched) if matched < self.text.len()) {
                return Taken::Differs;
            }
            says_more |= finishes;
        }
        if !says_more {
            return Taken::Known;
        }
        for (key, first) in [("id", &self.id), ("created", &self.created)] {
            if let Some(first) = first.as_deref().and_then(|json| serde_json::from_str::<Value>(json).ok())
                && let Some(object) = chunk.as_object_mut()
            {
                object.insert(key.to_owned(), first);
            }
        }
        Taken::With(chunk.to_string())
    }

    /// What of this text the client does not have; `None` when it has something else.
    fn go_on<'a>(&mut self, text: &'a str) -> Option<&'a str> {
        let Part::Replays(matched) = &mut self.part else { return Some(text) };
        let known = self.text.get(*matched..).unwrap_or_default();
        if known.len() >= text.len() {
            *matched += text.len();
            return known.starts_with(text).then_some("");
        }
        let new = text.strip_prefix(known)?;
        *matched = self.text.len() + new.len();
        Some(new)
    }

    /// Adds what earlier attempts used to what this one reports; whether it reports.
    fn sum_usage(&self, chunk: &mut Value) -> bool {
        let Some(reported) = chunk.get("usage").and_then(|usage| Usage::parse(&usage.to_string())) else {
            return false;
        };
        if let Some(usage) = chunk.get_mut("usage") {
            (self.used_before + reported).write(usage);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delta(id: &str, delta: &Value) -> String {
        json!({"id": id, "created": 7, "choices": [{"index": 0, "delta": delta, "finish_reason": null}]})
            .to_string()
    }

    fn content(id: &str, text: &str) -> String {
        delta(id, &json!({"content": text}))
    }

    fn finish(id: &str) -> String {
        json!({"id": id, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string()
    }

    impl Transcript {
        fn for_next(mut self, used: Usage, continues: bool) -> Self {
            self.add_usage(used);
            self.aims_at(continues);
            self
        }
    }

    fn led(texts: &[&str]) -> Transcript {
        let mut transcript = Transcript::default();
        assert_eq!(
            transcript.take(&delta("first", &json!({"role": "assistant", "content": ""}))),
            Taken::AsItIs
        );
        for text in texts {
            assert_eq!(transcript.take(&content("first", text)), Taken::AsItIs);
        }
        transcript
    }

    /// The text that a client is given of these events, each of which must bear the first attempt's names.
    fn given(transcript: &mut Transcript, events: &[String]) -> Option<String> {
        let mut text = String::new();
        for event in events {
            match transcript.take(event) {
                Taken::Differs => return None,
                Taken::Known => {}
                Taken::AsItIs => panic!("rewritten, if anything"),
                Taken::With(data) => {
                    let chunk: Value = serde_json::from_str(&data).unwrap();
                    assert_eq!((&chunk["id"], &chunk["created"]), (&json!("first"), &json!(7)));
                    text +=
                        chunk.pointer("/choices/0/delta/content").and_then(Value::as_str).unwrap_or_default();
                }
            }
        }
        Some(text)
    }

    #[test]
    fn a_replay_is_silent_while_it_repeats_and_then_goes_on() {
        let mut transcript = led(&["Hel", "lo wo"]).for_next(Usage::default(), false);
        let role = delta("second", &json!({"role": "assistant", "content": ""}));
        let again = [role, content("second", "Hello"), content("second", " world"), finish("second")];
        assert_eq!(given(&mut transcript, &again).as_deref(), Some("rld"));
        assert_eq!(transcript.text(), "Hello world");
    }

    #[test]
    fn the_first_difference_ends_it() {
        let replay = || led(&["Hello"]).for_next(Usage::default(), false);
        assert_eq!(given(&mut replay(), &[content("b", "Help")]), None);
        assert_eq!(given(&mut replay(), &[content("b", "Hel"), content("b", "p you")]), None);
        assert_eq!(
            given(&mut replay(), &[content("b", "Hell"), finish("b")]),
            None,
            "it ends before the first did"
        );
        assert_eq!(given(&mut replay(), &[delta("b", &json!({"tool_calls": [{"index": 0}]}))]), None);
        assert_eq!(given(&mut replay(), &[content("b", "Hello"), finish("b")]).as_deref(), Some(""));
    }

    #[test]
    fn a_continuation_is_given_as_it_comes() {
        let mut transcript = led(&["Hello"]).for_next(Usage::default(), true);
        let rest = [delta("b", &json!({"role": "assistant"})), content("b", " world"), finish("b")];
        assert_eq!(given(&mut transcript, &rest).as_deref(), Some(" world"));
        assert_eq!(transcript.text(), "Hello world");
    }

    #[test]
    fn usage_is_summed_over_the_attempts() {
        let used = Usage { cached_tokens: 8, ..Usage::of(10, 3) };
        let mut transcript = led(&["Hi"]).for_next(used, true);
        let usage =
            json!({"id": "b", "choices": [], "usage": {"prompt_tokens": 12, "completion_tokens": 4, "x": 1}});
        let Taken::With(data) = transcript.take(&usage.to_string()) else {
            panic!("usage is for the client")
        };
        let summed: Value = serde_json::from_str(&data).unwrap();
        assert_eq!(
            summed["usage"],
            json!({"prompt_tokens": 22, "completion_tokens": 7, "total_tokens": 29, "x": 1,
                "prompt_tokens_details": {"cached_tokens": 8}})
        );
    }

    #[test]
    fn what_is_not_text_cannot_be_gone_on_with() {
        for other in [
            json!({"tool_calls": [{"index": 0}]}),
            json!({"reasoning_content": "x"}),
            json!({"refusal": "no"}),
        ] {
            let mut transcript = led(&["Hi"]);
            assert!(transcript.can_go_on());
            transcript.take(&delta("first", &other));
            assert!(!transcript.can_go_on(), "{other}");
        }
    }

    #[test]
    fn a_replay_may_reason_before_it_repeats() {
        let mut transcript = led(&["Hi"]).for_next(Usage::default(), false);
        let again = [delta("b", &json!({"reasoning_content": "hm"})), content("b", "Hi you")];
        assert_eq!(given(&mut transcript, &again).as_deref(), Some(" you"));
    }

    proptest! {
        /// Wherever both attempts cut their pieces, and wherever the first broke.
        #[test]
        fn the_client_has_the_whole_text_once(text in "[a-c\u{e9}\u{1f680}\"\\\\\n]{0,40}", cut in 0_usize..40, sizes in prop::collection::vec(1_usize..6, 1..40)) {
            let chars: Vec<char> = text.chars().collect();
            let cut = cut.min(chars.len());
            let pieces = |of: &[char]| -> Vec<String> {
                let mut rest = of;
                let mut made = Vec::new();
                for size in sizes.iter().cycle() {
                    if rest.is_empty() { break }
                    let (piece, left) = rest.split_at((*size).min(rest.len()));
                    made.push(piece.iter().collect());
                    rest = left;
                }
                made
            };
            let sent = pieces(&chars[..cut]);
            let sent: Vec<&str> = sent.iter().map(String::as_str).collect();
            let mut transcript = led(&sent).for_next(Usage::default(), false);
            let mut again: Vec<String> = pieces(&chars).iter().map(|piece| content("second", piece)).collect();
            again.push(finish("second"));
            let rest = given(&mut transcript, &again).expect("it repeats the text");
            prop_assert_eq!(sent.concat() + &rest, &*text);
            prop_assert_eq!(transcript.text(), text);
        }

        #[test]
        fn whatever_comes_is_taken_or_differs(data in ".*") {
            let mut transcript = led(&["Hi"]).for_next(Usage::default(), false);
            prop_assert!(!matches!(transcript.take(&data), Taken::AsItIs));
        }
    }
}
