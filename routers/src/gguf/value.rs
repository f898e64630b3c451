//! Metadata: numbers, texts and lists of either.

use super::GgufError;
use super::cursor::Cursor;

/// A metadata value. Whole numbers and floats of every width are widened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// A whole number without a sign.
    Unsigned(u64),
    /// A whole number with a sign.
    Signed(i64),
    /// A float.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(&'a str),
    /// A list of values of one type.
    Array(Array<'a>),
}

/// A list of metadata values, still in the file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Array<'a> {
    kind: u32,
    count: u64,
    /// Exactly what the values fill, each read once already.
    bytes: &'a [u8],
}

const TEXT: u32 = 8;
const ARRAY: u32 = 9;

impl<'a> Value<'a> {
    /// Reads a value of this type.
    pub(super) fn read(cursor: &mut Cursor<'a>, kind: u32, key: &str) -> Result<Self, GgufError> {
        if kind == ARRAY {
            Array::read(cursor, key).map(Self::Array)
        } else {
            Self::scalar(cursor, kind, key)
        }
    }

    fn scalar(cursor: &mut Cursor<'a>, kind: u32, key: &str) -> Result<Self, GgufError> {
        let refuse = |reason: String| GgufError::Metadata { key: key.to_owned(), reason };
        Ok(match kind {
            0 => Self::Unsigned(u8::from_le_bytes(cursor.array(key)?).into()),
            1 => Self::Signed(i8::from_le_bytes(cursor.array(key)?).into()),
            2 => Self::Unsigned(u16::from_le_bytes(cursor.array(key)?).into()),
            3 => Self::Signed(i16::from_le_bytes(cursor.array(key)?).into()),
            4 => Self::Unsigned(cursor.u32(key)?.into()),
            5 => Self::Signed(i32::from_le_bytes(cursor.array(key)?).into()),
            6 => Self::Float(f32::from_le_bytes(cursor.array(key)?).into()),
            7 => match cursor.array(key)? {
                [0] => Self::Bool(false),
                [1] => Self::Bool(true),
                [other] => return Err(refuse(format!("is a truth value of {other}"))),
            },
            TEXT => Self::Text(cursor.text(key)?),
            10 => Self::Unsigned(cursor.u64(key)?),
            11 => Self::Signed(i64::from_le_bytes(cursor.array(key)?)),
            12 => Self::Float(f64::from_le_bytes(cursor.array(key)?)),
            other => return Err(refuse(format!("has the unknown type {other}"))),
        })
    }

    /// A whole number that is not negative.
    #[must_use]
    pub fn unsigned(&self) -> Option<u64> {
        match *self {
            Self::Unsigned(value) => Some(value),
            Self::Signed(value) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    /// A number of any type.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match *self {
            Self::Unsigned(value) => Some(value as f64),
            Self::Signed(value) => Some(value as f64),
            Self::Float(value) => Some(value),
            _ => None,
        }
    }

    /// A text.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        if let Self::Text(text) = *self { Some(text) } else { None }
    }

    /// True or false.
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        if let Self::Bool(value) = *self { Some(value) } else { None }
    }

    /// A list.
    #[must_use]
    pub fn array(&self) -> Option<Array<'a>> {
        if let Self::Array(array) = *self { Some(array) } else { None }
    }
}

impl<'a> Array<'a> {
    fn read(cursor: &mut Cursor<'a>, key: &str) -> Result<Self, GgufError> {
        let (kind, count) = (cursor.u32(key)?, cursor.u64(key)?);
        // Nothing writes them, and to read them would take as deep a stack as the file likes.
        if kind == ARRAY {
            let reason = "is a list of lists, which is not supported".to_owned();
            return Err(GgufError::Metadata { key: key.to_owned(), reason });
        }
        let rest = cursor.rest();
        let start = cursor.position();
        // Every value takes at least a byte, so that a count that lies ends with the file.
        for _ in 0..count {
            Value::scalar(cursor, kind, key)?;
        }
        let bytes = rest.get(..cursor.position() - start).unwrap_or_default();
        Ok(Self { kind, count, bytes })
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        // Each was read from a byte of its own.
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The values, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let (mut cursor, kind) = (Cursor::new(self.bytes), self.kind);
        (0..self.count).map_while(move |_| Value::scalar(&mut cursor, kind, "a list").ok())
    }
}
