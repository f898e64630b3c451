//! Strings of foreign JSON, read without ever failing on a lone surrogate.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, Deserializer, Visitor};

/// A JSON string whose lone surrogates (`"\ud800"`, valid by the grammar, not by Unicode) read as U+FFFD.
///
/// Such a string is only ever *read* so, for routing; what is forwarded are the client's own bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LossyString<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for LossyString<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde_json hands a string to `deserialize_bytes` unescaped, surrogates encoded in three bytes each.
        deserializer.deserialize_bytes(LossyVisitor).map(Self)
    }
}

struct LossyVisitor;

impl<'de> Visitor<'de> for LossyVisitor {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a string")
    }

    fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
        // Texts are valid but for the odd one, and a plain check of that is several times as fast.
        Ok(std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Cow::Owned(String::from_utf8_lossy(bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> String {
        serde_json::from_str::<LossyString<'_>>(json).unwrap().0.into_owned()
    }

    #[test]
    fn plain_and_escaped_strings_read_as_they_are() {
        assert_eq!(read(r#""plain ü""#), "plain ü");
        assert_eq!(read(r#""a\n\ud83d\ude80""#), "a\n🚀");
    }

    #[test]
    fn a_lone_surrogate_does_not_fail() {
        assert!(read(r#""a\ud800b""#).starts_with('a'));
    }

    #[test]
    fn other_types_are_refused() {
        assert!(serde_json::from_str::<LossyString<'_>>("3").is_err());
        assert!(serde_json::from_str::<LossyString<'_>>("null").is_err());
    }
}
