//! Where a chunked body ends: the same states as hyper's decoder, which reads what this only counts.
//!
//! Must not know what the bytes mean.

/// Where in a chunked body the next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Chunks {
    /// At the first digit of a chunk's size.
    Start,
    /// In the size, so far this.
    Size(u64),
    /// In the white space behind the size.
    Space(u64),
    /// In the chunk's extension.
    Extension(u64),
    /// Before the line feed that ends the size's line.
    SizeEnd(u64),
    /// In the data, with so many bytes to come.
    Data(u64),
    /// Before the carriage return behind the data.
    DataReturn,
    /// Before its line feed.
    DataEnd,
    /// At the beginning of a line behind the last chunk.
    Line,
    /// In a trailer field.
    Trailer,
    /// Before the line feed that ends a trailer field.
    TrailerEnd,
    /// Before the body's last line feed.
    LastEnd,
}

/// Where the bytes at hand left a chunked body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Counted {
    /// It goes on.
    On(Chunks),
    /// It ended, with so many bytes left that are not its own.
    Ended(usize),
    /// This is no chunked body. Whoever reads it will say so.
    Broken,
}

impl Chunks {
    /// Goes through `bytes`.
    pub(super) fn count(mut self, mut bytes: &[u8]) -> Counted {
        loop {
            if let Self::Data(left) = self {
                let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let left = left - here as u64;
                bytes = bytes.get(here..).unwrap_or_default();
                self = if left == 0 { Self::DataReturn } else { Self::Data(left) };
            }
            let Some((&byte, rest)) = bytes.split_first() else { return Counted::On(self) };
            if (self, byte) == (Self::LastEnd, b'\n') {
                return Counted::Ended(rest.len());
            }
            let Some(next) = self.next(byte) else { return Counted::Broken };
            (self, bytes) = (next, rest);
        }
    }

    fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Start, _) => Self::Size(digit(byte)?),
            (Self::Size(size) | Self::Space(size), b'\t' | b' ') => Self::Space(size),
            (Self::Size(size) | Self::Space(size), b';') => Self::Extension(size),
            (Self::Size(size) | Self::Space(size) | Self::Extension(size), b'\r') => Self::SizeEnd(size),
            (Self::Size(size), _) => Self::Size(size.checked_mul(16)?.checked_add(digit(byte)?)?),
            (Self::Extension(size), byte) if byte != b'\n' => Self::Extension(size),
            (Self::SizeEnd(0), b'\n') | (Self::TrailerEnd, b'\n') => Self::Line,
            (Self::SizeEnd(size), b'\n') => Self::Data(size),
            (Self::DataReturn, b'\r') => Self::DataEnd,
            (Self::DataEnd, b'\n') => Self::Start,
            (Self::Line, b'\r') => Self::LastEnd,
            (Self::Trailer, b'\r') => Self::TrailerEnd,
            (Self::Line | Self::Trailer, _) => Self::Trailer,
            _ => return None,
        })
    }
}

fn digit(byte: u8) -> Option<u64> {
    char::from(byte).to_digit(16).map(u64::from)
}
