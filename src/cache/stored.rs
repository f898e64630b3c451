//! A kept answer as bytes, for whoever keeps it outside of this process.
//!
//! What is read may be anybody's: bytes that were not written by [`write()`] for that very key, of that version, are no answer. Must not know
//! where they are kept.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;
use sha2::{Digest, Sha256};

use super::{CacheRules, Kept, Key};

/// What they begin with. The last byte is the version: a form that reads otherwise gets another.
const MARK: [u8; 4] = *b"pmk\x01";

/// Bytes of the digest, of the key and of all that follows, behind the mark.
const SEAL_BYTES: usize = 16;

/// What an answer's names and the lengths of its events may take beside its body, in bytes, where that is short.
const BESIDE_BYTES_MAX: usize = 64 << 10;

/// The most bytes of an answer that keeps to a route's rules.
#[must_use]
pub fn bytes_max(rules: &CacheRules) -> usize {
    rules.max_entry_bytes.saturating_mul(2).saturating_add(BESIDE_BYTES_MAX)
}

/// An answer that may be given for `rules.ttl` since it was kept; `None` where it is longer than the rules allow.
#[must_use]
pub fn write(key: &Key, kept: &Kept, rules: &CacheRules) -> Option<Vec<u8>> {
    let at = SystemTime::now().checked_sub(kept.age())?.duration_since(UNIX_EPOCH).ok()?;
    let mut writer = Writer(Vec::with_capacity(kept.body.len() + 512));
    writer.0.extend_from_slice(&MARK);
    writer.0.extend_from_slice(&[0; SEAL_BYTES]);
    writer.number(millis(at));
    writer.number(millis(rules.ttl));
    writer.text(Some(kept.model.as_bytes()));
    writer.text(Some(kept.origin.as_bytes()));
    writer.text(kept.router.as_ref().map(HeaderValue::as_bytes));
    writer.text(kept.content_type.as_ref().map(HeaderValue::as_bytes));
    writer.events(kept.events.as_deref());
    writer.0.extend_from_slice(&kept.body);
    let mut bytes = writer.0;
    let (_, sealed) = bytes.split_at_checked(MARK.len() + SEAL_BYTES)?;
    let seal = seal(key, sealed);
    bytes.get_mut(MARK.len()..)?.get_mut(..SEAL_BYTES)?.copy_from_slice(&seal);
    (kept.body.len() <= rules.max_entry_bytes && bytes.len() <= bytes_max(rules)).then_some(bytes)
}

/// The answer of that key that was written so, and for how much longer it may be given; `None` where it is none, is too long, or out of time.
#[must_use]
pub fn read(key: &Key, bytes: &Bytes, rules: &CacheRules) -> Option<(Kept, Duration)> {
    let rest = bytes.strip_prefix(&MARK)?;
    let (written, sealed) = rest.split_at_checked(SEAL_BYTES)?;
    if written != seal(key, sealed) {
        return None;
    }
    read_sealed(&bytes.slice_ref(sealed), rules)
}

/// [`read`] behind the seal, which hardly any bytes have.
#[cfg(fuzzing)]
#[must_use]
pub fn read_whatever(sealed: &Bytes, rules: &CacheRules) -> Option<(Kept, Duration)> {
    read_sealed(sealed, rules)
}

fn read_sealed(sealed: &Bytes, rules: &CacheRules) -> Option<(Kept, Duration)> {
    let mut reader = Reader(sealed);
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(reader.number()?))?;
    let ttl = Duration::from_millis(reader.number()?).min(rules.ttl);
    let (model, origin) = (reader.name()??, reader.name()??);
    let header = |text: Option<&[u8]>| text.map(HeaderValue::from_bytes).transpose().ok();
    let router = header(reader.text()?)?;
    let content_type = header(reader.text()?)?;
    let events = reader.events()?;
    let body = sealed.slice_ref(reader.0);
    let ends = events.as_deref().map(|ends| ends.last().copied().unwrap_or(0));
    if body.len() > rules.max_entry_bytes || ends.is_some_and(|end| end as usize != body.len()) {
        return None;
    }
    // Clocks differ: what comes from the future was kept just now.
    let age = SystemTime::now().duration_since(at).unwrap_or_default();
    let left = ttl.checked_sub(age).filter(|left| !left.is_zero())?;
    let at = Instant::now().checked_sub(age)?;
    Some((Kept { model: model.into(), origin: origin.into(), router, content_type, body, events, at }, left))
}

fn seal(key: &Key, sealed: &[u8]) -> [u8; SEAL_BYTES] {
    let digest: [u8; 32] = Sha256::new().chain_update(key).chain_update(sealed).finalize().into();
    digest.first_chunk().copied().unwrap_or_default()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Numbers take seven bits of a byte each, the lowest first (LEB128); texts, their length plus one before them, or 0 where there is none.
struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn text(&mut self, text: Option<&[u8]>) {
        self.number(text.map_or(0, |text| text.len() as u64 + 1));
        self.0.extend_from_slice(text.unwrap_or_default());
    }

    /// Their number plus one and the length of each, or 0 where there are none.
    fn events(&mut self, ends: Option<&[u32]>) {
        self.number(ends.map_or(0, |ends| ends.len() as u64 + 1));
        let mut before = 0;
        for &end in ends.unwrap_or_default() {
            self.number(u64::from(end.saturating_sub(before)));
            before = end;
        }
    }
}

/// What is left to be read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            let placed = bits << shift;
            if placed >> shift != bits {
                return None;
            }
            number |= placed;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// A text, or that there is none.
    fn text(&mut self) -> Option<Option<&'a [u8]>> {
        let Some(length) = self.number()?.checked_sub(1) else { return Some(None) };
        let (text, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(Some(text))
    }

    fn name(&mut self) -> Option<Option<&'a str>> {
        self.text()?.map(std::str::from_utf8).transpose().ok()
    }

    /// Where each event ends, or that there are none.
    fn events(&mut self) -> Option<Option<Box<[u32]>>> {
        let Some(count) = self.number()?.checked_sub(1) else { return Some(None) };
        // A length takes a byte at least: nothing is made room for that is not there.
        let count = usize::try_from(count).ok().filter(|&count| count <= self.0.len())?;
        let (mut ends, mut end) = (Vec::with_capacity(count), 0_u32);
        for _ in 0..count {
            end = end.checked_add(u32::try_from(self.number()?).ok()?)?;
            ends.push(end);
        }
        Some(Some(ends.into_boxed_slice()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEY: Key = [7; 32];

    fn rules() -> CacheRules {
        CacheRules { ttl: Duration::from_secs(60), max_bytes: 1 << 20, max_entry_bytes: 1000 }
    }

    fn kept(body: Vec<u8>, events: Option<Vec<u32>>) -> Kept {
        Kept {
            model: "m".into(),
            origin: "é at u".into(),
            router: Some(HeaderValue::from_static("mf")),
            content_type: None,
            body: body.into(),
            events: events.map(Vec::into_boxed_slice),
            at: Instant::now(),
        }
    }

    fn written(kept: &Kept) -> Bytes {
        write(&KEY, kept, &rules()).unwrap().into()
    }

    type Fields<'a> =
        (&'a str, &'a str, Option<&'a HeaderValue>, Option<&'a HeaderValue>, &'a [u8], Option<&'a [u32]>);

    fn fields(kept: &Kept) -> Fields<'_> {
        let Kept { model, origin, router, content_type, body, events, at: _ } = kept;
        (model, origin, router.as_ref(), content_type.as_ref(), body, events.as_deref())
    }

    #[test]
    fn an_answer_has_its_time_wherever_it_is_kept() {
        let before = Instant::now().checked_sub(Duration::from_secs(20)).unwrap();
        let bytes = written(&Kept { at: before, ..kept(b"x".to_vec(), None) });
        let (read, left) = read(&KEY, &bytes, &rules()).unwrap();
        assert!((20..22).contains(&read.age().as_secs()) && (38..=40).contains(&left.as_secs()), "{left:?}");
        let ttl = |seconds| CacheRules { ttl: Duration::from_secs(seconds), ..rules() };
        let (_, left) = super::read(&KEY, &bytes, &ttl(30)).unwrap();
        assert!((8..=10).contains(&left.as_secs()), "the shorter time counts: {left:?}");
        let (_, left) = super::read(&KEY, &bytes, &ttl(600)).unwrap();
        assert!(left.as_secs() <= 40, "{left:?}");
        assert!(super::read(&KEY, &bytes, &ttl(20)).is_none(), "its time is over");
    }

    #[test]
    fn what_is_too_long_is_neither_written_nor_read() {
        assert!(write(&KEY, &kept(vec![b'x'; 1001], None), &rules()).is_none());
        let long = kept(vec![b'x'; 1000], None);
        let bytes = written(&long);
        assert!(read(&KEY, &bytes, &rules()).is_some());
        assert!(read(&KEY, &bytes, &CacheRules { max_entry_bytes: 999, ..rules() }).is_none());
        let names = Kept { origin: "x".repeat(100_000).into(), ..long };
        assert!(write(&KEY, &names, &rules()).is_none());
    }

    #[test]
    fn what_is_not_its_own_is_none() {
        let bytes = written(&kept(b"abc".to_vec(), Some(vec![1, 1, 3])));
        assert!(read(&KEY, &bytes, &rules()).is_some());
        assert!(read(&[8; 32], &bytes, &rules()).is_none(), "another key's");
        let mut later = bytes.to_vec();
        later[3] += 1;
        assert!(read(&KEY, &later.into(), &rules()).is_none(), "another version's");
        for other in ["", "pmk\u{1}", "x", "{\"model\": \"m\"}"] {
            assert!(read(&KEY, &other.into(), &rules()).is_none(), "{other:?}");
        }
    }

    /// Sealed by whoever knows how, and wrong all the same.
    #[test]
    fn a_seal_alone_makes_no_answer() {
        let sealed = written(&kept(b"abc".to_vec(), Some(vec![1, 3]))).slice(MARK.len() + SEAL_BYTES..);
        assert!(read_sealed(&sealed, &rules()).is_some());
        for length in 0..sealed.len() {
            assert!(read_sealed(&sealed.slice(..length), &rules()).is_none(), "cut at {length}");
        }
        let more = [&sealed[..], b"d"].concat();
        assert!(read_sealed(&more.into(), &rules()).is_none(), "events end where the body does");
    }

    /// Gateways of several releases share answers: what the first has written is read as it was meant.
    #[test]
    fn the_form_stays_as_it_is() {
        let sealed = Bytes::from_static(include_bytes!("../../tests/fuzz/seeds/kept/stream"));
        let for_ever = CacheRules { ttl: Duration::MAX, ..rules() };
        let (kept, _) = read_sealed(&sealed, &for_ever).unwrap();
        let event_stream = HeaderValue::from_static("text/event-stream");
        let body = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n";
        assert_eq!(fields(&kept), ("m", "m at u", None, Some(&event_stream), &body[..], Some(&[57, 71][..])));
        assert!(kept.age() > Duration::from_secs(86_400), "older than most machines run");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            lengths in prop::option::of(prop::collection::vec(0_usize..200, 0..5)), plain in prop::collection::vec(any::<u8>(), 0..300),
            model in ".{0,20}", content_type in prop::option::of("[ -~]{0,20}"),
        ) {
            let ends = lengths.as_ref().map(|lengths| {
                lengths.iter().scan(0, |end, &length| { *end += length as u32; Some(*end) }).collect::<Vec<u32>>()
            });
            let body = ends.as_ref().map_or(plain, |ends| vec![b'x'; ends.last().map_or(0, |&end| end as usize)]);
            let content_type = content_type.map(|text| HeaderValue::from_str(&text).unwrap());
            let kept = Kept { model: model.into(), content_type, ..kept(body, ends) };
            let bytes = written(&kept);
            let (again, left) = read(&KEY, &bytes, &rules()).unwrap();
            prop_assert_eq!(fields(&again), fields(&kept));
            prop_assert!(left <= rules().ttl);
        }

        #[test]
        fn a_changed_byte_makes_it_none(place in any::<prop::sample::Index>(), change in 1_u8..) {
            let mut bytes = written(&kept(b"abc".to_vec(), Some(vec![3]))).to_vec();
            let place = place.index(bytes.len());
            bytes[place] ^= change;
            prop_assert!(read(&KEY, &bytes.into(), &rules()).is_none());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let bytes = Bytes::from(bytes);
            prop_assert!(read(&KEY, &bytes, &rules()).is_none());
            if let Some((kept, _)) = read_sealed(&bytes, &rules()) {
                prop_assert!(kept.body.len() <= bytes.len());
            }
        }
    }
}
