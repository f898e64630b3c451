//! A place in a file's bytes that only moves forward, and never past their end.

use super::GgufError;

/// Bytes that are read one after the other.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// How many bytes have been read.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// What has not been read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    /// The next `count` bytes. Where the file ends before them, the error says that it ends within `what`.
    pub(super) fn take(&mut self, count: u64, what: &str) -> Result<&'a [u8], GgufError> {
        let short = || GgufError::Short(what.to_owned());
        let end = usize::try_from(count).ok().and_then(|count| self.position.checked_add(count));
        let end = end.ok_or_else(short)?;
        let taken = self.bytes.get(self.position..end).ok_or_else(short)?;
        self.position = end;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        let bytes = self.take(N as u64, what)?;
        bytes.first_chunk().copied().ok_or_else(|| GgufError::Short(what.to_owned()))
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        self.array(what).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A text with its length in front.
    pub(super) fn text(&mut self, what: &str) -> Result<&'a str, GgufError> {
        let length = self.u64(what)?;
        std::str::from_utf8(self.take(length, what)?).map_err(|_| GgufError::Text(what.to_owned()))
    }
}
