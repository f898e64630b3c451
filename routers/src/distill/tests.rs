use std::path::Path;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::*;
use crate::data::{ReadOptions, read};
use crate::embed::StaticEmbedder;
use crate::encoder::fixture::{Fixture, HIDDEN, pieces, tokenizer};

fn encoder() -> &'static Encoder {
    static ENCODER: OnceLock<Encoder> = OnceLock::new();
    ENCODER.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        Fixture::bert().write(folder.path());
        Encoder::load(folder.path()).unwrap()
    })
}

fn texts() -> Vec<String> {
    let words =
        ["the", "of", "red", "blue", "green", "dog", "cat", "runs", "sleeps", "x", "1", "2", "a", "b", "c"];
    (0..60)
        .map(|text: usize| {
            let words: Vec<&str> = (0..text % 5 + 2)
                .map(|place| words[(text / 4 + place * (text % 7 + 1)) % words.len()])
                .collect();
            words.join(" ")
        })
        .collect()
}

fn distilled(dim: usize, texts: Vec<String>) -> Result<StaticTable, DistillError> {
    distill(encoder(), &DistillOptions { dim, texts }, &mut |_, _| {})
}

#[test]
fn the_same_again_gives_the_same_bytes() {
    let table = distilled(6, texts()).unwrap().to_bytes().unwrap();
    let mut shuffled = texts();
    shuffled.reverse();
    shuffled.extend(texts());
    assert_eq!(distilled(6, shuffled).unwrap().to_bytes().unwrap(), table);
    assert_ne!(distilled(6, vec![]).unwrap().to_bytes().unwrap(), table);
}

#[test]
fn the_table_has_the_encoders_vocabulary_and_spelling() {
    let table = distilled(5, texts()).unwrap();
    assert_eq!((table.vocabulary.len(), table.dim, table.unknown.as_str()), (pieces().len(), 5, "[UNK]"));
    assert_eq!(table.encoder, encoder().fingerprint());
    let silent: Vec<bool> = table.scales.iter().map(|scale| *scale == 0.0).collect();
    assert_eq!(silent.iter().filter(|silent| **silent).count(), 4, "special tokens have no vector");
    let embedder = StaticEmbedder::load(table.to_bytes().unwrap()).unwrap();
    assert_eq!(embedder.embed("RED"), embedder.embed("réd"));
    assert_eq!(embedder.embed("[PAD] zzz").len(), 5);
}

/// How well the distances between texts agree with the encoder's: the correlation of inner products.
fn agreement(table: &StaticTable) -> f64 {
    let embedder = StaticEmbedder::load(table.to_bytes().unwrap()).unwrap();
    let texts = texts();
    let wanted = encoder().embed_batch(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    let mean = components::mean(
        Mat::from_fn(wanted.nrows(), HIDDEN, |row, column| f64::from(wanted[(row, column)])).as_ref(),
        &vec![1.0; wanted.nrows()],
    );
    let wanted: Vec<Vec<f64>> = wanted
        .row_iter()
        .map(|row| row.iter().zip(&mean).map(|(value, mean)| f64::from(*value) - mean).collect())
        .collect();
    let made: Vec<Vec<f64>> =
        texts.iter().map(|text| embedder.embed(text).into_iter().map(f64::from).collect()).collect();
    let products = |rows: &[Vec<f64>]| -> Vec<f64> {
        let pairs = rows.iter().enumerate().flat_map(|(place, a)| rows[..place].iter().map(move |b| (a, b)));
        pairs.map(|(a, b)| a.iter().zip(b).map(|(a, b)| a * b).sum()).collect()
    };
    let centred = |values: Vec<f64>| -> Vec<f64> {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.into_iter().map(|value| value - mean).collect()
    };
    let (a, b) = (centred(products(&wanted)), centred(products(&made)));
    let dot = |a: &[f64], b: &[f64]| -> f64 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()
}

#[test]
fn texts_bring_the_table_nearer_to_the_encoder() {
    let (without, with) =
        (agreement(&distilled(8, vec![]).unwrap()), agreement(&distilled(8, texts()).unwrap()));
    assert!(with > without + 0.1, "{without} to {with}");
}

#[test]
fn impossible_widths_are_refused() {
    for dim in [0, HIDDEN + 1] {
        assert!(matches!(distilled(dim, vec![]), Err(DistillError::Dim { .. })));
    }
}

#[test]
fn encoders_without_word_pieces_are_refused() {
    let folder = TempDir::new().unwrap();
    Fixture::bert().write(folder.path());
    let mut tokenizer = tokenizer();
    tokenizer["pre_tokenizer"] = serde_json::json!({"type": "Whitespace"});
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let encoder = Encoder::load(folder.path()).unwrap();
    let error = distill(&encoder, &DistillOptions::default(), &mut |_, _| {}).unwrap_err();
    assert!(error.to_string().contains("the pre-tokenizer is not BertPreTokenizer"), "{error}");
}

#[test]
fn progress_rises_to_its_end() {
    let mut told = Vec::new();
    let options = DistillOptions { dim: 4, texts: texts() };
    distill(encoder(), &options, &mut |done, total| told.push((done, total))).unwrap();
    let (done, total) = told[told.len() - 1];
    assert!(told.is_sorted() && done == total && total > pieces().len() + 20);
}

#[test]
fn texts_are_the_user_turns_of_rows() {
    let row =
        br#"{"source": "s", "prompt": ["first", "second"], "model_a": "a", "model_b": "b", "winner": "tie"}"#;
    let rows = [&row[..], row].join(&b'\n');
    let mut texts = Vec::new();
    read(&rows[..], Path::new("battles"), &ReadOptions::default(), &mut |row| {
        take_texts(row, &mut texts);
        Ok(())
    })
    .unwrap();
    assert_eq!(texts, ["first", "second", "first", "second"]);
}
