//! On a tiny decoder with weights that are made up.

use super::*;
use crate::causal::head::HeadOptions;
use crate::decoder::fixture::Fixture;
use crate::decoder::{Decoder, Precision};
use crate::router::QueryBatch;
use crate::train::tests::{MODELS, gather, rows};

fn decoder() -> Arc<Decoder> {
    let folder = tempfile::tempdir().unwrap();
    Fixture::llama().write(folder.path());
    Arc::new(Decoder::load(folder.path(), Precision::F32).unwrap())
}

fn options() -> CausalOptions {
    CausalOptions {
        sample_prompts: 30,
        scores_min: 5,
        question_tokens_max: 32,
        head: Some(HeadOptions { steps: 400, batch: 64, ..HeadOptions::default() }),
        ..CausalOptions::default()
    }
}

fn train(decoder: &Arc<Decoder>, data: &Dataset) -> Artifact {
    train_causal(data, decoder, &options(), &Origin::default(), 0, &|_, _| ()).unwrap()
}

/// What the router makes of a text, by a reader of its decoder.
fn skills(artifact: &Artifact, decoder: &Arc<Decoder>, text: &str) -> Vec<f64> {
    let router = artifact.router();
    let reader = router.reader(Arc::clone(decoder)).unwrap().unwrap();
    let candidates: Vec<_> = MODELS.iter().map(|name| router.place(name, None).unwrap()).collect();
    let names = router.asks(&candidates);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let labels = Some(vec![reader.read(text, &names).unwrap()]);
    let skills =
        router.skills(&QueryBatch { texts: &[text], labels, ..QueryBatch::default() }, &candidates).unwrap();
    (0..candidates.len()).map(|column| skills[(0, column)]).collect()
}

#[test]
fn an_artefact_knows_its_decoder_and_is_the_same_in_whatever_order_the_rows_are() {
    let (decoder, rows) = (decoder(), rows());
    let artifact = train(&decoder, &gather(rows.clone()));
    assert_eq!((artifact.kind(), artifact.embedder_fingerprint()), ("causal", decoder.fingerprint()));
    let reversed = train(&decoder, &gather(rows.into_iter().rev().collect()));
    assert!(artifact.to_bytes().unwrap() == reversed.to_bytes().unwrap());
    let read = Artifact::from_bytes(&artifact.to_bytes().unwrap(), "file").unwrap();
    let text = "question 7";
    assert_eq!(skills(&artifact, &decoder, text), skills(&read, &decoder, text));
    assert_eq!(artifact.calibration().len(), 30);
    // Only what the head has seen counts as known.
    assert!(!artifact.provenance().training_prompts.is_empty());
}

#[test]
fn shares_are_those_of_the_sample() {
    let (decoder, data) = (decoder(), gather(rows()));
    let artifact = train(&decoder, &data);
    let router = artifact.router();
    let candidates: Vec<_> = MODELS.iter().map(|name| router.place(name, None).unwrap()).collect();
    let sample = router.calibration(&candidates).unwrap();
    let texts = spread(&places(&data), 30);
    for (row, &place) in texts.iter().enumerate() {
        let found = skills(&artifact, &decoder, &routing_text(&data.prompts[place]));
        for (column, skill) in found.iter().enumerate() {
            let stored = sample.skills[(row, column)];
            assert!((skill - stored).abs() < 1e-3, "{skill} beside {stored}");
        }
    }
}

#[test]
fn a_spread_has_both_ends() {
    assert_eq!(spread(&[1, 2, 3, 4, 5], 3), [1, 3, 5]);
    assert_eq!(spread(&[1, 2], 3), [1, 2]);
    assert_eq!(spread(&[1, 2], 1), [1]);
    assert!(spread::<u8>(&[], 2).is_empty());
}
