//! What it costs to turn a text into a vector by a sentence encoder, on one core, and what a batch saves.
//!
//! Measures the encoder whose folder `POINTSMAN_ENCODER` names; the aims with all-MiniLM-L6-v2 are 6 ms at 32 tokens
//! and 22 ms at 128.

#![expect(clippy::unwrap_used, reason = "a benchmark without its subject should stop")]

use std::path::Path;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use pointsman_routers::encoder::Encoder;

fn main() {
    divan::main();
}

/// The encoder, if the environment says where it is.
fn encoder() -> Option<Encoder> {
    std::env::var_os("POINTSMAN_ENCODER").map(|folder| Encoder::load(Path::new(&folder)).unwrap())
}

/// A sequence of this many tokens, as a text of few common words would give.
fn sequence(tokens: usize, seed: u32) -> Vec<u32> {
    let word = |place: u32| 1996 + (place * 2_654_435 + seed * 40_503) % 9000;
    (0..tokens as u32).map(|place| if place == 0 { 101 } else { word(place) }).collect()
}

/// One sequence at a time.
#[divan::bench(args = [8, 16, 32, 64, 128, 256])]
fn single(bencher: Bencher<'_, '_>, tokens: usize) {
    let Some(encoder) = encoder() else { return };
    let sequences = [sequence(tokens, 1)];
    bencher.bench_local(|| encoder.pool_tokens(black_box(&sequences)).unwrap());
}

/// Sixteen sequences of mixed lengths at once, 32 tokens on average.
#[divan::bench]
fn batch_of_16(bencher: Bencher<'_, '_>) {
    let Some(encoder) = encoder() else { return };
    let sequences: Vec<Vec<u32>> =
        (0..16).map(|seed| sequence(8 + 3 * seed + seed / 5, seed as u32)).collect();
    bencher
        .counter(ItemsCount::new(16u32))
        .bench_local(|| encoder.pool_tokens(black_box(&sequences)).unwrap());
}
