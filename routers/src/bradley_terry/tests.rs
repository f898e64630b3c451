//! The fit against closed forms, and its laws.

use proptest::prelude::*;

use super::{FitError, PairSum, Prior, fit, fit_scale, log_loss, sigmoid};

fn pair(model_a: usize, model_b: usize, won_a: f64, won_b: f64) -> PairSum {
    PairSum { model_a, model_b, won_a, won_b, scale: 1.0 }
}

fn flat(models: usize, precision: f64) -> Prior {
    Prior { centre: vec![0.0; models], precision: vec![precision; models] }
}

#[test]
fn two_models_reach_the_log_odds() {
    let skills = fit(&[pair(0, 1, 75.0, 25.0)], &flat(2, 1e-9)).unwrap();
    assert!((skills[0] - skills[1] - 3f64.ln()).abs() < 1e-6, "{skills:?}");
    assert!((skills[0] + skills[1]).abs() < 1e-6, "the ridge centres: {skills:?}");
}

#[test]
fn a_ridge_pulls_towards_its_centre() {
    let prior = Prior { centre: vec![2.0, -1.0, 5.0], precision: vec![1e9, 1e9, 1.0] };
    let skills = fit(&[pair(0, 1, 50.0, 50.0)], &prior).unwrap();
    assert!(
        (skills[0] - 2.0).abs() < 1e-6 && (skills[1] + 1.0).abs() < 1e-6 && (skills[2] - 5.0).abs() < 1e-9
    );
}

#[test]
fn perfect_separation_stays_finite() {
    let skills = fit(&[pair(0, 1, 1e6, 0.0)], &flat(2, 1e-3)).unwrap();
    assert!(skills[0] > 4.0 && skills[0].is_finite());
}

#[test]
fn a_flatter_source_gets_a_smaller_scale() {
    let skills = [1.0, -0.5];
    let total = 1000.0;
    for scale in [0.1, 0.7, 3.0] {
        let won = total * sigmoid(scale * 1.5);
        let fitted = fit_scale(&[pair(0, 1, won, total - won)], &skills);
        assert!((fitted - scale).abs() < 1e-6, "{fitted} for {scale}");
    }
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    assert_eq!(fit(&[pair(0, 2, 1.0, 1.0)], &flat(2, 1.0)), Err(FitError::UnknownModel(2)));
    assert_eq!(fit(&[pair(0, 1, f64::NAN, 1.0)], &flat(2, 1.0)), Err(FitError::Singular));
    assert_eq!(fit(&[pair(0, 1, 1.0, 1.0)], &flat(2, -1.0)), Err(FitError::Singular));
}

proptest! {
    #[test]
    fn the_gradient_vanishes_at_the_fit(
        counts in prop::collection::vec((0..6usize, 1..6usize, 0.0..50.0f64, 0.0..50.0f64, 0.2..2.0f64), 0..30),
        precision in 0.01..2.0f64,
    ) {
        let pairs: Vec<PairSum> = counts.iter()
            .map(|&(a, step, won_a, won_b, scale)| PairSum { model_a: a, model_b: (a + step) % 6, won_a, won_b, scale })
            .filter(|pair| pair.model_a != pair.model_b)
            .collect();
        let skills = fit(&pairs, &flat(6, precision)).unwrap();
        for model in 0..6 {
            let pulls: f64 = pairs.iter().map(|pair| {
                let expected = sigmoid(pair.scale * (skills[pair.model_a] - skills[pair.model_b]));
                let pull = pair.scale * (pair.won_a - (pair.won_a + pair.won_b) * expected);
                if pair.model_a == model { pull } else if pair.model_b == model { -pull } else { 0.0 }
            }).sum();
            prop_assert!((pulls - precision * skills[model]).abs() < 1e-5, "model {}: {}", model, pulls);
        }
    }

    #[test]
    fn log_loss_is_finite_and_consistent(x in -1e6..1e6f64) {
        prop_assert!(log_loss(x).is_finite() && log_loss(x) >= 0.0);
        if x.abs() < 30.0 {
            prop_assert!((log_loss(x) + sigmoid(x).ln()).abs() < 1e-9);
        }
    }
}
