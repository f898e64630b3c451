//! A kept answer that comes from outside of the process: no bytes break the reader, and what it takes is written and read again as it is.

#![no_main]

use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use pointsman::cache::{CacheRules, Kept, stored};

const RULES: CacheRules = CacheRules { ttl: Duration::MAX, max_bytes: 1 << 20, max_entry_bytes: 4096 };

fuzz_target!(|data: &[u8]| {
    let (key, bytes) = ([7; 32], Bytes::copy_from_slice(data));
    assert!(stored::read(&key, &bytes, &RULES).is_none(), "not sealed");
    let Some((kept, _)) = stored::read_whatever(&bytes, &RULES) else { return };
    let Some(written) = stored::write(&key, &kept, &RULES) else { panic!("{kept:?}") };
    let again = stored::read(&key, &written.into(), &RULES).map(|(again, _)| again);
    assert_eq!(again.as_ref().map(fields), Some(fields(&kept)));
});

type Fields<'a> = (&'a str, &'a str, Option<&'a [u8]>, Option<&'a [u8]>, &'a [u8], Option<&'a [u32]>);

fn fields(kept: &Kept) -> Fields<'_> {
    let Kept { model, origin, router, content_type, body, events, at: _ } = kept;
    let (router, content_type) = (router.as_ref(), content_type.as_ref());
    (
        model,
        origin,
        router.map(|text| text.as_bytes()),
        content_type.map(|text| text.as_bytes()),
        body,
        events.as_deref(),
    )
}
