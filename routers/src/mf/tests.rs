use std::collections::BTreeMap;

use faer::Mat;
use proptest::prelude::*;

use super::*;
use crate::artifact::{Anchor, Artifact, Body, CalibrationSample, Provenance, Ratings};
use crate::reading::ReadingWeights;
use crate::router::{Candidate, QueryBatch, Router, RouterError, SkillMatrix, Standing};
use crate::select::hash::{mix, unit_interval};

const DIM: usize = 24;
const DOMAINS: usize = 3;

/// Numbers within -1..1, by position.
fn noise(seed: u64, row: usize, column: usize) -> f64 {
    2.0 * unit_interval(mix(mix(mix(seed) ^ row as u64) ^ column as u64)) - 1.0
}

fn ratings(models: usize) -> Ratings {
    let global: Vec<f64> = (0..models).map(|model| 2.0 * noise(1, model, 0)).collect();
    let mean = global.iter().sum::<f64>() / models as f64;
    Ratings {
        models: (0..models).map(|model| format!("model-{model:03}")).collect(),
        prior: global.iter().map(|skill| skill - mean).collect(),
        components: vec![0; models],
    }
}

fn weights(models: usize, dim: usize, rank: usize) -> MfWeights {
    let gate = |row, column| (9.0 * noise(6, row, column)) as f32;
    let reading = ReadingWeights { gate: Mat::from_fn(dim + 1, DOMAINS, gate), ..ReadingWeights::plain(dim) };
    let map = |domain: usize| {
        Mat::from_fn(dim + 1, rank, |row, column| noise(2 + 10 * domain as u64, row, column) as f32)
    };
    let factors = Mat::from_fn(models, rank, |row, column| noise(4, row, column) as f32);
    let mut weights = MfWeights { reading, projections: (0..DOMAINS).map(map).collect(), factors };
    weights.centre();
    weights
}

fn embeddings(count: usize, dim: usize) -> Mat<f32> {
    let scale = 1.0 / (dim as f64).sqrt();
    Mat::from_fn(count, dim, |row, column| (scale * noise(5, row, column)) as f32)
}

/// Shifts of a calibration sample.
fn shifts(prompts: usize, models: usize) -> Mat<f64> {
    Mat::from_fn(prompts, models, |row, column| 2.0 * noise(8, row, column))
}

fn router(weights: MfWeights, prompts: usize) -> Mf {
    rated(ratings(weights.factors.nrows()), weights, prompts)
}

fn rated(ratings: Ratings, weights: MfWeights, prompts: usize) -> Mf {
    let provenance = Provenance {
        embedder: "a space".to_owned(),
        anchor: Anchor { model: ratings.models[0].clone(), elo: 1000.0 },
        sources: vec![],
        training_prompts: vec![],
        seed: 0,
        metrics: BTreeMap::new(),
    };
    let sample = CalibrationSample::quantise(&shifts(prompts, ratings.models.len()), &vec![10; prompts]);
    let factorised = Factorised::new(&weights, &ratings.prior);
    Mf::new(&Artifact::new(ratings, Body::Mf(weights), provenance, sample).unwrap(), factorised)
}

fn all(router: &Mf, models: usize) -> Vec<Candidate> {
    (0..models).map(|model| router.place(&format!("model-{model:03}"), None).unwrap()).collect()
}

fn score(router: &Mf, embeddings: Mat<f32>, candidates: &[Candidate]) -> SkillMatrix {
    let texts = vec![""; embeddings.nrows()];
    router
        .skills(
            &QueryBatch { texts: &texts, embeddings: Some(embeddings), ..QueryBatch::default() },
            candidates,
        )
        .unwrap()
}

#[test]
fn skills_are_those_of_the_formula() {
    for (models, rank) in [(1, 1), (5, 3), (12, 16), (9, 37)] {
        let weights = weights(models, DIM, rank);
        let router = router(weights.clone(), 0);
        let queries = embeddings(3, DIM);
        let skills = score(&router, queries.clone(), &all(&router, models));
        for query in 0..3 {
            for model in 0..models {
                let input = |row: usize| if row < DIM { f64::from(queries[(query, row)]) } else { 1.0 };
                let product = |map: &Mat<f32>, column: usize| -> f64 {
                    (0..=DIM).map(|row| input(row) * f64::from(map[(row, column)])).sum()
                };
                let odds = |domain: usize| product(&weights.reading.gate, domain).exp();
                let total: f64 = (0..DOMAINS).map(odds).sum();
                let unit = |column: usize| -> f64 {
                    let mixed = weights.projections.iter().enumerate();
                    mixed.map(|(domain, map)| odds(domain) / total * product(map, column)).sum()
                };
                let shift: f64 =
                    (0..rank).map(|column| f64::from(weights.factors[(model, column)]) * unit(column)).sum();
                let expected = ratings(models).prior[model] + shift;
                // Memberships under a thousandth are left out.
                assert!((skills[(query, model)] - expected).abs() < 2e-2 * rank as f64, "{query} {model}");
            }
        }
    }
}

#[test]
fn the_mean_shift_is_zero_for_every_prompt() {
    let router = router(weights(40, DIM, 8), 0);
    let skills = score(&router, embeddings(6, DIM), &all(&router, 40));
    for row in skills.row_iter() {
        assert!((row.iter().sum::<f64>() / 40.0).abs() < 1e-6);
    }
}

#[test]
fn a_zero_embedding_gives_the_global_fit() {
    let router = router(weights(7, DIM, 4), 0);
    let mut candidates = all(&router, 7);
    candidates.push(router.place("unheard of", Some(1200.0)).unwrap());
    let skills = score(&router, Mat::zeros(1, DIM), &candidates);
    for (column, candidate) in candidates.iter().enumerate() {
        assert_eq!(skills[(0, column)].to_bits(), router.prior(candidate).to_bits());
    }
    assert_eq!(router.prior(&candidates[3]).to_bits(), ratings(7).prior[3].to_bits());
}

/// Least squares of skills on ratings by its normal equations, at a rating.
fn on_the_line(prior: &[f64], skill: impl Fn(usize) -> f64, rating: f64) -> f64 {
    let of = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        prior.iter().enumerate().map(|(model, &prior)| f(prior, skill(model))).sum::<f64>()
    };
    let count = prior.len() as f64;
    let (x, y) = (of(&|x, _| x) / count, of(&|_, y| y) / count);
    let slope = of(&|prior, skill| (prior - x) * (skill - y)) / of(&|prior, _| (prior - x).powi(2));
    y + slope * (rating - x)
}

#[test]
fn a_rated_model_lies_on_the_line_of_skills_over_ratings() {
    let router = router(weights(30, DIM, 5), 0);
    let queries = embeddings(4, DIM);
    let skills = score(&router, queries.clone(), &all(&router, 30));
    let candidate = router.place("unheard of", Some(1150.0)).unwrap();
    let prior = ratings(30).prior;
    let rating = prior[0] + 150.0 * std::f64::consts::LN_10 / 400.0;
    assert!((router.prior(&candidate) - rating).abs() < 1e-12);
    let placed = score(&router, queries, &[candidate]);
    for query in 0..4 {
        let expected = on_the_line(&prior, |model| skills[(query, model)], rating);
        assert!((placed[(query, 0)] - expected).abs() < 1e-5, "{} for {expected}", placed[(query, 0)]);
    }
}

#[test]
fn the_calibration_sample_is_looked_up() {
    let router = router(weights(6, DIM, 4), 50);
    let mut candidates = all(&router, 6);
    candidates.push(router.place("unheard of", Some(1200.0)).unwrap());
    let calibration = router.calibration(&candidates).unwrap();
    assert_eq!((calibration.skills.nrows(), calibration.prompt_tokens), (50, vec![10; 50]));
    let (shifts, prior) = (shifts(50, 6), ratings(6).prior);
    let rating = router.prior(&candidates[6]);
    for (prompt, skills) in calibration.skills.row_iter().enumerate() {
        for model in 0..6 {
            let expected = prior[model] + shifts[(prompt, model)];
            assert!((skills[model] - expected).abs() < 2.0 / 32767.0, "{} for {expected}", skills[model]);
        }
        // A rated model lies on the line of these skills over the ratings.
        let expected = on_the_line(&prior, |model| prior[model] + shifts[(prompt, model)], rating);
        assert!((skills[6] - expected).abs() < 1e-3, "{} for {expected}", skills[6]);
    }
}

#[test]
fn models_are_placed_by_any_spelling_and_only_where_they_are_linked() {
    let models = vec!["claude-2.0".to_owned(), "island".to_owned()];
    let router = rated(Ratings { models, components: vec![3, 4], ..ratings(2) }, weights(2, DIM, 2), 0);
    let found = router.place("claude-2", None).unwrap();
    assert_eq!((found.name.as_str(), found.standing), ("claude-2.0", Standing::Row(0)));
    assert_eq!(router.place("claude-2.0", Some(1.0)).unwrap().standing, Standing::Row(0));
    assert_eq!(router.place("island", None), None);
    assert_eq!(router.place("island", Some(900.0)).unwrap().standing, Standing::Elo(900.0));
    assert_eq!(router.place("unheard of", None), None);
    assert_eq!(router.place("unheard of", Some(f64::NAN)), None);
}

#[test]
fn what_a_query_lacks_is_said() {
    let router = router(weights(3, DIM, 2), 0);
    let candidates = all(&router, 3);
    let ask = |embeddings: Option<Mat<f32>>| {
        router
            .skills(&QueryBatch { texts: &["a", "b"], embeddings, ..QueryBatch::default() }, &candidates)
            .unwrap_err()
    };
    assert_eq!(ask(None), RouterError::Embedding { expected: DIM, found: 0 });
    assert_eq!(ask(Some(Mat::zeros(2, 5))), RouterError::Embedding { expected: DIM, found: 5 });
    assert_eq!(ask(Some(Mat::zeros(1, DIM))), RouterError::Embedding { expected: DIM, found: 0 });
    assert_eq!(ask(Some(Mat::full(2, DIM, f32::INFINITY))), RouterError::NotFinite);
    let foreign = Candidate { name: "x".to_owned(), standing: Standing::Row(3) };
    assert_eq!(router.calibration(&[]).unwrap_err(), RouterError::NoCalibration);
    let batch = QueryBatch { texts: &["a"], embeddings: Some(Mat::zeros(1, DIM)), ..QueryBatch::default() };
    assert_eq!(router.skills(&batch, &[foreign]).unwrap_err(), RouterError::UnknownRow(3));
    assert_eq!(router.needs().embedding.as_deref(), Some("a space"));
}

proptest! {
    /// A model's skill does not depend on the other queries, nor on the other candidates or their order.
    #[test]
    fn alone_and_together_give_the_same_bits(
        models in 1_usize..20, rank in 1_usize..40, queries in 1_usize..6, shift in 0_usize..20, elo in 0.0_f64..3000.0,
    ) {
        let router = router(weights(models, DIM, rank), 0);
        let mut candidates = all(&router, models);
        candidates.push(router.place("unheard of", Some(elo)).unwrap());
        candidates.rotate_left(shift % models);
        let batch = embeddings(queries, DIM);
        let together = score(&router, batch.clone(), &candidates);
        for query in 0..queries {
            let row = Mat::from_fn(1, DIM, |_, column| batch[(query, column)]);
            for (column, candidate) in candidates.iter().enumerate() {
                let alone = score(&router, row.clone(), std::slice::from_ref(candidate));
                prop_assert_eq!(alone[(0, 0)].to_bits(), together[(query, column)].to_bits());
            }
        }
    }
}
