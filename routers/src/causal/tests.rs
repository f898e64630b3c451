//! The router over labels that are made up, and a reader over a tiny decoder.

use std::collections::BTreeMap;
use std::sync::Arc;

use faer::Mat;
use proptest::prelude::*;

use super::*;
use crate::artifact::{Anchor, Artifact, ArtifactProblem, Body, CalibrationSample, Provenance, Ratings};
use crate::decoder::fixture::{Fixture, HIDDEN};
use crate::decoder::{Decoder, Precision};
use crate::router::{Candidate, QueryBatch, Router, RouterError};

const PRIOR: [f64; 4] = [-1.5, -0.5, 0.5, 1.5];
const DECODER: &str = "a decoder";

/// Models 0, 1 and 3 are asked about; 0 and 3 stand for the rest.
fn weights() -> CausalWeights {
    CausalWeights {
        template: Template::CURRENT.version().to_owned(),
        width: HIDDEN,
        question_tokens_max: 32,
        asked: vec![0, 1, 3],
        levels: vec![0.25, 0.0, -0.5],
        references: vec![0, 2],
        slope: 0.5,
        head: None,
    }
}

fn made(weights: CausalWeights) -> Result<Artifact, ArtifactProblem> {
    let models: Vec<String> = (0..4).map(|model| format!("model-{model}")).collect();
    let provenance = Provenance {
        embedder: DECODER.to_owned(),
        anchor: Anchor { model: models[0].clone(), elo: 1000.0 },
        sources: vec![],
        training_prompts: vec![],
        seed: 0,
        metrics: BTreeMap::new(),
    };
    // On the first prompt all that are asked about rise, on the second the strongest alone.
    let shifts =
        Mat::from_fn(2, 4, |prompt, model| [[0.5, 0.5, 0.0, 0.5], [0.0, 0.0, 0.0, 1.0]][prompt][model]);
    let sample = CalibrationSample::quantise(&shifts, &[10, 20]);
    let ratings = Ratings { models, prior: PRIOR.to_vec(), components: vec![0; 4] };
    Artifact::new(ratings, Body::Causal(weights), provenance, sample)
}

fn artifact() -> Artifact {
    made(weights()).unwrap()
}

/// Logits that mean z.
fn meaning(z: f64) -> [f32; 5] {
    // Two labels against three of the same logit mean ln(2/3).
    let upper = (z - (2.0_f64 / 3.0).ln()) as f32;
    [0.0, 0.0, 0.0, upper, upper]
}

fn place(router: &dyn Router, name: &str, elo: Option<f64>) -> Candidate {
    router.place(name, elo).unwrap()
}

/// The skills of candidates, each model asked about having its own z.
fn skills(router: &dyn Router, candidates: &[Candidate], z: impl Fn(&str) -> f64) -> Vec<f64> {
    let labels = router.asks(candidates).iter().map(|name| meaning(z(name))).collect();
    let batch = QueryBatch { texts: &["text"], labels: Some(vec![labels]), ..QueryBatch::default() };
    let skills = router.skills(&batch, candidates).unwrap();
    (0..candidates.len()).map(|column| skills[(0, column)]).collect()
}

fn close(one: f64, other: f64) -> bool {
    (one - other).abs() < 1e-6
}

#[test]
fn labels_move_the_models_that_are_asked_about() {
    let router = artifact().router();
    let candidates = [0, 1, 3].map(|model| place(&*router, &format!("model-{model}"), None));
    assert_eq!(router.asks(&candidates), ["model-0", "model-1", "model-3"]);
    let found = skills(&*router, &candidates, |name| if name == "model-1" { 2.0 } else { 0.0 });
    let expected = [-1.5 + 0.5 * (0.0 - 0.25), -0.5 + 0.5 * 2.0, 1.5 + 0.5 * 0.5];
    assert!(found.iter().zip(expected).all(|(one, other)| close(*one, other)), "{found:?}");
}

#[test]
fn others_move_as_their_rating_says() {
    let router = artifact().router();
    // Unknown to the decoder, and unknown to the artefact: between the two that stand for them, and beyond.
    let candidates = [
        place(&*router, "model-2", None),
        place(&*router, "new", Some(1000.0 + 400.0 / f64::ln(10.0) * 4.0)),
    ];
    assert_eq!(router.asks(&candidates), ["model-0", "model-3"]);
    let found = skills(&*router, &candidates, |name| if name == "model-3" { 0.5 } else { 0.25 });
    // The shift is 0 at −1.5 and 0.5 at 1.5.
    let line = |prior: f64| prior + 0.5 * (prior + 1.5) / 3.0;
    assert!(close(found[0], line(0.5)) && close(found[1], line(2.5)), "{found:?}");
    let sample = router.calibration(&candidates).unwrap();
    // All rise by a half, whatever their rating; then by a third of what they are above the weakest.
    assert!(
        (sample.skills[(0, 0)] - 1.0).abs() < 1e-4
            && (sample.skills[(1, 0)] - (0.5 + 2.0 / 3.0)).abs() < 1e-4
    );
    assert_eq!(sample.prompt_tokens, [10, 20]);
}

#[test]
fn references_that_are_rated_alike_say_only_their_mean() {
    // Models 0 and 1 are a logit apart; of 0 alone nothing follows for others but its own shift.
    let weights = CausalWeights { references: vec![0], ..weights() };
    let router = made(weights).unwrap().router();
    let candidates = [place(&*router, "new", Some(3000.0))];
    let found = skills(&*router, &candidates, |_| 1.25);
    assert!(close(found[0] - router.prior(&candidates[0]), 0.5), "{found:?}");
}

proptest! {
    #[test]
    fn who_else_is_there_changes_no_pair(
        z in prop::array::uniform4(-8.0_f64..8.0),
        others in prop::sample::subsequence(vec![1, 2, 4], 0..=3),
    ) {
        let router = artifact().router();
        let candidate = |number: usize| match number {
            4 => place(&*router, "new", Some(1100.0)),
            number => place(&*router, &format!("model-{number}"), None),
        };
        let z = |name: &str| z[name.trim_start_matches("model-").parse::<usize>().unwrap()];
        let pair = [candidate(0), candidate(3)];
        let alone = skills(&*router, &pair, z);
        let all: Vec<Candidate> = others.into_iter().map(candidate).chain(pair).collect();
        let among = skills(&*router, &all, z);
        prop_assert_eq!(&among[all.len() - 2..], &alone[..]);
    }
}

#[test]
fn what_a_query_lacks_is_told() {
    let router = artifact().router();
    let candidates = [place(&*router, "model-0", None)];
    let ask = |labels| {
        router
            .skills(&QueryBatch { texts: &["text"], labels, ..QueryBatch::default() }, &candidates)
            .unwrap_err()
    };
    assert_eq!(ask(None), RouterError::Labels { expected: 1, found: 0 });
    assert_eq!(ask(Some(vec![vec![[0.0; 5]; 2]])), RouterError::Labels { expected: 1, found: 2 });
    assert_eq!(ask(Some(vec![vec![[f32::NAN; 5]]])), RouterError::NotFinite);
    let needs = router.needs();
    assert_eq!((needs.embedding, needs.decoder.as_deref()), (None, Some(DECODER)));
}

#[test]
fn an_artefact_is_read_as_it_was_written() {
    let with_head = CausalWeights { head: Some(head(HIDDEN)), ..weights() };
    for weights in [weights(), with_head] {
        let artifact = made(weights).unwrap();
        let bytes = artifact.to_bytes().unwrap();
        assert_eq!(Artifact::from_bytes(&bytes, "file").unwrap(), artifact);
        assert_eq!(artifact.kind(), "causal");
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let told = |weights: CausalWeights| made(weights).unwrap_err().to_string();
    let usual = weights;
    let wrong = [
        (CausalWeights { template: "9".to_owned(), ..usual() }, "which this release does not know"),
        (CausalWeights { question_tokens_max: 3, ..usual() }, "expected 16 at least"),
        (CausalWeights { asked: vec![], levels: vec![], ..usual() }, "must ascend, and not be empty"),
        (CausalWeights { asked: vec![0, 1, 9], ..usual() }, "names number 9, there are 4"),
        (CausalWeights { levels: vec![0.0], ..usual() }, "has 1 values, expected 3"),
        (CausalWeights { references: vec![3], ..usual() }, "names number 3, there are 3"),
        (CausalWeights { slope: f64::NAN, ..usual() }, "slope"),
        (CausalWeights { head: Some(head(HIDDEN + 1)), ..usual() }, "does not fit the adapter"),
        (
            CausalWeights { head: Some(Head { up: Mat::full(HIDDEN, 2, 1e30), ..head(HIDDEN) }), ..usual() },
            "expected values within",
        ),
    ];
    for (weights, reason) in wrong {
        let told = told(weights);
        assert!(told.contains(reason), "{told}");
    }
}

fn head(width: usize) -> Head {
    Head {
        labels: Mat::from_fn(5, width, |label, place| ((label + place) % 7) as f32 / 10.0),
        down: Mat::from_fn(2, width, |row, place| (row + place) as f32 / 100.0),
        up: Mat::from_fn(width, 2, |place, column| (place * column) as f32 / 1000.0),
    }
}

fn decoder(fixture: &Fixture) -> Arc<Decoder> {
    let folder = tempfile::tempdir().unwrap();
    fixture.write(folder.path());
    Arc::new(Decoder::load(folder.path(), Precision::F32).unwrap())
}

#[test]
fn a_question_is_answered_for_each_name_as_for_it_alone() {
    let weights = CausalWeights { head: Some(head(HIDDEN)), ..weights() };
    let names = ["gpt-4", "claude-1", "the model"];
    let reader = Reader::new(decoder(&Fixture::llama()), &weights, &names).unwrap();
    let unknown = reader.read("", &["another"]).unwrap_err().to_string();
    assert_eq!(unknown, "`another` is not among the models that are asked about");
    for question in ["", "What is 12 + 12?", &"the question ".repeat(5_000), "<|end|>\u{0}é"] {
        let together = reader.read(question, &names).unwrap();
        assert!(together.iter().flatten().all(|logit| logit.is_finite()), "{question:.20}");
        for (name, logits) in names.iter().zip(&together) {
            let alone = reader.read(question, &[name]).unwrap()[0];
            assert!(
                alone.iter().zip(logits).all(|(one, other)| (one - other).abs() < 1e-4),
                "{question:.20}"
            );
        }
        assert!(together[0].iter().zip(together[1]).any(|(one, other)| (one - other).abs() > 1e-6));
    }
    let both = reader.read_all(&["one", "the other"], &names).unwrap();
    assert_eq!(both[1], reader.read("the other", &names).unwrap());
}

#[test]
fn a_decoder_that_does_not_fit_is_told() {
    let decoder = decoder(&Fixture::llama());
    let told = |weights: CausalWeights| {
        Reader::new(Arc::clone(&decoder), &weights, &["gpt-4"]).unwrap_err().to_string()
    };
    let no_labels = told(weights());
    assert!(no_labels.starts_with("the decoder's vocabulary has no token `[[1]]`"), "{no_labels}");
    let wide = told(CausalWeights { width: 3, ..weights() });
    assert_eq!(
        wide,
        format!("the artefact reads hidden states of 3 dimensions, the decoder's have {HIDDEN}")
    );
    let long = CausalWeights { head: Some(head(HIDDEN)), question_tokens_max: 700, ..weights() };
    let long = told(long);
    assert!(
        long.starts_with("the decoder takes 700 tokens, and a question about `gpt-4` may have "),
        "{long}"
    );
}
