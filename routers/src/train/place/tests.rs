use std::collections::BTreeMap;

use faer::Mat;

use super::*;
use crate::artifact::{Anchor, Body, CalibrationSample, Provenance, Ratings};
use crate::bradley_terry::sigmoid;
use crate::data::{Prompt, Score};
use crate::mf::MfWeights;
use crate::reading::ReadingWeights;
use crate::select::hash::{mix, unit_interval};

const DIM: usize = 4;
const KNOWN: usize = 5;
const PROMPTS: usize = 400;

/// Numbers within 0..1, by position.
fn lot(seed: u64, row: usize, column: usize) -> f64 {
    unit_interval(mix(mix(mix(seed) ^ row as u64) ^ column as u64))
}

/// θ_m(x) = θ⁰_m + factors_m · x.
fn artifact() -> Artifact {
    let mut weights = MfWeights {
        reading: ReadingWeights::plain(DIM),
        projections: vec![Mat::from_fn(DIM + 1, DIM, |row, column| f32::from(u8::from(row == column)))],
        factors: Mat::from_fn(KNOWN, DIM, |row, column| (3.0 * lot(1, row, column) - 1.5) as f32),
    };
    weights.centre();
    let ratings = Ratings {
        models: (0..KNOWN).map(|model| format!("known-{model}")).collect(),
        prior: vec![-1.0, -0.5, 0.0, 0.5, 1.0],
        components: vec![0; KNOWN],
    };
    let provenance = Provenance {
        embedder: "a space".to_owned(),
        anchor: Anchor { model: "known-2".to_owned(), elo: 1000.0 },
        sources: vec![],
        training_prompts: vec![],
        seed: 0,
        metrics: BTreeMap::new(),
    };
    let sample = CalibrationSample::quantise(&Mat::zeros(0, KNOWN), &[]);
    Artifact::new(ratings, Body::Mf(weights), provenance, sample).unwrap()
}

fn embeddings() -> Mat<f32> {
    let mut rows = Mat::from_fn(PROMPTS, DIM, |row, column| (lot(2, row, column) - 0.5) as f32);
    for mut row in rows.row_iter_mut() {
        let norm = row.norm_l2();
        row /= faer::Scale(norm);
    }
    rows
}

fn skills(artifact: &Artifact, names: &[&str]) -> SkillMatrix {
    let router = artifact.router();
    let candidates: Vec<Candidate> = names.iter().map(|name| router.place(name, None).unwrap()).collect();
    let texts = vec![""; PROMPTS];
    router
        .skills(
            &QueryBatch { texts: &texts, embeddings: Some(embeddings()), ..QueryBatch::default() },
            &candidates,
        )
        .unwrap()
}

/// The newcomer's true skill: as good as the first on half of the prompts, as the last on the others.
fn truth(all: &SkillMatrix, row: usize) -> f64 {
    0.5 * all[(row, 0)] + 0.5 * all[(row, 4)] + 0.6 * (all[(row, 1)] + 0.5)
}

/// Scores such that each battle of the newcomer is won as often as the truth says.
fn data(artifact: &Artifact, newcomer: &str) -> Dataset {
    let names: Vec<String> = (0..KNOWN).map(|model| format!("known-{model}")).collect();
    let all = skills(artifact, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut judged = Vec::new();
    for row in 0..PROMPTS {
        for model in 0..KNOWN {
            let chance = sigmoid(all[(row, model)] - truth(&all, row));
            let share = if lot(3, row, model) < chance { 1.0 } else { 0.0 };
            let (model_a, model_b) = (model as u16, KNOWN as u16);
            let (prompt, source, margin) = (row as u32, 0, None);
            judged.push(Battle { prompt, model_a, model_b, source, share, weight: 1.0, margin });
        }
    }
    let prompt = |row: usize| Prompt {
        source: 0,
        category: None,
        language: None,
        turns: vec![format!("prompt {row}")],
    };
    Dataset {
        models: names.into_iter().chain([newcomer.to_owned()]).collect(),
        sources: vec!["mine".to_owned()],
        prompts: (0..PROMPTS).map(prompt).collect(),
        judged,
        ..Dataset::default()
    }
}

#[test]
fn a_model_is_placed_where_it_plays() {
    let before = artifact();
    let data = data(&before, "newcomer");
    let placed = place_model(before.clone(), "newcomer", &data, &embeddings(), vec![]).unwrap();
    assert_eq!((placed.prompts, placed.battles), (PROMPTS, PROMPTS * KNOWN));
    assert!(placed.loss < placed.loss_by_rating - 0.01, "{} {}", placed.loss, placed.loss_by_rating);
    let after =
        skills(&placed.artifact, &["known-0", "known-1", "known-2", "known-3", "known-4", "newcomer"]);
    let gaps: f64 = (0..PROMPTS).map(|row| (after[(row, 5)] - truth(&after, row)).powi(2)).sum();
    assert!((gaps / PROMPTS as f64).sqrt() < 0.2, "{}", (gaps / PROMPTS as f64).sqrt());
    let names = ["known-0", "known-4"];
    assert_eq!(skills(&placed.artifact, &names), skills(&before, &names), "the others stay as they were");
    let prior = placed.artifact.added()[0].prior;
    assert!((placed.elo - (1000.0 + 400.0 / std::f64::consts::LN_10 * prior)).abs() < 1e-9);
    let router = placed.artifact.router();
    let rated = router.place("newcomer", Some(9.0)).unwrap();
    assert_eq!(rated.standing, Standing::Row(KNOWN), "a row goes before a rating");
    assert_eq!(router.prior(&rated).to_bits(), prior.to_bits());
}

/// Nothing depends on how its name sorts among the others, nor on which side of a battle it stands.
#[test]
fn the_side_of_the_newcomer_means_nothing() {
    let mut data = data(&artifact(), "newcomer");
    let last = place_model(artifact(), "newcomer", &data, &embeddings(), vec![]).unwrap();
    data.models.rotate_right(1);
    for battle in &mut data.judged {
        (battle.model_a, battle.model_b) = (0, battle.model_a + 1);
        battle.share = 1.0 - battle.share;
    }
    data.models[0] = "a-newcomer".to_owned();
    let first = place_model(artifact(), "a-newcomer", &data, &embeddings(), vec![]).unwrap();
    assert_eq!(first.artifact.added()[0].mix, last.artifact.added()[0].mix);
    assert_eq!(first.loss.to_bits(), last.loss.to_bits());
}

#[test]
fn what_cannot_be_placed_is_said() {
    let data = data(&artifact(), "newcomer");
    let place = |name: &str, data: &Dataset| {
        place_model(artifact(), name, data, &embeddings(), vec![]).unwrap_err().to_string()
    };
    assert_eq!(place("known-1", &data), "the artefact knows `known-1` already");
    let stranger = place("stranger", &data);
    assert!(
        stranger.starts_with("no prompt has a score of `stranger`; there are scores of known-0, known-1, ")
    );
    let judged = data.judged.iter().copied().filter(|battle| battle.prompt < 7).collect();
    let alone = Dataset { judged, ..data.clone() };
    assert!(place("newcomer", &alone).starts_with("7 prompts have a score of `newcomer`"));
    let short = place_model(artifact(), "newcomer", &data, &Mat::zeros(1, DIM), vec![]).unwrap_err();
    assert_eq!(short.to_string(), "400 prompts, but 1 embeddings");
}

/// A model that won everything gets a rating all the same.
#[test]
fn a_model_that_never_lost_is_rated() {
    let scores = |prompt: u32| crate::data::Outcomes {
        prompt,
        scores: vec![
            Score { model: 0, score: 0.0, out_chars: None },
            Score { model: 5, score: 1.0, out_chars: None },
        ],
    };
    let outcomes = (0..50).map(scores).collect();
    let data = Dataset { judged: vec![], outcomes, ..data(&artifact(), "newcomer") };
    let placed = place_model(artifact(), "newcomer", &data, &embeddings(), vec![]).unwrap();
    assert!(placed.elo.is_finite() && placed.elo > 1000.0, "{}", placed.elo);
}
