//! The messages of a chat request, read for routing: who said what text, and what else is attached.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{object::Object, text::LossyString};

/// One message, with its text parts only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message<'a> {
    /// `user`, `assistant`, `system`, `developer`, `tool`, …
    pub role: LossyString<'a>,
    /// Its text parts, in order.
    pub texts: Vec<LossyString<'a>>,
    /// An image is attached.
    pub has_image: bool,
    /// Audio is attached.
    pub has_audio: bool,
}

/// What is wrong with `messages`.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum MessagesError {
    /// Not an array of objects of the expected types.
    #[error("'messages' must be an array of objects, each with a string 'role': {0}")]
    Shape(String),
    /// No messages.
    #[error("'messages' must hold at least one message")]
    Empty,
    /// A message's content is neither text, nor parts, nor null.
    #[error("'messages[{0}].content' must be a string, an array of content parts or null")]
    Content(usize),
}

#[derive(Deserialize)]
struct WireMessage<'a> {
    #[serde(borrow)]
    role: LossyString<'a>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WirePart<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<LossyString<'a>>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
}

/// Reads the value of `messages`.
///
/// # Errors
/// When it is no array of messages, or an empty one, or a key that is read occurs twice in a message.
pub fn parse(json: &str) -> Result<Vec<Message<'_>>, MessagesError> {
    let wire: Vec<Object<WireMessage<'_>>> =
        serde_json::from_str(json).map_err(|error| MessagesError::Shape(error.to_string()))?;
    if wire.is_empty() {
        return Err(MessagesError::Empty);
    }
    wire.into_iter().enumerate().map(|(index, message)| read(index, message.0)).collect()
}

fn read(index: usize, wire: WireMessage<'_>) -> Result<Message<'_>, MessagesError> {
    let mut message = Message { role: wire.role, texts: Vec::new(), has_image: false, has_audio: false };
    let Some(content) = wire.content else { return Ok(message) };
    match content.get().as_bytes().first() {
        Some(b'"') => {
            message
                .texts
                .push(serde_json::from_str(content.get()).map_err(|_| MessagesError::Content(index))?);
        }
        Some(b'[') => {
            let parts: Vec<Object<WirePart<'_>>> =
                serde_json::from_str(content.get()).map_err(|_| MessagesError::Content(index))?;
            for part in parts {
                add_part(&mut message, &part.0);
            }
        }
        _ => return Err(MessagesError::Content(index)),
    }
    Ok(message)
}

/// Kinds of part that the gateway has never heard of are the upstream's business.
fn add_part<'a>(message: &mut Message<'a>, part: &WirePart<'a>) {
    match part.kind.as_ref().map(|kind| kind.0.as_ref()) {
        Some("text" | "input_text") => {
            if let Some(text) = part.text.and_then(|raw| serde_json::from_str(raw.get()).ok()) {
                message.texts.push(text);
            }
        }
        Some("image_url" | "input_image" | "image") => message.has_image = true,
        Some("input_audio" | "audio") => message.has_audio = true,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_text_parts_and_attachments() {
        let messages = parse(
            r#"[{"role":"system","content":"be brief"},
                {"role":"user","content":[{"type":"text","text":"what is \u00e9"},{"type":"image_url","image_url":{"url":"data:"}}]},
                {"role":"assistant","content":null,"tool_calls":[]}, {"role":"tool"}]"#,
        )
        .unwrap();
        assert_eq!(messages.len(), 4);
        let user = messages.get(1).unwrap();
        assert_eq!(user.texts, vec![LossyString("what is é".into())]);
        assert!(user.has_image && !user.has_audio);
        assert!(messages.get(2).unwrap().texts.is_empty());
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(parse("[]"), Err(MessagesError::Empty));
        assert_eq!(parse(r#"[{"role":"user","content":3}]"#), Err(MessagesError::Content(0)));
        assert!(matches!(parse(r#"{"role":"user"}"#), Err(MessagesError::Shape(_))));
        assert!(matches!(parse(r#"[{"content":"x"}]"#), Err(MessagesError::Shape(_))));
        assert!(matches!(parse(r#"[["user","x"]]"#), Err(MessagesError::Shape(_))));
        assert!(matches!(parse(r#"["x"]"#), Err(MessagesError::Shape(_))));
    }

    #[test]
    fn a_content_key_that_occurs_twice_is_refused() {
        let twice = r#"[{"role":"user","content":"a","c\u006fntent":"b"}]"#;
        assert!(matches!(parse(twice), Err(MessagesError::Shape(_))));
    }
}
