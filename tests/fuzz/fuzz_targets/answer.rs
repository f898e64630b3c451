//! A whole answer, its usage, an error object, one event: what is read agrees however it is read. The first byte
//! chooses where the bytes are cut.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::{
    openai::{answer, chunk, chunk::Dialect, scan::UsageScanner, usage::Usage},
    secret::{Redactor, Secret},
    stream::fault::StreamFault,
};

const SECRET: &str = "sk-upstream-secret";

fuzz_target!(|data: &[u8]| {
    let Some((&place, body)) = data.split_first() else { return };
    let scanned = scan(body, usize::from(place));
    for dialect in [Dialect::Choices, Dialect::Responses, Dialect::Embeddings] {
        let Ok(read) = answer::read(dialect, body) else { continue };
        if let Some(model) = read.model {
            assert!(body.get(model.clone()).is_some());
            assert_eq!(answer::read_beginning(body), Ok(Some(model)));
        }
        // The scanner knows no escapes: it only watches.
        if !body.contains(&b'\\') {
            assert_eq!(scanned, read.usage);
        }
    }
    let _ = answer::read_beginning(body);
    let Ok(text) = std::str::from_utf8(body) else { return };
    for dialect in [Dialect::Choices, Dialect::Responses] {
        if let Ok(seen) = chunk::observe(dialect, text) {
            assert!(seen.model.is_none_or(|span| text.get(span).is_some()));
        }
    }
    let fault = StreamFault::reported(text, &Redactor::new([Secret::new(SECRET)]));
    assert!(!fault.to_string().contains(SECRET));
});

/// The usage that is seen in passing, wherever the bytes are cut.
fn scan(body: &[u8], place: usize) -> Option<Usage> {
    let (first, second) = body.split_at(place.min(body.len()));
    let (mut whole, mut cut) = (UsageScanner::default(), UsageScanner::default());
    whole.push(body);
    cut.push(first);
    cut.push(second);
    assert_eq!(whole.usage(), cut.usage());
    whole.usage().and_then(Usage::parse)
}
