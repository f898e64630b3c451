use std::collections::BTreeMap;

use faer::Mat;

use super::*;
use crate::artifact::{Anchor, Artifact, Body, CalibrationSample, Provenance, Ratings};
use crate::mf::MfWeights;
use crate::reading::ReadingWeights;
use crate::router::{Candidate, QueryBatch, Router, RouterError, Standing};
use crate::select::win_probability;

fn artifact() -> Artifact {
    let ratings = Ratings {
        models: vec!["amber".to_owned(), "beryl".to_owned()],
        prior: vec![0.5, -0.5],
        components: vec![0, 0],
    };
    let weights = MfWeights {
        reading: ReadingWeights::plain(2),
        projections: vec![Mat::from_fn(3, 1, |row, _| row as f32)],
        factors: Mat::from_fn(2, 1, |row, _| 1.0 - 2.0 * row as f32),
    };
    let provenance = Provenance {
        embedder: "a space".to_owned(),
        anchor: Anchor { model: "beryl".to_owned(), elo: 1000.0 },
        sources: vec![],
        training_prompts: vec![],
        seed: 0,
        metrics: BTreeMap::new(),
    };
    let sample = CalibrationSample::quantise(&Mat::zeros(3, 2), &[4, 5, 6]);
    Artifact::new(ratings, Body::Mf(weights), provenance, sample).unwrap()
}

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("prompt {number}")).collect()
}

fn score(router: &dyn Router, texts: &[String], candidates: &[Candidate]) -> faer::Mat<f64> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    router
        .skills(&QueryBatch { texts: &texts, embeddings: None, ..QueryBatch::default() }, candidates)
        .unwrap()
}

#[test]
fn random_win_rates_are_spread_evenly() {
    let router = RandomRouter::new(3);
    let candidates = ["amber", "beryl"].map(|name| router.place(name, None).unwrap());
    let count = 20_000;
    let skills = score(&router, &texts(count), &candidates);
    let mut tenths = [0_u32; 10];
    for row in skills.row_iter() {
        tenths[((10.0 * win_probability(row[0], row[1])) as usize).min(9)] += 1;
    }
    // 2000 expected, 42 the standard deviation.
    assert!(tenths.iter().all(|&tenth| tenth.abs_diff(2000) < 210), "{tenths:?}");
    assert_eq!(router.calibration(&candidates).unwrap().skills.nrows(), 4096);
}

#[test]
fn lots_depend_on_seed_text_and_model_alone() {
    let router = RandomRouter::new(3);
    let names = ["amber", "claude-2.0", "cobalt"];
    let candidates = names.map(|name| router.place(name, None).unwrap());
    let together = score(&router, &texts(5), &candidates);
    let alone = router.place("claude-2", Some(9.0)).unwrap();
    let alone = score(&router, &texts(5)[2..3], &[alone]);
    assert_eq!(alone[(0, 0)].to_bits(), together[(2, 1)].to_bits());
    let other = RandomRouter::new(4);
    assert_ne!(score(&other, &texts(5), &candidates), together);
    assert_ne!(together.row(0), together.row(1));
}

#[test]
fn the_best_model_is_the_best_for_everything() {
    let router = BestSingle::new(&artifact());
    let candidates = [("beryl", None), ("amber", None), ("cobalt", Some(1400.0))]
        .map(|(name, elo)| router.place(name, elo).unwrap());
    let skills = score(&router, &texts(3), &candidates);
    let rated = -0.5 + std::f64::consts::LN_10;
    assert_eq!(skills, Mat::from_fn(3, 3, |_, column| [-0.5, 0.5, rated][column]));
    let calibration = router.calibration(&candidates).unwrap();
    assert_eq!((calibration.skills, calibration.prompt_tokens), (skills, vec![4, 5, 6]));
    assert_eq!(router.needs().embedding, None);
    let foreign = Candidate { name: "x".to_owned(), standing: Standing::Row(2) };
    assert_eq!(router.calibration(&[foreign]).unwrap_err(), RouterError::UnknownRow(2));
}
