//! The global fit on small data whose answer is known.

use crate::bradley_terry::{PairSum, sigmoid};
use crate::data::{Battle, Dataset, PairVotes};

use super::components::{components, unlinked};
use super::{elo, fit_global};

fn dataset(models: usize, votes: Vec<PairVotes>) -> Dataset {
    Dataset {
        models: (0..models).map(|model| format!("model-{model}")).collect(),
        sources: vec!["exam".to_owned()],
        votes,
        ..Dataset::default()
    }
}

fn votes(model_a: u16, model_b: u16, gap: f64) -> PairVotes {
    let wins = (1e6 * sigmoid(gap)) as u64;
    PairVotes { model_a, model_b, counts: [wins, 1_000_000 - wins, 0, 0] }
}

/// Even battles enough to show what a pair's probability is.
fn battles(model_a: u16, model_b: u16, probability: f64) -> Vec<Battle> {
    let battle = |place: u32| Battle {
        prompt: place,
        model_a,
        model_b,
        source: 0,
        share: if f64::from(place) < 1000.0 * probability { 1.0 } else { 0.0 },
        weight: 1.0,
        margin: None,
    };
    (0..1000).map(battle).collect()
}

#[test]
fn votes_define_the_scale_and_battles_link_the_rest() {
    // 0 and 1 are rated by votes, a logit apart; the exam sees a third of that, and rates 2 like 0.
    let data = dataset(4, vec![votes(0, 1, 1.0)]);
    let exam = [battles(0, 1, sigmoid(0.33)), battles(1, 2, sigmoid(-0.33))].concat();
    let fitted = fit_global(&data, &exam).unwrap();
    assert!((fitted.skills[0] - fitted.skills[1] - 1.0).abs() < 0.02, "{fitted:?}");
    assert!((fitted.scales[0] - 0.33).abs() < 0.03, "{fitted:?}");
    assert!((fitted.skills[2] - fitted.skills[0]).abs() < 0.1, "{fitted:?}");
    assert!(fitted.skills.iter().sum::<f64>().abs() < 1e-9);
    assert_eq!(fitted.unlinked, [vec![3]]);
}

#[test]
fn without_votes_scales_stay_at_one() {
    let fitted = fit_global(&dataset(2, Vec::new()), &battles(0, 1, 0.75)).unwrap();
    assert_eq!(fitted.scales, [1.0]);
    assert!((fitted.skills[0] - fitted.skills[1] - 3f64.ln()).abs() < 0.05);
    assert!(fitted.unlinked.is_empty());
}

#[test]
fn ties_of_either_kind_count_half() {
    let tied = PairVotes { model_a: 0, model_b: 1, counts: [10, 10, 500, 500] };
    let fitted = fit_global(&dataset(2, vec![tied]), &[]).unwrap();
    assert!((fitted.skills[0] - fitted.skills[1]).abs() < 1e-9);
}

#[test]
fn groups_without_an_anchor_are_listed() {
    let pair = |model_a, model_b| PairSum { model_a, model_b, won_a: 1.0, won_b: 0.0, scale: 1.0 };
    let linked = components(6, &[pair(0, 1), pair(3, 2), pair(4, 2)]);
    assert_eq!(linked, [0, 0, 1, 1, 1, 2]);
    assert_eq!(unlinked(&linked, &[false, true, false, false, false, false]), [vec![2, 3, 4], vec![5]]);
    assert_eq!(unlinked(&linked, &[false; 6]), [vec![0, 1], vec![5]]);
    assert!(components(0, &[]).is_empty() && unlinked(&[], &[]).is_empty());
}

#[test]
fn the_anchor_has_its_own_rating() {
    assert!((elo(0.7, 0.7) - 1114.0).abs() < 1e-12);
    assert!((elo(0.7 + std::f64::consts::LN_10, 0.7) - 1514.0).abs() < 1e-9);
}
