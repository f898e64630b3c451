//! Server-sent events, decoded from a byte stream and kept as the bytes they came in.
//!
//! Follows the HTML standard's event-stream parsing (lines end with LF, CRLF or CR; a blank line ends an event).
//! Knows nothing of what the data means.

use std::{borrow::Cow, ops::Range};

use bytes::{Bytes, BytesMut};

/// One event, or a block of comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Every byte of it, the blank line included.
    pub raw: Bytes,
    /// Where its data lines stand in `raw`; several when the data was written in several lines.
    data: Vec<Range<usize>>,
}

impl Event {
    /// The data, its lines joined by LF; `None` for a block without any (a comment, a heartbeat).
    #[must_use]
    pub fn data(&self) -> Option<Cow<'_, [u8]>> {
        match self.data.as_slice() {
            [] => None,
            [line] => Some(Cow::Borrowed(self.raw.get(line.clone()).unwrap_or_default())),
            lines => {
                let lines: Vec<&[u8]> = lines.iter().filter_map(|line| self.raw.get(line.clone())).collect();
                Some(Cow::Owned(lines.join(&b'\n')))
            }
        }
    }

    /// The event with `replacement` in place of a part of its data; the whole data is written in one line when
    /// it stood in several.
    #[must_use]
    pub fn with_replaced(&self, part: Range<usize>, replacement: &[u8]) -> Bytes {
        if let [line] = self.data.as_slice() {
            let start = line.start + part.start;
            let end = line.start + part.end;
            return splice(&self.raw, start..end, replacement);
        }
        let data = self.data().unwrap_or_default();
        let mut out = b"data: ".to_vec();
        // JSON in several lines: the line ends are white space between its tokens.
        out.extend(
            splice(&data, part, replacement).iter().map(|&byte| if byte == b'\n' { b' ' } else { byte }),
        );
        out.extend_from_slice(b"\n\n");
        out.into()
    }
}

fn splice(whole: &[u8], part: Range<usize>, replacement: &[u8]) -> Bytes {
    let before = whole.get(..part.start).unwrap_or_default();
    let after = whole.get(part.end..).unwrap_or_default();
    [before, replacement, after].concat().into()
}

/// An event grew past the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is longer than {0} bytes")]
pub struct EventTooLong(pub usize);

/// Cuts a byte stream into events, wherever the frames fall.
#[derive(Debug)]
pub struct Decoder {
    buffer: BytesMut,
    /// Start of the line that is being read.
    line_start: usize,
    /// Bytes looked at so far: none is looked at twice.
    scanned: usize,
    data: Vec<Range<usize>>,
    event_bytes_max: usize,
}

impl Decoder {
    /// A decoder that refuses events of more than `event_bytes_max` bytes.
    #[must_use]
    pub fn new(event_bytes_max: usize) -> Self {
        Self { buffer: BytesMut::new(), line_start: 0, scanned: 0, data: Vec::new(), event_bytes_max }
    }

    /// Takes some bytes in.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes held that do not make an event yet.
    #[must_use]
    pub fn held(&self) -> usize {
        self.buffer.len()
    }

    /// The next whole event.
    ///
    /// # Errors
    /// When the event that is being read is over the limit; the decoder is then of no more use.
    pub fn next_event(&mut self) -> Result<Option<Event>, EventTooLong> {
        while let Some(line_end) = self.find_line_end() {
            let Some(next_line) = self.after_line_end(line_end) else { break };
            let line = self.line_start..line_end;
            self.scanned = next_line;
            self.line_start = next_line;
            if line.is_empty() {
                // Also where all of it came at once: the verdict must not depend on the frames.
                if next_line > self.event_bytes_max {
                    return Err(EventTooLong(self.event_bytes_max));
                }
                return Ok(Some(self.take_event(next_line)));
            }
            self.read_line(line);
        }
        if self.buffer.len() > self.event_bytes_max {
            return Err(EventTooLong(self.event_bytes_max));
        }
        Ok(None)
    }

    /// At the end of the stream: what is left, closed by a blank line that the sender left out.
    #[must_use]
    pub fn finish(&mut self) -> Option<Event> {
        if self.buffer.iter().all(u8::is_ascii_whitespace) {
            return None;
        }
        let closing: &[u8] = if self.buffer.ends_with(b"\n") { b"\n" } else { b"\n\n" };
        self.buffer.extend_from_slice(closing);
        self.event_bytes_max = self.event_bytes_max.saturating_add(closing.len());
        self.next_event().ok().flatten()
    }

    fn find_line_end(&mut self) -> Option<usize> {
        let rest = self.buffer.get(self.scanned..).unwrap_or_default();
        if let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
            Some(self.scanned + at)
        } else {
            self.scanned = self.buffer.len();
            None
        }
    }

    /// Where the next line starts. `None` after a CR that ends the buffer: an LF may belong to it.
    fn after_line_end(&mut self, at: usize) -> Option<usize> {
        if self.buffer.get(at) == Some(&b'\n') {
            return Some(at + 1);
        }
        match self.buffer.get(at + 1) {
            Some(b'\n') => Some(at + 2),
            Some(_) => Some(at + 1),
            None => {
                self.scanned = at;
                None
            }
        }
    }

    fn read_line(&mut self, line: Range<usize>) {
        let bytes = self.buffer.get(line.clone()).unwrap_or_default();
        // A byte-order mark may open the stream.
        let (skip, bytes) = bytes.strip_prefix(b"\xef\xbb\xbf").map_or((0, bytes), |rest| (3, rest));
        let start = line.start + skip;
        if bytes == b"data" {
            self.data.push(line.end..line.end);
        } else if bytes.starts_with(b"data:") {
            let space = usize::from(bytes.get(5) == Some(&b' '));
            self.data.push(start + 5 + space..line.end);
        }
    }

    fn take_event(&mut self, end: usize) -> Event {
        let raw = self.buffer.split_to(end).freeze();
        self.line_start = 0;
        self.scanned = 0;
        Event { raw, data: std::mem::take(&mut self.data) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(frames: &[&[u8]]) -> Vec<(String, Option<String>)> {
        let mut decoder = Decoder::new(1 << 20);
        let mut events = Vec::new();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for frame in frames {
            decoder.push(frame);
            while let Some(event) = decoder.next_event().unwrap() {
                events.push((text(&event.raw), event.data().map(|data| text(&data))));
            }
        }
        events.extend(decoder.finish().map(|event| (text(&event.raw), event.data().map(|data| text(&data)))));
        events
    }

    #[test]
    fn one_event_in_every_spelling() {
        for stream in [
            "data: {\"a\":1}\n\n",
            "data:{\"a\":1}\r\n\r\n",
            "data: {\"a\":1}\r\r\n",
            "event: x\nid: 1\ndata: {\"a\":1}\n\n",
            "\u{feff}data: {\"a\":1}\n\n",
            "data: {\"a\":1}",
        ] {
            let events = decode(&[stream.as_bytes()]);
            assert_eq!(events.len(), 1, "{stream:?}");
            assert_eq!(events[0].1.as_deref(), Some("{\"a\":1}"), "{stream:?}");
        }
    }

    #[test]
    fn comments_have_no_data_and_lines_are_joined() {
        let events = decode(&[b": ping\n\ndata: a\ndata: b\n\ndata\n\n"]);
        let data: Vec<_> = events.iter().map(|event| event.1.as_deref()).collect();
        assert_eq!(data, [None, Some("a\nb"), Some("")]);
    }

    #[test]
    fn frames_may_fall_anywhere() {
        let stream =
            "data: {\"a\":\"é\"}\r\n\r\n: c\n\nevent: x\r\ndata: 1\r\ndata: 2\r\n\r\ndata: [DONE]\n\n"
                .as_bytes();
        let whole = decode(&[stream]);
        for split in 0..stream.len() {
            assert_eq!(decode(&[&stream[..split], &stream[split..]]), whole, "split at {split}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(decode(&bytes), whole);
    }

    #[test]
    fn a_part_of_the_data_is_replaced() {
        let mut decoder = Decoder::new(1024);
        decoder.push(b"id: 7\ndata: {\"model\":\"up\"}\r\n\r\ndata: {\ndata: \"model\":\"up\"}\n\n");
        let event = decoder.next_event().unwrap().unwrap();
        assert_eq!(
            event.with_replaced(9..13, b"\"pool\""),
            &b"id: 7\ndata: {\"model\":\"pool\"}\r\n\r\n"[..]
        );
        let event = decoder.next_event().unwrap().unwrap();
        assert_eq!(event.with_replaced(10..14, b"\"p\""), &b"data: { \"model\":\"p\"}\n\n"[..]);
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = Decoder::new(100);
        decoder.push(&[b'x'; 101]);
        assert_eq!(decoder.next_event(), Err(EventTooLong(100)));
    }

    #[test]
    fn a_long_event_is_refused_however_it_comes() {
        let event = [b"data: ", [b'x'; 93].as_slice(), b"\n\n"].concat();
        for frame_bytes in 1..=event.len() {
            let mut decoder = Decoder::new(100);
            let mut found = Ok(None);
            for frame in event.chunks(frame_bytes) {
                decoder.push(frame);
                found = decoder.next_event();
            }
            assert_eq!(found, Err(EventTooLong(100)), "in frames of {frame_bytes}");
        }
    }

    #[test]
    fn a_last_event_at_the_limit_needs_no_blank_line() {
        let mut decoder = Decoder::new(100);
        decoder.push(&[b"data: ", [b'x'; 94].as_slice()].concat());
        assert_eq!(decoder.next_event(), Ok(None));
        assert_eq!(decoder.finish().unwrap().data().unwrap().len(), 94);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost(frames in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b':'), any::<u8>()], 0..12), 0..12)) {
            let mut decoder = Decoder::new(1 << 20);
            let mut out = Vec::new();
            for frame in &frames {
                decoder.push(frame);
                while let Some(event) = decoder.next_event().unwrap() {
                    let _ = event.data();
                    out.extend_from_slice(&event.raw);
                }
            }
            out.extend_from_slice(&decoder.buffer);
            prop_assert_eq!(out, frames.concat());
        }
    }
}
