//! Where the requests of an HTTP/1 connection begin and end, told from its bytes however they are cut into reads.
//!
//! Only whole heads that may be served get past; bodies pass as they come. HTTP/2 passes untouched, and so does
//! everything behind a body that breaks its own rules: hyper reads no further there.

use super::{
    chunks::{Chunks, Counted},
    head::{self, BodyEnd},
};
use crate::http::HeadFault;

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Where a connection's next byte stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a head, so much of which was looked at already.
    Head(Looked),
    /// In a body, with so many bytes to come.
    Length(u64),
    /// In a chunked body.
    Chunked(Chunks),
    /// Where no heads are.
    Beyond,
}

/// How much of a head was looked at, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Looked {
    /// The line ends before it, which some clients send behind a body.
    leading: usize,
    /// All in all.
    all: usize,
}

/// What may pass of the bytes at hand, and why the head behind them is refused, if it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Look {
    /// So many bytes; what is left is a head not yet whole, or refused.
    pub(super) passing: usize,
    /// What is wrong with that head. Nothing may come after it.
    pub(super) fault: Option<HeadFault>,
}

/// The place in a connection's bytes.
#[derive(Debug)]
pub(super) struct Framing {
    place: Place,
    heads: u64,
    head_bytes_max: usize,
}

impl Framing {
    /// The beginning of a connection whose heads may have so many bytes.
    pub(super) fn new(head_bytes_max: usize) -> Self {
        Self { place: Place::Head(Looked::default()), heads: 0, head_bytes_max }
    }

    /// The heads that got past.
    pub(super) fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a head is what comes next.
    pub(super) fn is_at_head(&self) -> bool {
        matches!(self.place, Place::Head(_))
    }

    /// Whether this is an HTTP/1 connection whose client has more of a body to send.
    pub(super) fn is_in_body(&self) -> bool {
        !matches!(self.place, Place::Head(_) | Place::Beyond)
    }

    /// Looks at what came, after what was left over the last time; `is_end` where nothing will follow.
    pub(super) fn look(&mut self, bytes: &[u8], is_end: bool) -> Look {
        let mut rest = bytes;
        let mut fault = None;
        while !rest.is_empty() {
            let here = match self.place {
                Place::Head(looked) => match self.head(looked, rest, is_end) {
                    Ok(Some(length)) => length,
                    Ok(None) => break,
                    Err(why) => {
                        fault = Some(why);
                        break;
                    }
                },
                Place::Length(left) => self.length(left, rest),
                Place::Chunked(chunks) => self.chunked(chunks, rest),
                Place::Beyond => rest.len(),
            };
            rest = rest.get(here..).unwrap_or_default();
        }
        Look { passing: bytes.len() - rest.len(), fault }
    }

    fn length(&mut self, left: u64, bytes: &[u8]) -> usize {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        self.place = match left - here as u64 {
            0 => Place::Head(Looked::default()),
            left => Place::Length(left),
        };
        here
    }

    fn chunked(&mut self, chunks: Chunks, bytes: &[u8]) -> usize {
        let (place, left) = match chunks.count(bytes) {
            Counted::On(chunks) => (Place::Chunked(chunks), 0),
            Counted::Ended(left) => (Place::Head(Looked::default()), left),
            Counted::Broken => (Place::Beyond, 0),
        };
        self.place = place;
        bytes.len() - left
    }

    /// The length of the head at the beginning of `bytes`, none where it is not whole.
    fn head(&mut self, looked: Looked, bytes: &[u8], is_end: bool) -> Result<Option<usize>, HeadFault> {
        if self.heads == 0 && !is_end {
            if bytes.starts_with(HTTP2_PREFACE) {
                self.place = Place::Beyond;
                return Ok(Some(bytes.len()));
            }
            if HTTP2_PREFACE.starts_with(bytes) {
                return Ok(None);
            }
        }
        let (held, is_full) = match bytes.get(..self.head_bytes_max) {
            Some(held) => (held, true),
            None => (bytes, false),
        };
        let (looked, may_be_whole) = looked.at(held);
        self.place = Place::Head(looked);
        if !(may_be_whole || is_end || is_full) {
            return Ok(None);
        }
        match head::read(held, self.head_bytes_max)? {
            Some(head) => {
                self.heads += 1;
                self.place = match head.body {
                    BodyEnd::Length(0) => Place::Head(Looked::default()),
                    BodyEnd::Length(length) => Place::Length(length),
                    BodyEnd::Chunked => Place::Chunked(Chunks::Start),
                };
                Ok(Some(head.bytes))
            }
            None if is_full => Err(self.too_large(held.get(looked.leading..).unwrap_or_default())),
            // Cut: passed on, so that hyper sees the connection end in the middle.
            None if is_end => Ok(Some(bytes.len())),
            None => Ok(None),
        }
    }

    fn too_large(&self, head: &[u8]) -> HeadFault {
        if memchr::memchr(b'\n', head).is_some() {
            HeadFault::TooLarge(self.head_bytes_max)
        } else {
            HeadFault::TargetTooLong
        }
    }
}

impl Looked {
    /// Looks at the rest of `head`: whether reading it may be worth while. The first bytes are, since rubbish shows
    /// there, and a blank line is; reading after every byte would cost the square of its length.
    fn at(self, head: &[u8]) -> (Self, bool) {
        let unseen = head.get(self.leading..).unwrap_or_default();
        let line_ends = unseen.iter().take_while(|&&byte| matches!(byte, b'\r' | b'\n')).count();
        let leading = self.leading + line_ends;
        // The blank line may have begun two bytes before what is new.
        let from = self.all.saturating_sub(2).max(leading);
        let new = head.get(from..).unwrap_or_default();
        let is_blank = |end: usize| {
            let behind = new.get(end + 1..).unwrap_or_default();
            behind.starts_with(b"\n") || behind.starts_with(b"\r\n")
        };
        let may_be_whole =
            self.all == self.leading && leading < head.len() || memchr::memchr_iter(b'\n', new).any(is_blank);
        (Self { leading, all: head.len() }, may_be_whole)
    }
}
