//! Text as data files hold it: JSON strings with lone surrogates, prompts as one string or as a list of turns.

use serde::{
    Deserialize, Deserializer,
    de::{Error, SeqAccess, Visitor},
};
use serde_json::Value;
use std::fmt;

/// A JSON string; escapes of half a surrogate pair (`"\ud83d"`), which people's prompts do hold, become U+FFFD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text(pub String);

/// The user's turns: a string, or a list of strings in which nulls are skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Turns(pub Vec<String>);

/// A message's content: a string, or a list of parts, of which the texts are joined by line breaks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Joined(pub String);

/// A part of a message's content; images have no text.
#[derive(Deserialize)]
struct Part {
    text: Option<Text>,
}

/// The name of a row in its source: a string or a number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Label(pub String);

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(match Value::deserialize(deserializer)? {
            Value::String(name) => name,
            other => other.to_string(),
        }))
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Asked for bytes, serde_json gives a string's content without insisting on valid Unicode. It also
        // offers lists as bytes, which the visitor does not take.
        deserializer.deserialize_bytes(TextVisitor)
    }
}

struct TextVisitor;

impl Visitor<'_> for TextVisitor {
    type Value = Text;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Text, E> {
        Ok(Text(String::from_utf8_lossy(bytes).into_owned()))
    }
}

impl<'de> Deserialize<'de> for Turns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(TurnsVisitor)
    }
}

struct TurnsVisitor;

impl<'de> Visitor<'de> for TurnsVisitor {
    type Value = Turns;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or a list of strings")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Turns, E> {
        Ok(Turns(vec![text.to_owned()]))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Turns, E> {
        TextVisitor.visit_bytes(bytes).map(|text: Text| Turns(vec![text.0]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Turns, A::Error> {
        let mut turns = Vec::new();
        while let Some(turn) = list.next_element::<Option<Text>>()? {
            turns.extend(turn.map(|text| text.0));
        }
        Ok(Turns(turns))
    }
}

impl<'de> Deserialize<'de> for Joined {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(JoinedVisitor)
    }
}

struct JoinedVisitor;

impl<'de> Visitor<'de> for JoinedVisitor {
    type Value = Joined;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string or a list of content parts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Joined, E> {
        Ok(Joined(text.to_owned()))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Joined, E> {
        TextVisitor.visit_bytes(bytes).map(|text: Text| Joined(text.0))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Joined, A::Error> {
        let mut texts = Vec::new();
        while let Some(part) = list.next_element::<Part>()? {
            texts.extend(part.text.map(|text| text.0));
        }
        Ok(Joined(texts.join("\n")))
    }
}
