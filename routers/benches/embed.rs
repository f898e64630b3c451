//! What it costs to turn a text into a vector, on one core.
//!
//! `tokenize` and `embed` measure the static embedder that ships with the crate on English prose and on text
//! beyond ASCII; 64 tokens are a usual prompt, and the aim there is 25 µs for `embed`.

#![expect(clippy::unwrap_used, reason = "a benchmark without its subject should stop")]

use divan::{Bencher, black_box};
use pointsman_routers::embed::{EmbedScratch, StaticEmbedder, default_static};

fn main() {
    divan::main();
}

/// Tokens of the texts that are measured.
const LENGTHS: [usize; 3] = [16, 64, 512];

const PROSE: &str = "Please explain, step by step, how a transformer computes attention over a long document, and \
                     then write a short Python function that shows the idea; mention its complexity as well. ";

const WIDE: &str =
    "Объясни, пожалуйста, чем отличается être от avoir, und übersetze die Wörter: 今日は天気がいいです。";

/// A text of this many tokens: the sample over and over, cut where the count is reached.
fn text(embedder: &StaticEmbedder, sample: &str, tokens: usize) -> String {
    let sample = sample.repeat(tokens);
    let count = |text: &str| {
        let mut count = 0;
        embedder.tokenizer().tokenize(text, usize::MAX, &mut Default::default(), |_| count += 1);
        count
    };
    let ends: Vec<usize> = sample.char_indices().map(|(place, _)| place).collect();
    let cut = ends.partition_point(|end| count(&sample[..*end]) <= tokens);
    sample[..ends[cut - 1]].to_owned()
}

fn embedder() -> StaticEmbedder {
    default_static().unwrap()
}

#[divan::bench(args = LENGTHS)]
fn tokenize_prose(bencher: Bencher<'_, '_>, tokens: usize) {
    tokenize(bencher, PROSE, tokens);
}

#[divan::bench(args = LENGTHS)]
fn tokenize_wide(bencher: Bencher<'_, '_>, tokens: usize) {
    tokenize(bencher, WIDE, tokens);
}

#[divan::bench(args = LENGTHS)]
fn embed_prose(bencher: Bencher<'_, '_>, tokens: usize) {
    embed(bencher, PROSE, tokens);
}

#[divan::bench(args = LENGTHS)]
fn embed_wide(bencher: Bencher<'_, '_>, tokens: usize) {
    embed(bencher, WIDE, tokens);
}

fn tokenize(bencher: Bencher<'_, '_>, sample: &str, tokens: usize) {
    let embedder = embedder();
    let text = text(&embedder, sample, tokens);
    let mut scratch = Default::default();
    bencher.bench_local(|| {
        let mut sum = 0u32;
        embedder.tokenizer().tokenize(black_box(&text), tokens, &mut scratch, |token| sum ^= token);
        sum
    });
}

fn embed(bencher: Bencher<'_, '_>, sample: &str, tokens: usize) {
    let embedder = embedder();
    let text = text(&embedder, sample, tokens);
    let mut scratch = EmbedScratch::default();
    let mut vector = vec![0.0; embedder.dim()];
    bencher.bench_local(|| {
        embedder.embed_into(black_box(&text), &mut vector, &mut scratch);
        vector[0]
    });
}

#[divan::bench]
fn load_shipped_table() -> StaticEmbedder {
    embedder()
}
