//! From a path to decompressed bytes, with a look at the beginning and a count of what was read.

use bytes::Bytes;
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

/// The longest content that is taken into memory whole.
const WHOLE_BYTES_MAX: u64 = 1 << 30;

/// The first bytes of every gzip file.
const GZIP_MAGIC: &[u8] = &[0x1f, 0x8b];

/// A file's content, decompressed.
pub(super) struct Content<'a> {
    /// Its beginning, which `reader` gives again.
    pub head: Vec<u8>,
    /// All of it.
    pub reader: Box<dyn BufRead + 'a>,
    /// Whether it had to be decompressed.
    pub compressed: bool,
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
    Ok(Content { head, reader, compressed })
}

/// The whole content in memory, for a format that is read from its end.
pub(super) fn whole(reader: impl Read) -> io::Result<Bytes> {
    let mut bytes = Vec::new();
    let count = reader.take(WHOLE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if count as u64 > WHOLE_BYTES_MAX {
        let problem =
            format!("over {WHOLE_BYTES_MAX} bytes when decompressed: decompress it to a file first");
        return Err(io::Error::other(problem));
    }
    Ok(bytes.into())
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
