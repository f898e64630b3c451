//! How much a model wrote, where nobody counted its tokens.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// Keys whose texts name and sort what was written, or hold it a second time, or as base64.
const NOT_WRITTEN: [&str; 11] = [
    "annotations",
    "call_id",
    "data",
    "encrypted_content",
    "finish_reason",
    "id",
    "logprobs",
    "object",
    "role",
    "status",
    "type",
];

/// Characters a token, as English text has with common tokenizers.
const CHARACTERS_A_TOKEN: u64 = 4;

/// The characters of the texts in a JSON value: what a model wrote there. A value that cannot be read counts its bytes.
#[must_use]
pub fn characters(json: &str) -> u64 {
    let counted = serde_json::from_str::<Characters>(json).map(|counted| counted.0);
    counted.unwrap_or_else(|_| u64::try_from(json.len()).unwrap_or(u64::MAX))
}

/// The tokens that so many characters make, about.
#[must_use]
pub fn tokens(characters: u64) -> u64 {
    characters.div_ceil(CHARACTERS_A_TOKEN)
}

struct Characters(u64);

impl<'de> Deserialize<'de> for Characters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Counter).map(Self)
    }
}

struct Counter;

impl<'de> Visitor<'de> for Counter {
    type Value = u64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_str<E>(self, text: &str) -> Result<u64, E> {
        Ok(u64::try_from(text.chars().count()).unwrap_or(u64::MAX))
    }

    fn visit_unit<E>(self) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_bool<E>(self, _: bool) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_i64<E>(self, _: i64) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_u64<E>(self, _: u64) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_f64<E>(self, _: f64) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<u64, A::Error> {
        let mut sum = 0_u64;
        while let Some(Characters(more)) = items.next_element()? {
            sum = sum.saturating_add(more);
        }
        Ok(sum)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<u64, A::Error> {
        let mut sum = 0_u64;
        while let Some(key) = fields.next_key::<Cow<'de, str>>()? {
            if NOT_WRITTEN.contains(&&*key) {
                fields.next_value::<IgnoredAny>()?;
            } else {
                let Characters(more) = fields.next_value()?;
                sum = sum.saturating_add(more);
            }
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_counts_and_what_sorts_it_does_not() {
        for (json, expected) in [
            (r#""h\u00e9llo\n""#, 6),
            (r#"{"role":"assistant","content":"héllo","refusal":null}"#, 5),
            (r#"[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{}"}}]"#, 3),
            (
                r#"{"audio":{"id":"a","data":"AAAA","transcript":"hey"},"logprobs":{"content":[{"token":"x"}]}}"#,
                3,
            ),
            ("[1,2.5,-3,true,null]", 0),
            (r#""\ud800""#, 8),
        ] {
            assert_eq!(characters(json), expected, "{json}");
        }
        assert_eq!((tokens(0), tokens(1), tokens(8)), (0, 1, 2));
    }
}
