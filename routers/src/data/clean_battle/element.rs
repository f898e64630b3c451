//! One element of the array: the fields that matter, of whatever type they are; the others are passed over unread.

use crate::data::RowProblem;
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use std::fmt;

/// The fields that matter.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Element {
    pub model_a: Scalar,
    pub model_b: Scalar,
    pub winner: Scalar,
    pub language: Scalar,
    pub anony: Scalar,
    /// What stands in `dedup_tag.sampled`.
    pub tag_sampled: Scalar,
    /// What stands in `sampled`: of interest in a `dedup_tag`.
    sampled: Scalar,
}

/// A place in the array; `None` where what stands there is no object.
pub(super) struct Slot(pub Option<Element>);

/// A value of a field, as far as it matters.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Scalar {
    /// Not there, or null.
    #[default]
    Missing,
    Flag(bool),
    Text(String),
    /// A number, a list or an object.
    Other,
}

impl Scalar {
    /// The text of a field that has to be a string.
    pub(super) fn text(self, field: &str) -> Result<String, RowProblem> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Missing => Err(RowProblem::Shape(format!("missing field `{field}`"))),
            Self::Flag(_) | Self::Other => Err(RowProblem::Shape(format!("{field} is no string"))),
        }
    }
}

/// The names of the fields that matter.
#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    ModelA,
    ModelB,
    Winner,
    Language,
    Anony,
    DedupTag,
    Sampled,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Slot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any).map(|value| match value {
            Value::Object(element) => Self(Some(*element)),
            Value::Scalar(_) => Self(None),
        })
    }
}

/// Any JSON value. An object is read as an element, and so is the `dedup_tag` within one.
enum Value {
    Object(Box<Element>),
    Scalar(Scalar),
}

impl Value {
    fn scalar(self) -> Scalar {
        match self {
            Self::Object(_) => Scalar::Other,
            Self::Scalar(scalar) => scalar,
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut element = Element::default();
        while let Some(field) = map.next_key()? {
            let place = match field {
                Field::ModelA => &mut element.model_a,
                Field::ModelB => &mut element.model_b,
                Field::Winner => &mut element.winner,
                Field::Language => &mut element.language,
                Field::Anony => &mut element.anony,
                Field::Sampled => &mut element.sampled,
                Field::DedupTag => {
                    if let Value::Object(tag) = map.next_value()? {
                        element.tag_sampled = tag.sampled;
                    }
                    continue;
                }
                Field::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *place = map.next_value::<Value>()?.scalar();
        }
        Ok(Value::Object(Box::new(element)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Scalar(Scalar::Other))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Flag(flag)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Text(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Missing))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Other))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Other))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value, E> {
        Ok(Value::Scalar(Scalar::Other))
    }
}
