//! The five labels, and the skill that their logits mean.

/// The label tokens, from the worst answers to the best.
pub const LABELS: [&str; 5] = ["[[1]]", "[[2]]", "[[3]]", "[[4]]", "[[5]]"];

/// The label of a score in 0..=1: max(1, ⌈5 · score⌉), so that each label stands for a fifth of the scores and the worst
/// one for a score of 0 as well. What is outside of 0..=1 gets the nearest label, NaN the worst.
#[must_use]
pub fn label_of(score: f64) -> u8 {
    // From 1 to 5 after the bounds. Not `clamp`, which keeps NaN.
    (5.0 * score).ceil().max(1.0).min(LABELS.len() as f64) as u8
}

/// The skill that the labels' logits mean, from the worst label to the best: log Σ exp over the upper two, less the same
/// over the lower three. It is the log-odds that the answer is good, and not finite only where a logit is not.
#[must_use]
pub fn skill(logits: [f32; 5]) -> f64 {
    // Less the largest: beside large logits the sums of powers would be lost.
    let largest = logits.into_iter().map(f64::from).fold(f64::NEG_INFINITY, f64::max);
    let [one, two, three, four, five] = logits.map(|logit| f64::from(logit) - largest);
    log_sum(&[four, five]) - log_sum(&[one, two, three])
}

/// log Σ exp(x), without overflow.
pub(super) fn log_sum(values: &[f64]) -> f64 {
    let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = values.iter().map(|value| (value - largest).exp()).sum();
    largest + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_label_is_a_fifth_of_the_scores() {
        let labels = [0.0, 1e-9, 0.2, 0.200_001, 0.4, 0.5, 0.6, 0.8, 0.81, 1.0].map(label_of);
        assert_eq!(labels, [1, 1, 1, 2, 2, 3, 3, 4, 5, 5]);
        assert_eq!([-1.0, 2.0, f64::NAN, f64::INFINITY].map(label_of), [1, 5, 1, 5]);
    }

    #[test]
    fn a_share_of_a_whole_number_of_fifths_gets_its_own_label() {
        // Shares come as k/n; rounding must not lift one over its bound.
        for games in 1..200_u32 {
            for wins in 0..=games {
                let expected = (5 * wins).div_ceil(games).max(1);
                assert_eq!(
                    u32::from(label_of(f64::from(wins) / f64::from(games))),
                    expected,
                    "{wins}/{games}"
                );
            }
        }
    }

    #[test]
    fn logits_of_one_value_mean_two_labels_against_three() {
        for logit in [0.0, 1e30, -1e30, 88.0] {
            assert!((skill([logit; 5]) - (2.0_f64 / 3.0).ln()).abs() < 1e-9, "{logit}");
        }
    }

    proptest! {
        #[test]
        fn skill_is_the_log_odds_of_the_upper_labels(logits in prop::array::uniform5(-20.0_f32..20.0), shift in -1e3_f32..1e3) {
            let [one, two, three, four, five] = logits.map(|logit| f64::from(logit).exp());
            let odds = (four + five) / (one + two + three);
            prop_assert!((skill(logits) - odds.ln()).abs() < 1e-9);
            // 1e-3: the sums are of 32 bits.
            prop_assert!((skill(logits.map(|logit| logit + shift)) - odds.ln()).abs() < 1e-3);
        }
    }
}
