//! Splits of data by prompt: seeded, by hash, the same on every platform.
//!
//! A prompt is known by its first turn, in lower case and with white space collapsed; so a conversation goes where
//! its opening goes, and the same question in two files is never on both sides. Must not know of files or models.

use sha2::{Digest, Sha256};
use std::{fmt, num::NonZeroU32};

/// What stands before the seed in the digest, so that sides don't follow from the hashes that artefacts list.
const DOMAIN: &[u8] = b"pointsman split 1\0";

/// The hash of a prompt's normalised text: the first 16 bytes of its SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PromptHash(pub [u8; 16]);

/// The side of a prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Routers are fitted to these.
    Train,
    /// Routers are measured and settings chosen on these.
    Dev,
}

/// A way to divide prompts, told apart from others by its seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split {
    seed: u64,
}

/// The hash of a prompt's text (of a conversation's first turn), whatever its case and white space.
#[must_use]
pub fn prompt_hash(text: &str) -> PromptHash {
    let mut digest = Sha256::new();
    for (place, word) in text.to_lowercase().split_whitespace().enumerate() {
        if place > 0 {
            digest.update(b" ");
        }
        digest.update(word);
    }
    PromptHash(first_bytes(&digest.finalize()))
}

impl fmt::Display for PromptHash {
    /// 32 hexadecimal digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl Split {
    /// The split of this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The fold of a prompt, `0..folds`.
    #[must_use]
    pub fn fold(self, prompt: PromptHash, folds: NonZeroU32) -> u32 {
        // The top 32 bits of (point · folds), point a fraction of 2³²: below `folds`, so it fits.
        let point = self.point(prompt) >> 32;
        ((point * u64::from(folds.get())) >> 32) as u32
    }

    /// The side of a prompt when `dev_share` (0..=1) of all prompts shall be for measuring.
    ///
    /// A larger share's dev side contains a smaller one's.
    #[must_use]
    pub fn side(self, prompt: PromptHash, dev_share: f64) -> Side {
        // The top 53 bits: as many as a float holds exactly.
        let point = (self.point(prompt) >> 11) as f64 / (1_u64 << 53) as f64;
        if point < dev_share { Side::Dev } else { Side::Train }
    }

    /// A number drawn evenly from 64 bits by seed and prompt.
    fn point(self, prompt: PromptHash) -> u64 {
        let digest =
            Sha256::new().chain_update(DOMAIN).chain_update(self.seed.to_le_bytes()).chain_update(prompt.0);
        u64::from_be_bytes(first_bytes(&digest.finalize()))
    }
}

/// The first bytes of a digest.
fn first_bytes<const COUNT: usize>(digest: &[u8]) -> [u8; COUNT] {
    let mut first = [0; COUNT];
    for (byte, digest) in first.iter_mut().zip(digest) {
        *byte = *digest;
    }
    first
}

#[cfg(test)]
mod tests;
