//! The text a router reads of a conversation. Never tool output, never image bytes.

use std::borrow::Cow;

use crate::{config::RoutingText, openai::messages::Message};

/// The part of a conversation that `mode` names, at most `chars_max` characters of it.
///
/// `last_user` takes the last user turn and, before it, as many earlier ones as fit whole; a turn that is itself
/// too long keeps its beginning.
#[must_use]
pub fn routing_text(mode: RoutingText, messages: &[Message<'_>], chars_max: usize) -> String {
    let turns: Vec<Cow<'_, str>> = match mode {
        RoutingText::LastUser | RoutingText::FirstUser => turns(messages, &["user"]),
        RoutingText::Conversation => turns(messages, &["user", "assistant"]),
    };
    match mode {
        RoutingText::FirstUser => turns.first().map_or("", |turn| beginning(turn, chars_max)).to_owned(),
        RoutingText::LastUser | RoutingText::Conversation => latest(&turns, chars_max),
    }
}

fn turns<'a>(messages: &'a [Message<'_>], roles: &[&str]) -> Vec<Cow<'a, str>> {
    messages.iter().filter(|message| roles.contains(&message.role.0.as_ref())).map(joined).collect()
}

/// The text parts of a turn, a line each.
fn joined<'a>(message: &'a Message<'_>) -> Cow<'a, str> {
    match message.texts.as_slice() {
        [only] => Cow::Borrowed(&only.0),
        texts => texts.iter().map(|text| text.0.as_ref()).collect::<Vec<_>>().join("\n").into(),
    }
}

/// The last turn, and as many before it as fit whole, in their order.
fn latest(turns: &[Cow<'_, str>], chars_max: usize) -> String {
    let Some((last, earlier)) = turns.split_last() else { return String::new() };
    let last = beginning(last, chars_max);
    let mut left = chars_max - last.chars().count();
    let mut kept = vec![last];
    for turn in earlier.iter().rev() {
        let length = turn.chars().count() + 1;
        if length > left {
            break;
        }
        left -= length;
        kept.push(turn);
    }
    kept.reverse();
    kept.join("\n")
}

fn beginning(text: &str, chars_max: usize) -> &str {
    if text.len() <= chars_max {
        // No text has more characters than bytes.
        return text;
    }
    let end = text.char_indices().nth(chars_max).map_or(text.len(), |(place, _)| place);
    text.get(..end).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::messages::parse;

    const CHAT: &str = r#"[{"role":"system","content":"S"},{"role":"user","content":"first"},{"role":"assistant","content":"answer"},
        {"role":"tool","content":"secret tool output"},{"role":"user","content":[{"type":"text","text":"second"},{"type":"image_url","image_url":{"url":"data:abc"}},{"type":"text","text":"part"}]}]"#;

    fn text(mode: RoutingText, chars_max: usize) -> String {
        routing_text(mode, &parse(CHAT).unwrap(), chars_max)
    }

    #[test]
    fn each_mode_reads_its_turns() {
        assert_eq!(text(RoutingText::LastUser, 100), "first\nsecond\npart");
        assert_eq!(text(RoutingText::FirstUser, 100), "first");
        assert_eq!(text(RoutingText::Conversation, 100), "first\nanswer\nsecond\npart");
    }

    #[test]
    fn the_last_turn_comes_first_when_room_is_short() {
        assert_eq!(text(RoutingText::LastUser, 16), "second\npart");
        assert_eq!(text(RoutingText::LastUser, 4), "seco");
        assert_eq!(text(RoutingText::FirstUser, 3), "fir");
    }

    #[test]
    fn room_is_counted_in_characters() {
        let messages = parse(r#"[{"role":"user","content":"übergröße"}]"#).unwrap();
        assert_eq!(routing_text(RoutingText::LastUser, &messages, 6), "übergr");
        assert_eq!(routing_text(RoutingText::LastUser, &messages, 9), "übergröße");
        assert_eq!(routing_text(RoutingText::LastUser, &messages, 0), "");
    }

    #[test]
    fn a_conversation_without_user_turns_has_no_text() {
        let messages = parse(r#"[{"role":"system","content":"S"}]"#).unwrap();
        assert_eq!(routing_text(RoutingText::LastUser, &messages, 100), "");
    }
}
