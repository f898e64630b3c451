//! The gate before hyper: the same heads pass, and the same one is refused, however the bytes are cut. The first four
//! bytes are the lengths of the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman::server::fuzzing::passed;

const HEAD_BYTES_MAX: usize = 256;

fuzz_target!(|data: &[u8]| {
    let Some((lengths, bytes)) = data.split_first_chunk::<4>() else { return };
    let whole = passed(&[bytes], HEAD_BYTES_MAX);
    let (through, _, fault) = &whole;
    assert!(bytes.starts_with(through));
    assert!(fault.is_some() || through.len() == bytes.len(), "at the end nothing is held");

    let (mut rest, mut pieces) = (bytes, Vec::new());
    for length in lengths.iter().cycle() {
        let Some((piece, behind)) = rest.split_at_checked(1 + usize::from(length % 64)) else { break };
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    assert_eq!(passed(&pieces, HEAD_BYTES_MAX), whole);
    assert_eq!(passed(&bytes.chunks(1).collect::<Vec<_>>(), HEAD_BYTES_MAX), whole);
});
