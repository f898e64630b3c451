use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;

use super::fixture::{Fixture, HIDDEN, POSITIONS, reference};
use super::*;
use crate::gguf::fixture::Builder;

mod refusals;

pub(super) fn load(fixture: &Fixture) -> Result<Decoder, DecoderError> {
    let folder = TempDir::new().unwrap();
    fixture.write(folder.path());
    Decoder::load(folder.path(), Precision::F32)
}

pub(super) fn load_bytes(bytes: &[u8]) -> Result<Decoder, DecoderError> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    Decoder::load(&path, Precision::F32)
}

/// The SmolLM2 file, when the environment says where it is.
fn smol(precision: Precision) -> Option<Decoder> {
    let Some(path) = std::env::var_os("POINTSMAN_SMOLLM2").map(PathBuf::from) else {
        eprintln!("skipped: set POINTSMAN_SMOLLM2 to a GGUF file of SmolLM2-135M-Instruct");
        return None;
    };
    Some(Decoder::load(&path, precision).unwrap())
}

fn sequence(tokens: usize, seed: u32) -> Vec<u32> {
    (0..tokens as u32).map(|place| (place * 73 + seed * 31 + place * place * seed) % 260).collect()
}

#[track_caller]
fn assert_close(found: MatRef<'_, f32>, expected: MatRef<'_, f32>) {
    assert_eq!((found.nrows(), found.ncols()), (expected.nrows(), expected.ncols()));
    let difference = (found - expected).norm_max();
    assert!(difference < 1e-4, "{difference}");
}

#[test]
fn smol_lm_2_knows_a_capital() {
    for precision in [Precision::F32, Precision::Bf16] {
        let Some(decoder) = smol(precision) else { return };
        assert_eq!((decoder.width(), decoder.vocabulary(), decoder.context()), (576, 49_152, 8192));
        let prompt = "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face\
                      <|im_end|>\n<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n";
        let answer = decoder.greedy(&decoder.tokens(prompt).unwrap(), 20).unwrap();
        assert_eq!(decoder.tokenizer().decode(&answer, false).unwrap(), "The capital of France is Paris.");
    }
}

#[test]
fn smol_lm_2_reads_texts_as_it_was_trained() {
    let Some(decoder) = smol(Precision::F32) else { return };
    let pieces = |text: &str| {
        let tokens = decoder.tokens(text).unwrap();
        let piece = |token: &u32| decoder.tokenizer().id_to_token(*token).unwrap();
        tokens.iter().map(piece).collect::<Vec<_>>()
    };
    assert_eq!(pieces("<|im_end|>\n"), ["<|im_end|>", "Ċ"]);
    assert_eq!(pieces(" in 2024."), ["Ġin", "Ġ", "2", "0", "2", "4", "."]);
}

#[test]
fn the_network_does_what_its_definition_says() {
    let tokens = sequence(9, 3);
    for fixture in [Fixture::llama(), Fixture::qwen2()] {
        let decoder = load(&fixture).unwrap();
        let states = reference(&fixture, &tokens);
        for (precision, end) in [(Precision::F32, 9), (Precision::Bf16, 9), (Precision::F32, 1)] {
            let folder = TempDir::new().unwrap();
            fixture.write(folder.path());
            let decoder = Decoder::load(folder.path(), precision).unwrap();
            let hidden = decoder.branch(&decoder.prefix(&[]).unwrap(), &[&tokens[..end]]).unwrap();
            for (found, expected) in hidden.row(0).iter().zip(&states[end - 1]) {
                assert!((f64::from(*found) - expected).abs() < 1e-4, "{found} {expected}");
            }
        }
        assert!(decoder.width() == HIDDEN && decoder.context() == POSITIONS);
    }
}

#[test]
fn a_gguf_file_is_the_same_network_and_tokenizer() {
    let text = "<|start|>the other 12 of\nthe naïve 漢字<|end|>";
    for fixture in [Fixture::llama(), Fixture::qwen2()] {
        let folder = load(&fixture).unwrap();
        let file = load_bytes(&fixture.gguf().bytes()).unwrap();
        let tokens = folder.tokens(text).unwrap();
        assert_eq!(file.tokens(text).unwrap(), tokens);
        assert_eq!(file.tokenizer().decode(&tokens, false).unwrap(), text);
        let rows = |decoder: &Decoder| {
            let hidden = decoder.branch(&decoder.prefix(&tokens[..5]).unwrap(), &[&tokens[5..]]).unwrap();
            decoder.logits(hidden.as_ref())
        };
        assert_eq!(rows(&file), rows(&folder));
        assert_eq!(file.greedy(&tokens, 5).unwrap(), folder.greedy(&tokens, 5).unwrap());
        assert_ne!(file.fingerprint(), folder.fingerprint());
    }
}

#[test]
fn shards_are_the_same_network() {
    let fixture = Fixture::qwen2();
    let folder = TempDir::new().unwrap();
    fixture.write_shards(folder.path());
    let shards = Decoder::load(folder.path(), Precision::F32).unwrap();
    let whole = load(&fixture).unwrap();
    assert_eq!(shards.greedy(&[1, 2, 3], 8).unwrap(), whole.greedy(&[1, 2, 3], 8).unwrap());
}

#[test]
fn however_a_sequence_is_cut_it_is_the_same() {
    for (fixture, lengths) in [
        (Fixture::llama(), [1, 2, 5, 1]),
        (Fixture::qwen2(), [0, 40, 30, 90]),
        (Fixture::llama(), [300, 10, 0, 260]),
        (Fixture::qwen2(), [0, 0, 260, 3]),
        (Fixture::llama(), [30, 255, 256, 1]),
        (Fixture::qwen2(), [0, 0, 0, 257]),
    ] {
        let decoder = load(&fixture).unwrap();
        let whole = sequence(lengths.iter().sum(), 5);
        let (first, rest) = whole.split_at(lengths[0]);
        let (second, rest) = rest.split_at(lengths[1]);
        let (third, last) = rest.split_at(lengths[2]);
        let mut prefix = Prefix::empty(Arc::clone(&decoder.fingerprint));
        // The slow way: each token alone.
        let mut states = Vec::new();
        for token in &whole {
            states = decoder.step(&mut prefix, &[*token], &[0]).unwrap();
        }
        let expected = MatRef::from_row_major_slice(&states, 1, HIDDEN);
        let prefix = decoder.extend(&decoder.prefix(first).unwrap(), second).unwrap();
        let extended = decoder.extend(&prefix, third).unwrap();
        assert_eq!(
            (extended.len(), prefix.is_empty()),
            (whole.len() - last.len(), first.len() + second.len() == 0)
        );
        assert_close(decoder.branch(&extended, &[last]).unwrap().as_ref(), expected);
        assert_close(decoder.branch_after(&prefix, third, &[last]).unwrap().as_ref(), expected);
    }
}

#[test]
fn branches_do_not_see_each_other() {
    let decoder = load(&Fixture::qwen2()).unwrap();
    let prefix = decoder.prefix(&sequence(20, 1)).unwrap();
    let shared = sequence(30, 2);
    let suffixes: Vec<Vec<u32>> =
        [3, 1, 8, 200, 100, 270, 4].iter().map(|tokens| sequence(*tokens, 7)).collect();
    let suffixes: Vec<&[u32]> = suffixes.iter().map(Vec::as_slice).collect();
    let extended = decoder.extend(&prefix, &shared).unwrap();
    for suffixes in [&suffixes[..3], &suffixes[..], &[]] {
        let together = decoder.branch(&extended, suffixes).unwrap();
        assert_close(decoder.branch_after(&prefix, &shared, suffixes).unwrap().as_ref(), together.as_ref());
        assert_eq!((together.nrows(), together.ncols()), (suffixes.len(), HIDDEN));
        for (place, suffix) in suffixes.iter().enumerate() {
            let alone = decoder.branch(&extended, &[suffix]).unwrap();
            assert_close(alone.as_ref(), together.as_ref().subrows(place, 1));
        }
    }
}

#[test]
fn logits_of_some_tokens_are_those_of_all() {
    for fixture in [Fixture::llama(), Fixture::qwen2()] {
        let decoder = load(&fixture).unwrap();
        let prefix = decoder.prefix(&[]).unwrap();
        let hidden = decoder.branch(&prefix, &[&[1, 2], &[3], &[4, 5, 6]]).unwrap();
        let all = decoder.logits(hidden.as_ref());
        assert_eq!((all.nrows(), all.ncols()), (3, decoder.vocabulary()));
        let some = decoder.logits_of(hidden.as_ref(), &[7, 9999, 261]);
        assert_close(some.as_ref().subcols(0, 1), all.as_ref().subcols(7, 1));
        assert_close(some.as_ref().subcols(2, 1), all.as_ref().subcols(261, 1));
        assert!(some.col(1).iter().all(|logit| *logit == f32::NEG_INFINITY));
        let table = if fixture.config["tie_word_embeddings"] == true {
            "model.embed_tokens.weight"
        } else {
            "lm_head.weight"
        };
        let row = &fixture.tensors[table].1[7 * HIDDEN..8 * HIDDEN];
        let expected: f32 = row.iter().zip(hidden.row(2).iter()).map(|(a, b)| a * b).sum();
        assert!((all[(2, 7)] - expected).abs() < 1e-4);
    }
}

#[test]
fn a_text_has_its_own_tokens_alone() {
    let decoder = load(&Fixture::llama()).unwrap();
    let encode = |text: &str| decoder.tokenizer().encode(text, true).unwrap().get_ids().to_vec();
    assert_eq!(encode("<|start|>the"), [260, 257]);
    assert_eq!(encode(&"z".repeat(50)).len(), 50);
    assert_eq!(decoder.tokens("<|start|>the").unwrap(), [260, 257]);
    assert_eq!(decoder.tokens("").unwrap(), [0u32; 0]);
}

#[test]
fn greedy_ends_where_the_text_does() {
    let mut fixture = Fixture::llama();
    let answer = load(&fixture).unwrap().greedy(&[1, 2, 3], 6).unwrap();
    assert_eq!(answer.len(), 6);
    let end = answer[3];
    fixture.config["eos_token_id"] = json!([9999, end]);
    let cut = load(&fixture).unwrap().greedy(&[1, 2, 3], 6).unwrap();
    assert_eq!(cut, answer[..answer.iter().position(|token| *token == end).unwrap()]);
    assert!(load(&fixture).unwrap().greedy(&[], 6).unwrap().is_empty());
}

#[test]
fn fingerprints_tell_decoders_apart() {
    let folder = TempDir::new().unwrap();
    Fixture::llama().write(folder.path());
    let decoder = Decoder::load(folder.path(), Precision::F32).unwrap();
    let halves = Decoder::load(folder.path(), Precision::Bf16).unwrap();
    assert_eq!(decoder.fingerprint(), halves.fingerprint());
    assert_eq!(decoder.fingerprint().len(), 64);
    let mut other = Fixture::llama();
    other.tensors.get_mut("model.norm.weight").unwrap().1[0] = 1.0;
    let other = load(&other).unwrap();
    assert_ne!(decoder.fingerprint(), other.fingerprint());
    let error = other.extend(&decoder.prefix(&[1]).unwrap(), &[2]).unwrap_err();
    assert!(matches!(error, DecoderError::ForeignPrefix));
}
