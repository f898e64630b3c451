//! Tensors: what a header says of them, held against where they lie.

use std::collections::BTreeMap;

use super::cursor::Cursor;
use super::kind::{self, Kind};
use super::{GgufError, quantised};

/// Most dimensions of a tensor.
const DIMENSIONS_MAX: u32 = 4;

/// A tensor in a file's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tensor<'a> {
    kind: Kind,
    /// The fastest-running dimension first, as the file has them; 1 past the last.
    dimensions: [usize; DIMENSIONS_MAX as usize],
    count: usize,
    data: &'a [u8],
}

/// What a file says of a tensor.
pub(super) struct Header<'a> {
    name: &'a str,
    kind: Kind,
    dimensions: [usize; DIMENSIONS_MAX as usize],
    count: usize,
    /// Bytes that the tensor fills.
    size: usize,
    /// Its first byte, counted from where tensors start.
    offset: u64,
}

impl Tensor<'_> {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it has this shape, the slowest-running dimension first (rows, then columns).
    #[must_use]
    pub fn has_shape(&self, shape: &[usize]) -> bool {
        shape.len() <= self.dimensions.len()
            && shape.iter().rev().eq(&self.dimensions[..shape.len()])
            && self.dimensions[shape.len()..].iter().all(|size| *size == 1)
    }

    /// The shape, the slowest-running dimension first; leading ones are left out.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        let used = self.dimensions.iter().rposition(|size| *size != 1).map_or(1, |last| last + 1);
        self.dimensions.iter().take(used).rev().copied().collect()
    }

    /// The number of values.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// All values, widened to 32-bit floats, the fastest-running dimension side by side: for a matrix, row by row.
    #[must_use]
    pub fn to_floats(&self) -> Vec<f32> {
        quantised::widen(self.kind, self.data, self.count)
    }
}

/// Reads the headers of all tensors.
pub(super) fn read_headers<'a>(cursor: &mut Cursor<'a>, count: u64) -> Result<Vec<Header<'a>>, GgufError> {
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push(Header::read(cursor)?);
    }
    Ok(headers)
}

/// Finds every tensor in the bytes after the header.
pub(super) fn place<'a>(
    mut headers: Vec<Header<'a>>,
    data: &'a [u8],
    alignment: usize,
) -> Result<BTreeMap<&'a str, Tensor<'a>>, GgufError> {
    // Tensors that share bytes would let a small file ask for any amount of memory.
    headers.sort_by_key(|header| header.offset);
    let mut tensors = BTreeMap::new();
    let mut end = 0;
    for header in headers {
        let start = usize::try_from(header.offset).unwrap_or(usize::MAX);
        if !start.is_multiple_of(alignment) {
            return Err(header.refuse(format!("starts at {start}, no multiple of {alignment} bytes")));
        }
        if start < end {
            return Err(header.refuse("shares bytes with another".to_owned()));
        }
        end = start.saturating_add(header.size);
        let Some(data) = data.get(start..end) else {
            let there = data.len();
            let reason = format!(
                "ends at byte {end} of the tensors, of which the file has {there}: it is cut short; fetch it again"
            );
            return Err(header.refuse(reason));
        };
        let Header { name, kind, dimensions, count, .. } = header;
        if tensors.insert(name, Tensor { kind, dimensions, count, data }).is_some() {
            return Err(GgufError::Twice(name.to_owned()));
        }
    }
    Ok(tensors)
}

impl<'a> Header<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, GgufError> {
        let name = cursor.text("a tensor's name")?;
        let refuse = |reason: String| GgufError::Tensor { name: name.to_owned(), reason };
        let used = cursor.u32(name)?;
        if !(1..=DIMENSIONS_MAX).contains(&used) {
            return Err(refuse(format!("has {used} dimensions, expected 1 to {DIMENSIONS_MAX}")));
        }
        let mut dimensions = [1; DIMENSIONS_MAX as usize];
        let mut count = 1usize;
        for dimension in dimensions.iter_mut().take(used as usize) {
            *dimension = usize::try_from(cursor.u64(name)?).unwrap_or(usize::MAX);
            count = count
                .checked_mul(*dimension)
                .filter(|count| *count > 0)
                .ok_or_else(|| refuse("has no size that a tensor can have".to_owned()))?;
        }
        let number = cursor.u32(name)?;
        let kind = Kind::numbered(number).ok_or_else(|| {
            let found = kind::name(number).map_or_else(|| format!("type {number}"), str::to_owned);
            refuse(format!("holds {found}, which is not supported (supported: {})", kind::SUPPORTED))
        })?;
        if !dimensions[0].is_multiple_of(kind.block_values()) {
            let (row, block) = (dimensions[0], kind.block_values());
            return Err(refuse(format!("has rows of {row} values, no multiple of its blocks' {block}")));
        }
        let size = (count / kind.block_values()).checked_mul(kind.block_bytes());
        let size = size.ok_or_else(|| refuse("has no size that a tensor can have".to_owned()))?;
        Ok(Self { name, kind, dimensions, count, size, offset: cursor.u64(name)? })
    }

    fn refuse(&self, reason: String) -> GgufError {
        GgufError::Tensor { name: self.name.to_owned(), reason }
    }
}
