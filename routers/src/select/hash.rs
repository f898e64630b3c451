//! Stable hashes of texts: the same on every platform and in every release, since choices depend on them.
//!
//! Not cryptographic; must never guard anything.

/// Hashes a text to 64 bits, eight bytes at a time.
#[must_use]
pub fn text_hash(text: &str) -> u64 {
    let mut state = mix(text.len() as u64 ^ 0x9e37_79b9_7f4a_7c15);
    let mut words = text.as_bytes().chunks_exact(8);
    for word in &mut words {
        state = absorb(state, word);
    }
    mix(absorb(state, words.remainder()))
}

/// Scatters the bits of a word; a bijection (the finaliser of SplitMix64, Steele, Lea and Flood 2014).
#[must_use]
pub fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// Maps a hash to 0..1, 1 excluded, evenly.
#[must_use]
pub fn unit_interval(hash: u64) -> f64 {
    // The upper 53 bits: exactly what a double's mantissa holds.
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

fn absorb(state: u64, bytes: &[u8]) -> u64 {
    let mut word = [0u8; 8];
    for (to, from) in word.iter_mut().zip(bytes) {
        *to = *from;
    }
    (state ^ u64::from_le_bytes(word)).wrapping_mul(0xd6e8_feb8_6659_fd93).rotate_left(29)
}
