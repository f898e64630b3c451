//! A bound on the length of a row, for parsers that have none of their own.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

/// The longest row accepted, in bytes: far above any conversation, far below the memory.
pub(super) const ROW_BYTES_MAX: u64 = 64 << 20;

/// A reader that fails once a row has grown too long.
pub(super) struct Metered<R> {
    input: R,
    since_row: RowStart,
}

/// Tells a [`Metered`] reader that a row starts.
#[derive(Clone, Default)]
pub(super) struct RowStart(Rc<Cell<u64>>);

impl RowStart {
    /// A row starts about here: what parsers read ahead is little against the bound.
    pub(super) fn here(&self) {
        self.0.set(0);
    }
}

impl<R: Read> Metered<R> {
    /// Bounds the rows of `input`.
    pub(super) fn new(input: R) -> (Self, RowStart) {
        let since_row = RowStart::default();
        (Self { input, since_row: since_row.clone() }, since_row)
    }
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        let length = self.since_row.0.get() + count as u64;
        self.since_row.0.set(length);
        if length > ROW_BYTES_MAX {
            return Err(io::Error::other(format!("a row is longer than {ROW_BYTES_MAX} bytes")));
        }
        Ok(count)
    }
}
