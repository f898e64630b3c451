//! GGUF files, versions 2 and 3: typed metadata and named tensors, widened to 32-bit floats.
//!
//! A header is believed only as far as the file's own size bears it out: every length is checked before anything is
//! made of it, and what a file says of itself is borrowed from its bytes. Must not know what the tensors are for.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod cursor;
mod error;
#[cfg(test)]
pub(crate) mod fixture;
mod kind;
mod quantised;
mod tensor;
mod value;

use std::collections::BTreeMap;

pub use error::GgufError;
pub use kind::Kind;
pub use tensor::Tensor;
pub use value::{Array, Value};

use cursor::Cursor;

/// Where tensors start, when the file does not say: at multiples of this many bytes.
const ALIGNMENT: usize = 32;

/// A file's table of contents, borrowed from its bytes.
#[derive(Debug)]
pub struct Gguf<'a> {
    metadata: BTreeMap<&'a str, Value<'a>>,
    tensors: BTreeMap<&'a str, Tensor<'a>>,
}

impl<'a> Gguf<'a> {
    /// Reads the header of a whole file and checks that every tensor it names lies within it, apart from all others.
    ///
    /// # Errors
    /// When the file is no GGUF of version 2 or 3, is cut short, or its header contradicts itself or the file's size.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, GgufError> {
        let mut cursor = Cursor::new(bytes);
        check_version(&mut cursor)?;
        let (tensors, entries) = (cursor.u64("the count of tensors")?, cursor.u64("the count of metadata")?);
        let metadata = read_metadata(&mut cursor, entries)?;
        let headers = tensor::read_headers(&mut cursor, tensors)?;
        let start = cursor.position().next_multiple_of(alignment(&metadata)?);
        let tensors = tensor::place(headers, bytes.get(start..).unwrap_or_default(), alignment(&metadata)?)?;
        Ok(Self { metadata, tensors })
    }

    /// The metadata under a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&Value<'a>> {
        self.metadata.get(key)
    }

    /// A tensor by its name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<&Tensor<'a>> {
        self.tensors.get(name)
    }

    /// All tensors with their names, sorted by name.
    pub fn tensors(&self) -> impl Iterator<Item = (&'a str, &Tensor<'a>)> {
        self.tensors.iter().map(|(name, tensor)| (*name, tensor))
    }
}

fn check_version(cursor: &mut Cursor<'_>) -> Result<(), GgufError> {
    if cursor.take(4, "the magic number")? != b"GGUF" {
        return Err(GgufError::Magic);
    }
    match cursor.u32("the version")? {
        2 | 3 => Ok(()),
        // The file's bytes are in the other order.
        version if version.swap_bytes() <= 3 => Err(GgufError::BigEndian),
        version => Err(GgufError::Version(version)),
    }
}

fn read_metadata<'a>(
    cursor: &mut Cursor<'a>,
    entries: u64,
) -> Result<BTreeMap<&'a str, Value<'a>>, GgufError> {
    let mut metadata = BTreeMap::new();
    for _ in 0..entries {
        let key = cursor.text("a metadata key")?;
        let kind = cursor.u32(key)?;
        if metadata.insert(key, Value::read(cursor, kind, key)?).is_some() {
            return Err(GgufError::Twice(key.to_owned()));
        }
    }
    Ok(metadata)
}

fn alignment(metadata: &BTreeMap<&str, Value<'_>>) -> Result<usize, GgufError> {
    const KEY: &str = "general.alignment";
    const LARGEST: u64 = 1 << 16;
    let Some(value) = metadata.get(KEY) else { return Ok(ALIGNMENT) };
    let alignment = value.unsigned().filter(|value| value.is_power_of_two() && *value <= LARGEST);
    alignment
        .and_then(|value| usize::try_from(value).ok())
        .ok_or_else(|| GgufError::Metadata { key: KEY.to_owned(), reason: "is no power of two".to_owned() })
}

#[cfg(test)]
mod tests;
