use proptest::prelude::*;

use super::*;

/// W x + b in double precision, token by token.
fn exactly(weight: &[f32], bias: &[f32], states: &[f32], inputs: usize) -> Vec<f64> {
    let output = |state: &[f32], row: &[f32], bias: f32| {
        let products = state.iter().zip(row).map(|(state, weight)| f64::from(*state) * f64::from(*weight));
        products.sum::<f64>() + f64::from(bias)
    };
    let of_state = |state: &[f32]| -> Vec<f64> {
        weight.chunks(inputs).zip(bias).map(|(row, bias)| output(state, row, *bias)).collect()
    };
    states.chunks(inputs).flat_map(of_state).collect()
}

fn product(dense: &Dense, states: &[f32], inputs: usize) -> Vec<f32> {
    let mut rounded = Rounded::default();
    dense.round(states, &mut rounded);
    let mut into = vec![f32::NAN; states.len() / inputs * dense.outputs()];
    dense.multiply(&rounded, &mut into);
    into
}

fn values(seed: u32, count: usize, largest: f32) -> Vec<f32> {
    let value = |place: usize| (place as u32 * 2 + 1).wrapping_mul(seed | 1).wrapping_mul(2_654_435_761) >> 8;
    (0..count).map(|place| (value(place) as f32 / (1 << 23) as f32 - 1.0) * largest).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Any shape: whole tiles and cut ones, odd numbers of inputs.
    #[test]
    fn outputs_are_the_products(
        inputs in 1usize..70, outputs in 1usize..40, tokens in 0usize..11, seed in any::<u32>(), largest in 1e-3f32..1e3,
    ) {
        let (weight, bias) = (values(seed, inputs * outputs, 0.5), values(seed ^ 7, outputs, 2.0));
        let states = values(seed ^ 77, inputs * tokens, largest);
        let dense = Dense::new(&weight, &bias, inputs);
        // Each product off by half a step of its weight and half a step of its state.
        let step = 0.5 / f64::from(weight_steps(&weight, inputs)) + 1.0 / f64::from(dense.state_steps);
        let tolerance = f64::from(largest) * inputs as f64 * step * 0.5 + 1e-6 * (2.0 + f64::from(largest));
        let found = product(&dense, &states, inputs);
        for (found, expected) in found.iter().zip(exactly(&weight, &bias, &states, inputs)) {
            prop_assert!((f64::from(*found) - expected).abs() < tolerance, "{found} for {expected}");
        }
        // The same bits by any arithmetic, and alone.
        let mut rounded = Rounded::default();
        dense.round(&states, &mut rounded);
        let mut portable = vec![f32::NAN; found.len()];
        dense.multiply_by(tile::Portable, &rounded, &mut portable);
        prop_assert_eq!(&portable, &found);
        for (state, together) in states.chunks(inputs).zip(found.chunks(outputs)) {
            prop_assert_eq!(&product(&dense, state, inputs)[..], together);
        }
    }
}

/// All weights and all states at their largest.
#[test]
fn no_sum_overflows() {
    for inputs in [1, 2, 384, 1_536, 4_096] {
        for sign in [1.0, -1.0] {
            let dense = Dense::new(&vec![sign; inputs], &[0.0], inputs);
            let found = product(&dense, &vec![3.0; inputs], inputs);
            assert!(
                (found[0] - 3.0 * sign * inputs as f32).abs() < 1e-3 * inputs as f32,
                "{inputs}: {found:?}"
            );
        }
    }
}

#[test]
fn nothing_gives_the_bias() {
    let dense = Dense::new(&[0.0; 6], &[1.0, -2.0], 3);
    assert_eq!(product(&dense, &[0.0; 6], 3), [1.0, -2.0, 1.0, -2.0]);
    assert_eq!(product(&dense, &[], 3), [0.0; 0]);
}
