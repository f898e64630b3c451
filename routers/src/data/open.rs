//! From a path to decompressed bytes, with a look at the beginning and a count of what was read.

use flate2::bufread::MultiGzDecoder;
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, Read},
    path::Path,
};

/// Bytes at the beginning of the content that format detection may look at.
const HEAD_BYTES: u64 = 1 << 20;

/// Bytes between two calls of the progress callback.
const PROGRESS_BYTES: u64 = 1 << 20;

/// The first bytes of every gzip file.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// A file's content, decompressed.
pub(super) struct Content<'a> {
    /// Its beginning, which `reader` gives again.
    pub head: Vec<u8>,
    /// All of it.
    pub reader: Box<dyn BufRead + 'a>,
}

/// Opens a file; `progress` is told, now and then, how many bytes of the file (compressed ones, if it is) were read.
pub(super) fn open<'a>(path: &Path, progress: &'a mut dyn FnMut(u64)) -> io::Result<Content<'a>> {
    content(File::open(path)?, progress)
}

/// As [`open`], of any reader.
pub(super) fn content<'a>(
    input: impl Read + 'a,
    progress: &'a mut dyn FnMut(u64),
) -> io::Result<Content<'a>> {
    let mut raw = BufReader::with_capacity(1 << 16, Counted { input, read: 0, told: 0, progress });
    let compressed = raw.fill_buf()?.starts_with(GZIP_MAGIC);
    let mut reader: Box<dyn BufRead + 'a> =
        if compressed { Box::new(BufReader::new(MultiGzDecoder::new(raw))) } else { Box::new(raw) };
    let mut head = Vec::new();
    reader.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
    let reader = Box::new(Cursor::new(head.clone()).chain(reader));
    Ok(Content { head, reader })
}

/// Tells how much was read.
struct Counted<'a, R> {
    input: R,
    read: u64,
    told: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read += count as u64;
        if self.read - self.told >= PROGRESS_BYTES || (count == 0 && self.read > self.told) {
            self.told = self.read;
            (self.progress)(self.read);
        }
        Ok(count)
    }
}
