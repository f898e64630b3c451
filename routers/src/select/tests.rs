//! The rules of choice: examples worked by hand, and laws over random pools.

use proptest::prelude::*;

use super::cost::{Price, estimate_tokens};
use super::hash::{text_hash, unit_interval};
use super::{Offer, Rule, rank, win_probability};

fn offer<'a>(name: &'a str, skill: f64, cost_usd: f64) -> Offer<'a> {
    Offer { name, pool_name: name, skill, cost_usd }
}

fn threshold(alpha: f64) -> Rule {
    Rule::Threshold { alpha, split: 1.0 }
}

fn names<'a>(rule: &Rule, offers: &[Offer<'a>]) -> Vec<&'a str> {
    rank(rule, offers, 7).into_iter().map(|index| offers[index].name).collect()
}

#[test]
fn two_models_follow_the_strong_if_win_rate_reaches_alpha_rule() {
    for gap in [-3.0, -0.4, 0.0, 0.4, 3.0] {
        let offers = [offer("weak", 0.0, 1.0), offer("strong", gap, 5.0)];
        let rate = win_probability(gap, 0.0);
        for alpha in [0.0, 0.1, 0.4, 0.5, 0.6, 0.9, 1.0, rate] {
            let expected = if rate >= alpha { "strong" } else { "weak" };
            assert_eq!(names(&threshold(alpha), &offers)[0], expected, "gap {gap}, alpha {alpha}");
        }
    }
}

#[test]
fn each_step_up_in_price_must_be_earned_against_every_cheaper_model() {
    // The dearest beats the middle one but not the cheapest; the middle beats the cheapest.
    let offers = [offer("cheap", 0.0, 1.0), offer("middle", 0.5, 2.0), offer("dear", 0.6, 9.0)];
    assert_eq!(names(&threshold(0.6), &offers), ["middle", "dear", "cheap"]);
    assert_eq!(names(&threshold(0.5), &offers), ["dear", "middle", "cheap"]);
    assert_eq!(names(&threshold(0.7), &offers), ["cheap", "middle", "dear"]);
}

#[test]
fn of_equally_dear_models_only_the_strongest_competes() {
    let offers = [offer("cheap", 0.0, 1.0), offer("dear-weak", 0.9, 5.0), offer("dear-strong", 1.0, 5.0)];
    assert_eq!(names(&threshold(0.7), &offers), ["dear-strong", "dear-weak", "cheap"]);
    let free = [offer("b", 0.0, 0.0), offer("a", 0.0, -0.0)];
    assert_eq!(names(&threshold(0.5), &free), ["a", "b"]);
}

#[test]
fn utility_trades_win_probability_against_cost() {
    let offers = [offer("cheap", -1.0, 0.001), offer("dear", 1.0, 0.010)];
    let utility = |lambda| Rule::Utility { lambda, reference_skill: 0.0 };
    assert_eq!(names(&utility(0.0), &offers), ["dear", "cheap"]);
    // The gain is σ(1) − σ(−1) = 0.462 for 0.009 USD: worth it up to λ = 51.3.
    assert_eq!(names(&utility(51.0), &offers), ["dear", "cheap"]);
    assert_eq!(names(&utility(52.0), &offers), ["cheap", "dear"]);
}

#[test]
fn atoms_are_split_by_the_text() {
    let offers = [offer("weak", 0.0, 1.0), offer("strong", 0.0, 5.0)];
    let rule = Rule::Threshold { alpha: 0.5, split: 0.3 };
    let strong = (0..4000).filter(|i| rank(&rule, &offers, text_hash(&i.to_string()))[0] == 1).count();
    assert!((strong as f64 / 4000.0 - 0.3).abs() < 0.03, "{strong} of 4000");
}

#[test]
fn twins_take_turns_by_the_text() {
    let twin = |pool_name| Offer { name: "twin", pool_name, skill: 0.0, cost_usd: 1.0 };
    let offers = [twin("east"), twin("west")];
    let east =
        (0..4000).filter(|i| rank(&threshold(0.5), &offers, text_hash(&i.to_string()))[0] == 0).count();
    assert!((1800..2200).contains(&east), "{east} of 4000");
}

#[test]
fn cost_is_tokens_times_prices() {
    let price = Price { input_usd_per_million: 2.5, output_usd_per_million: 10.0 };
    assert!((price.expected_cost_usd(1000.0, 200.0) - 0.0045).abs() < 1e-15);
    assert_eq!(estimate_tokens(""), 0);
    assert_eq!(estimate_tokens("eight by"), 2);
    assert_eq!(estimate_tokens("日本語"), 3);
}

/// Skills and costs with many exact ties, and the extremes.
fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-4i32..4).prop_map(f64::from),
        2 => -5.0..5.0f64,
        1 => prop::sample::select(vec![f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0, 1e300, -1e300]),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    prop_oneof![
        (prop_oneof![0.0..=1.0f64, Just(0.5), Just(0.0), Just(1.0)], 0.0..=1.0f64)
            .prop_map(|(alpha, split)| Rule::Threshold { alpha, split }),
        (number(), number()).prop_map(|(lambda, reference_skill)| Rule::Utility { lambda, reference_skill }),
    ]
}

/// A pool and a reordering of it; some models share a canonical name.
fn pools() -> impl Strategy<Value = (Vec<(usize, f64, f64)>, Vec<usize>)> {
    prop::collection::vec((0..6usize, number(), number()), 0..9).prop_flat_map(|pool| {
        let order: Vec<usize> = (0..pool.len()).collect();
        (Just(pool), Just(order).prop_shuffle())
    })
}

proptest! {
    #[test]
    fn probabilities_of_a_pair_sum_to_one(a in number(), b in number()) {
        let (one, other) = (win_probability(a, b), win_probability(b, a));
        prop_assert!(one.is_finite() && other.is_finite());
        prop_assert!((one + other - 1.0).abs() <= 1e-12);
    }

    #[test]
    fn reordering_changes_nothing((pool, order) in pools(), rule in rule(), query in any::<u64>()) {
        let pool_names: Vec<String> = (0..pool.len()).map(|i| format!("deployment-{i}")).collect();
        let model_names: Vec<String> = pool.iter().map(|(name, ..)| format!("model-{name}")).collect();
        let offers: Vec<Offer<'_>> = (0..pool.len())
            .map(|i| Offer { name: &model_names[i], pool_name: &pool_names[i], skill: pool[i].1, cost_usd: pool[i].2 })
            .collect();
        let shuffled: Vec<Offer<'_>> = order.iter().map(|&i| offers[i].clone()).collect();
        let ranking = rank(&rule, &offers, query);
        let of_shuffled: Vec<usize> = rank(&rule, &shuffled, query).into_iter().map(|i| order[i]).collect();
        prop_assert_eq!(&ranking, &of_shuffled);
        // The ranking is a permutation, and each fallback is the choice among what remains.
        let mut sorted = ranking.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..pool.len()).collect::<Vec<_>>());
        if let Some((_, rest)) = ranking.split_first() {
            let remaining: Vec<Offer<'_>> = rest.iter().map(|&i| offers[i].clone()).collect();
            prop_assert_eq!(rank(&rule, &remaining, query), (0..rest.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn renaming_distinct_models_changes_nothing((pool, _) in pools(), rule in rule(), query in any::<u64>()) {
        // Distinct skills: no exact tie, so that names have no say.
        let offers = |names: &'static [&'static str]| -> Vec<Offer<'static>> {
            pool.iter().enumerate()
                .map(|(i, &(_, _, cost_usd))| Offer {
                    name: names[i], pool_name: names[i], skill: i as f64 * 0.31 - 1.0, cost_usd,
                })
                .collect()
        };
        // Under a utility costs so large that they swallow the skill may tie.
        if matches!(rule, Rule::Utility { .. }) && pool.iter().any(|(_, _, cost)| cost.abs() > 1e6) {
            return Ok(());
        }
        if let Rule::Utility { lambda, reference_skill } = rule
            && (lambda.abs() > 1e6 || reference_skill.abs() > 10.0) {
            return Ok(());
        }
        let one = rank(&rule, &offers(&["a", "b", "c", "d", "e", "f", "g", "h"]), query);
        let other = rank(&rule, &offers(&["z", "y", "x", "w", "v", "u", "t", "s"]), query);
        prop_assert_eq!(one, other);
    }

    #[test]
    fn the_split_of_an_atom_is_a_share(query in any::<u64>()) {
        let unit = unit_interval(query);
        prop_assert!((0.0..1.0).contains(&unit));
    }
}
