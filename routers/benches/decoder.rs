//! What it costs to score candidates by a causal language model, on one core, and how near the passes come to the
//! rate of faer's matrix product.
//!
//! Measures the model whose GGUF file or folder `POINTSMAN_SMOLLM2` names. The aims with SmolLM2-135M, a question of
//! 128 tokens and suffixes of four: 320 ms for 2 candidates (`candidates`), at most 1.3 times that for 8, at least 1.3
//! times faster with the instruction's prefix kept (`instruction_kept`) than without (`instruction_anew`); `prefill`
//! no longer than what faer takes for the same products (`products_alone`) divided by 0.6.

#![expect(clippy::unwrap_used, reason = "a benchmark without its subject should stop")]

use std::path::Path;

use divan::{Bencher, black_box};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, Par};
use pointsman_routers::decoder::{Decoder, Precision};

fn main() {
    divan::main();
}

const QUESTION_TOKENS: usize = 128;
const INSTRUCTION_TOKENS: usize = 64;
const SUFFIX_TOKENS: usize = 4;
const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::Bf16];

/// The model, if the environment says where it is.
fn decoder(precision: Precision) -> Option<Decoder> {
    std::env::var_os("POINTSMAN_SMOLLM2").map(|path| Decoder::load(Path::new(&path), precision).unwrap())
}

/// As many tokens of a text's usual kind.
fn sequence(tokens: usize, seed: u32) -> Vec<u32> {
    (0..tokens as u32).map(|place| 300 + (place * 2_654_435 + seed * 40_503) % 9000).collect()
}

fn suffixes(count: usize) -> Vec<Vec<u32>> {
    (0..count as u32).map(|seed| sequence(SUFFIX_TOKENS, 100 + seed)).collect()
}

/// Scores of candidates for a question, all of it new.
#[divan::bench(args = [2, 8], consts = [0, 1])]
fn candidates<const PRECISION: usize>(bencher: Bencher<'_, '_>, count: usize) {
    let Some(decoder) = decoder(PRECISIONS[PRECISION]) else { return };
    let (nothing, question, suffixes) =
        (decoder.prefix(&[]).unwrap(), sequence(QUESTION_TOKENS, 1), suffixes(count));
    let suffixes: Vec<&[u32]> = suffixes.iter().map(Vec::as_slice).collect();
    bencher.bench_local(|| {
        let hidden = decoder.branch_after(&nothing, black_box(&question), &suffixes).unwrap();
        decoder.logits_of(hidden.as_ref(), &[1, 2])
    });
}

/// The same in two passes: the question's state is there afterwards.
#[divan::bench(args = [2, 8])]
fn candidates_in_two_passes(bencher: Bencher<'_, '_>, count: usize) {
    let Some(decoder) = decoder(Precision::F32) else { return };
    let (question, suffixes) = (sequence(QUESTION_TOKENS, 1), suffixes(count));
    let suffixes: Vec<&[u32]> = suffixes.iter().map(Vec::as_slice).collect();
    bencher.bench_local(|| {
        let prefix = decoder.prefix(black_box(&question)).unwrap();
        decoder.branch(&prefix, &suffixes).unwrap()
    });
}

/// Two candidates, an instruction ahead of the question whose state is kept.
#[divan::bench]
fn instruction_kept(bencher: Bencher<'_, '_>) {
    let Some(decoder) = decoder(Precision::F32) else { return };
    let instruction = decoder.prefix(&sequence(INSTRUCTION_TOKENS, 2)).unwrap();
    let (question, suffixes) = (sequence(QUESTION_TOKENS, 1), suffixes(2));
    let suffixes: Vec<&[u32]> = suffixes.iter().map(Vec::as_slice).collect();
    bencher.bench_local(|| decoder.branch_after(&instruction, black_box(&question), &suffixes).unwrap());
}

/// The same without what was kept.
#[divan::bench]
fn instruction_anew(bencher: Bencher<'_, '_>) {
    let Some(decoder) = decoder(Precision::F32) else { return };
    let nothing = decoder.prefix(&[]).unwrap();
    let (question, suffixes) =
        ([sequence(INSTRUCTION_TOKENS, 2), sequence(QUESTION_TOKENS, 1)].concat(), suffixes(2));
    let suffixes: Vec<&[u32]> = suffixes.iter().map(Vec::as_slice).collect();
    bencher.bench_local(|| decoder.branch_after(&nothing, black_box(&question), &suffixes).unwrap());
}

/// The state after a question.
#[divan::bench(args = [128, 256], consts = [0, 1])]
fn prefill<const PRECISION: usize>(bencher: Bencher<'_, '_>, tokens: usize) {
    let Some(decoder) = decoder(PRECISIONS[PRECISION]) else { return };
    let question = sequence(tokens, 1);
    bencher.bench_local(|| decoder.prefix(black_box(&question)).unwrap());
}

/// The matrix products of SmolLM2-135M's dense layers and nothing else, on weights that are as far away.
#[divan::bench(args = [128, 256])]
fn products_alone(bencher: Bencher<'_, '_>, tokens: usize) {
    const LAYERS: usize = 30;
    // Outputs and inputs: queries with keys and values, attention's output, gates with values, back to the width.
    const SHAPES: [(usize, usize); 4] = [(960, 576), (576, 576), (3072, 576), (576, 1536)];
    let weights: Vec<Vec<Mat<f32>>> = (0..LAYERS)
        .map(|layer| {
            SHAPES.map(|(to, from)| Mat::from_fn(from, to, |i, j| ((i * 7 + j + layer) % 13) as f32)).to_vec()
        })
        .collect();
    let states = SHAPES.map(|(_, from)| Mat::from_fn(from, tokens, |i, j| ((i + 3 * j) % 11) as f32));
    let mut into = SHAPES.map(|(to, _)| Mat::<f32>::zeros(to, tokens));
    bencher.bench_local(|| {
        for layer in black_box(&weights) {
            for ((weights, states), into) in layer.iter().zip(&states).zip(&mut into) {
                matmul(into.as_mut(), Accum::Replace, weights.transpose(), states.as_ref(), 1.0, Par::Seq);
            }
        }
    });
}

/// All logits of one state.
#[divan::bench]
fn logits(bencher: Bencher<'_, '_>) {
    let Some(decoder) = decoder(Precision::F32) else { return };
    let hidden = decoder.branch(&decoder.prefix(&[]).unwrap(), &[&[1, 2, 3]]).unwrap();
    bencher.bench_local(|| decoder.logits(black_box(hidden.as_ref())));
}
