//! An encoder's `config.json`: refused, or dimensions that the network can have. (Its `tokenizer.json` is read by a
//! library that is known to panic, and caught; a fuzzer stops at every panic.)

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman_routers::encoder::fuzzing::tokens_max;

fuzz_target!(|bytes: &[u8]| {
    assert!(tokens_max(bytes).is_none_or(|tokens| tokens > 0));
});
