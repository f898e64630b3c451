use std::collections::BTreeMap;

use faer::Mat;

use super::*;
use crate::artifact::{Anchor, Artifact, Body, CalibrationSample, Provenance, Ratings};
use crate::features;
use crate::reading::ReadingWeights;
use crate::router::{Candidate, QueryBatch, Router};

const PRIOR: [f64; 4] = [-1.5, -0.5, 0.5, 1.5];

/// Domain 0: two heads, of models 0, 1 and of 1, 3. Domain 1: a head of models 2, 3. A strong input, 0, tells which.
fn weights() -> BertWeights {
    let gate = Mat::from_fn(3, 2, |row, column| if row == 0 { 40.0 - 80.0 * column as f32 } else { 0.0 });
    let head = |domain, models: [u32; 2], columns: [[f32; 3]; 2]| Head {
        domain,
        models: models.to_vec(),
        columns: Mat::from_fn(3, 2, |input, model| columns[model][input]),
    };
    BertWeights {
        reading: ReadingWeights { gate, ..ReadingWeights::plain(2) },
        heads: vec![
            head(0, [0, 1], [[0.0, 1.0, 0.25], [0.0, -1.0, 0.5]]),
            head(0, [1, 3], [[0.0, 9.0, 9.0], [0.0, 2.0, 0.0]]),
            head(1, [2, 3], [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0]]),
        ],
        nearness: Mat::identity(2, 2),
    }
}

fn artifact(weights: BertWeights) -> Artifact {
    let models: Vec<String> = (0..4).map(|model| format!("model-{model}")).collect();
    let provenance = Provenance {
        embedder: "a space".to_owned(),
        anchor: Anchor { model: models[0].clone(), elo: 1000.0 },
        sources: vec![],
        training_prompts: vec![],
        seed: 0,
        metrics: BTreeMap::new(),
    };
    let sample = CalibrationSample::quantise(&Mat::zeros(0, 4), &[]);
    let ratings = Ratings { models, prior: PRIOR.to_vec(), components: vec![0; 4] };
    Artifact::new(ratings, Body::Bert(weights), provenance, sample).unwrap()
}

/// θ − θ⁰ of every model.
fn shifts(router: &dyn Router, embedding: [f32; 2], text: &str) -> Vec<f64> {
    let candidates: Vec<Candidate> =
        (0..4).map(|model| router.place(&format!("model-{model}"), None).unwrap()).collect();
    let embeddings = Some(Mat::from_fn(1, 2, |_, column| embedding[column]));
    let skills = router
        .skills(&QueryBatch { texts: &[text], embeddings, ..QueryBatch::default() }, &candidates)
        .unwrap();
    (0..4).map(|model| skills[(0, model)] - PRIOR[model]).collect()
}

fn differ(one: f64, other: f64) -> bool {
    (one - other).abs() > 1e-5
}

#[test]
fn the_first_head_that_knows_a_model_tells_how_it_moves() {
    let router = artifact(weights()).router();
    let shifts = shifts(&*router, [1.0, 0.5], "");
    // Head 0: 0.75 and 0.0; model 3 by head 1: 1.0; up to the gauge.
    assert!(!differ(shifts[0] - shifts[1], 0.75), "{shifts:?}");
    assert!(!differ(shifts[3] - shifts[1], 1.0), "{shifts:?}");
    assert!(!differ(shifts.iter().sum::<f64>(), 0.0), "{shifts:?}");
}

#[test]
fn a_model_that_no_head_knows_moves_as_its_rating_says() {
    let router = artifact(weights()).router();
    let shifts = shifts(&*router, [-1.0, 0.5], "");
    // A slope of 2 over a spread of 0.5, held back by the ridge of 1: 2 · 0.5 / 1.5 for each unit of rating.
    let at = |rating: f64| 1.0 + (rating - 1.0) * 1.0 / 1.5;
    assert!(!differ(shifts[3] - shifts[2], 2.0), "{shifts:?}");
    assert!(!differ(shifts[2] - shifts[0], 0.0 - at(-1.5)), "{shifts:?}");
    assert!(!differ(shifts[1] - shifts[0], at(-0.5) - at(-1.5)), "{shifts:?}");
}

#[test]
fn what_sets_a_model_apart_is_borrowed_from_where_it_is_known() {
    let alone = shifts(&*artifact(weights()).router(), [-1.0, 0.5], "");
    let mut near = weights();
    near.nearness = Mat::from_fn(2, 2, |_, _| 0.5);
    let near = shifts(&*artifact(near).router(), [-1.0, 0.5], "");
    assert!(!differ(near[3] - near[2], alone[3] - alone[2]), "known models move as they did: {near:?}");
    // In domain 0 head 0 gives models 0 and 1 0.75 and 0.0, and head 1 models 1 and 3 13.5 and 1.0; the line of each:
    let line =
        |rating: f64| f64::midpoint(0.375 - 0.375 / 1.5 * (rating + 1.0), 7.25 - 12.5 / 3.0 * (rating - 0.5));
    let apart = [0.75 - line(-1.5), 0.0 - line(-0.5)];
    let moved = [0, 1].map(|model| (near[model] - near[2]) - (alone[model] - alone[2]));
    assert!(!differ(moved[0], apart[0]) && !differ(moved[1], apart[1]), "{moved:?}, {apart:?}");
}

#[test]
fn text_features_are_read_beside_the_embedding() {
    let mut weights = weights();
    let inputs = 2 + features::COUNT + 1;
    weights.reading = ReadingWeights {
        feature_centre: vec![0.0; features::COUNT],
        feature_scale: vec![1.0; features::COUNT],
        gate: Mat::zeros(inputs, 2),
        ..weights.reading
    };
    for head in &mut weights.heads {
        head.columns = Mat::from_fn(inputs, 2, |input, model| f32::from(u8::from(input > 1 && model == 0)));
    }
    let router = artifact(weights).router();
    let [short, long] = ["Hi", "Prove that 2 + 2 = 4.\n"].map(|text| shifts(&*router, [1.0, 0.0], text));
    assert!(differ(short[0], long[0]), "{short:?}, {long:?}");
}

#[test]
fn an_artefact_is_read_as_it_was_written() {
    let artifact = artifact(weights());
    let read = Artifact::from_bytes(&artifact.to_bytes().unwrap(), "it").unwrap();
    assert_eq!(read, artifact);
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let refused = |change: fn(&mut BertWeights)| {
        let mut weights = weights();
        change(&mut weights);
        weights.check(4).unwrap_err().to_string()
    };
    assert!(refused(|weights| drop(weights.heads.pop())).contains("no head for domain 1"));
    assert!(refused(|weights| weights.heads[0].domain = 2).contains("names domain 2"));
    assert!(refused(|weights| weights.heads[0].models.reverse()).contains("must ascend"));
    assert!(refused(|weights| weights.heads[0].models = vec![0, 4]).contains("beyond the 4"));
    assert!(refused(|weights| weights.heads[0].columns = Mat::zeros(2, 2)).contains("has shape (2, 2)"));
    assert!(refused(|weights| weights.nearness = Mat::zeros(1, 2)).contains("has shape (1, 2)"));
    assert!(refused(|weights| weights.nearness[(0, 1)] = -0.5).contains("below 0"));
    assert!(refused(|weights| weights.heads[0].columns[(1, 1)] = f32::NAN).contains("`columns` holds NaN"));
}
