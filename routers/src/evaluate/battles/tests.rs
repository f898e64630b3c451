//! Measures of battles: by hand, of battles drawn at true probabilities, and from both sides.

use super::calibration::BINS;
use super::*;
use crate::bradley_terry::sigmoid;
use crate::select::hash::{mix, unit_interval};

fn battle(prompt: u32, share: f64, router: f64, global: f64) -> PredictedBattle {
    PredictedBattle { prompt, share, weight: 1.0, router, global }
}

#[test]
fn a_small_case_by_hand() {
    let odds = 3f64.ln();
    // The router is right for three to one, wrong once; a tie; even odds of the ratings count half.
    let battles = [
        battle(0, 1.0, odds, 0.0),
        battle(0, 0.5, odds, 0.0),
        battle(1, 0.0, odds, -odds),
        battle(2, 0.0, -odds, 0.0),
    ];
    let found = measure_battles(&battles).unwrap();
    assert_eq!((found.prompts, found.battles, found.decisive), (3, 4, 3));
    let (right, wrong) = (-(0.75f64.ln()), -(0.25f64.ln()));
    let expected = (2.0 * right + wrong + f64::midpoint(right, wrong)) / 4.0;
    assert!((found.router.log_loss - expected).abs() < 1e-12);
    assert!((found.router.accuracy.unwrap() - 2.0 / 3.0).abs() < 1e-12);
    assert!((found.global.accuracy.unwrap() - 2.0 / 3.0).abs() < 1e-12);
    assert!((found.log_loss_difference.mean - (found.router.log_loss - found.global.log_loss)).abs() < 1e-12);
    // Two predictions, each seen from both sides: ¼ and ¾.
    let curve: Vec<(f64, f64, f64)> =
        found.router.calibration.iter().map(|bin| (bin.predicted, bin.observed.mean, bin.weight)).collect();
    for (found, expected) in curve.iter().zip([(0.25, 0.375, 2.0), (0.75, 0.625, 2.0)]) {
        assert!((found.0 - expected.0).abs() < 1e-12 && (found.1 - expected.1).abs() < 1e-12, "{curve:?}");
        assert!((found.2 - expected.2).abs() < 1e-12, "{curve:?}");
    }
    assert!((found.router.calibration_error - 0.125).abs() < 1e-12);
    assert_eq!(measure_battles(&[]), None);
}

/// Battles that are won as often as `true_scale` times the router's log-odds say.
fn drawn(count: u32, true_scale: f64) -> Vec<PredictedBattle> {
    let lot = |number: u32, what: u64| unit_interval(mix(mix(u64::from(number)) ^ what));
    let one = |number: u32| {
        let logit = 6.0 * lot(number, 1) - 3.0;
        let share = if lot(number, 2) < sigmoid(true_scale * logit) { 1.0 } else { 0.0 };
        battle(number / 2, share, logit, 0.0)
    };
    (0..count).map(one).collect()
}

#[test]
fn true_probabilities_lie_on_the_diagonal() {
    let found = measure_battles(&drawn(20_000, 1.0)).unwrap();
    assert_eq!(found.router.calibration.len(), BINS);
    let outside = found
        .router
        .calibration
        .iter()
        .filter(|bin| !(bin.observed.low..=bin.observed.high).contains(&bin.predicted));
    assert!(outside.count() <= 4, "{:?}", found.router.calibration);
    let weights: f64 = found.router.calibration.iter().map(|bin| bin.weight).sum();
    assert!((weights - 20_000.0).abs() < 1e-6);
    assert!(found.log_loss_difference.high < 0.0 && found.accuracy_difference.unwrap().low > 0.0);
    assert!((found.global.log_loss - std::f64::consts::LN_2).abs() < 1e-12);
    assert_eq!(found.global.calibration.len(), 1, "equal predictions make one bin");
}

#[test]
fn exchanged_sides_change_nothing() {
    let one = drawn(500, 0.7);
    let exchange = |battle: &PredictedBattle| PredictedBattle {
        share: 1.0 - battle.share,
        router: -battle.router,
        global: -battle.global,
        ..*battle
    };
    let (one, other) = (
        measure_battles(&one).unwrap(),
        measure_battles(&one.iter().map(exchange).collect::<Vec<_>>()).unwrap(),
    );
    assert!((one.router.log_loss - other.router.log_loss).abs() < 1e-12);
    assert_eq!(one.router.accuracy, other.router.accuracy);
    assert!((one.router.calibration_error - other.router.calibration_error).abs() < 1e-9);
}
