//! What is solved here happens in the rule.

use faer::Mat;
use proptest::prelude::*;

use super::*;
use crate::select::{Offer, Rule, hash::text_hash, rank};

/// The share that the rule itself sends to candidate `dearest` over texts that fall on every row alike.
fn measured(skills: &Mat<f64>, costs: &Mat<f64>, solved: Solved, dearest: usize) -> f64 {
    let names = ["a", "b", "c", "d"];
    let mut hits = 0_u32;
    let texts = 40;
    for row in 0..skills.nrows() {
        for text in 0..texts {
            let offers: Vec<Offer<'_>> = (0..skills.ncols())
                .map(|column| Offer {
                    name: names[column],
                    pool_name: names[column],
                    skill: skills[(row, column)],
                    cost_usd: costs[(row, column)],
                })
                .collect();
            let rule = Rule::Threshold { alpha: solved.alpha, split: solved.split };
            let hash = text_hash(&format!("{row}/{text}"));
            hits += u32::from(rank(&rule, &offers, hash)[0] == dearest);
        }
    }
    f64::from(hits) / (skills.nrows() * texts) as f64
}

#[test]
fn an_atom_is_split() {
    // Every prompt is alike: only a split can give a share between none and all.
    let skills = Mat::from_fn(100, 2, |_, column| if column == 0 { 0.0 } else { 0.7 });
    let costs = Mat::from_fn(100, 2, |_, column| if column == 0 { 1.0 } else { 2.0 });
    let solved = strong_share(&Sample { skills: &skills, costs_usd: &costs }, 0.3).unwrap();
    assert!((solved.split - 0.3).abs() < 1e-12, "{solved:?}");
    assert!((measured(&skills, &costs, solved, 1) - 0.3).abs() < 0.03);
}

#[test]
fn the_outlook_counts_every_candidate() {
    // Three prompts in four earn b, and one of these is at exactly the threshold for c: that is split.
    let gap = [[0.0, 1.5, 0.5], [0.0, 1.5, 0.5], [0.0, 1.5, 2.5], [0.0, -1.0, -2.0]];
    let skills = Mat::from_fn(8, 3, |row, column| gap[row % 4][column]);
    let costs = Mat::from_fn(8, 3, |_, column| [0.001, 0.002, 0.01][column]);
    let sample = Sample { skills: &skills, costs_usd: &costs };
    let reach = crate::select::win_probability(2.5, 1.5);
    let found = outlook(&sample, Solved { alpha: reach, split: 0.5 }).unwrap();
    assert_eq!(found.share_by_candidate, [0.25, 0.625, 0.125]);
    assert!((found.strong_share - 0.125).abs() < 1e-12 && (found.share_at_threshold - 0.25).abs() < 1e-12);
    assert!((found.cost_usd_per_1k - (0.25 + 1.25 + 1.25)).abs() < 1e-9, "{found:?}");
}

#[test]
fn equally_dear_candidates_share_the_share() {
    // Twins of one row, and two models that differ, at one price: whichever competes on a prompt counts.
    for gap in [0.0, 0.3] {
        let strength = |row: usize| row as f64 / 200.0;
        let of = |row: usize, column: usize| match column {
            0 => 0.0,
            1 => strength(row),
            _ => strength(row) + if row.is_multiple_of(2) { gap } else { -gap },
        };
        let skills = Mat::from_fn(400, 3, of);
        let costs = Mat::from_fn(400, 3, |_, column| if column == 0 { 1.0 } else { 2.0 });
        let sample = Sample { skills: &skills, costs_usd: &costs };
        for share in [0.1, 0.3, 0.9] {
            let solved = strong_share(&sample, share).unwrap();
            assert!((share_at(&sample, solved).unwrap() - share).abs() < 1e-9, "{gap} {share}: {solved:?}");
            let met = measured(&skills, &costs, solved, 1) + measured(&skills, &costs, solved, 2);
            assert!((met - share).abs() < 0.02, "{gap} {share}: {met}");
        }
    }
}

#[test]
fn a_budget_below_the_cheapest_is_refused() {
    let skills = Mat::from_fn(4, 2, |_, _| 0.0);
    let costs = Mat::from_fn(4, 2, |_, column| if column == 0 { 0.001 } else { 0.01 });
    let sample = Sample { skills: &skills, costs_usd: &costs };
    assert_eq!(budget_usd_per_1k(&sample, 0.5), Err(CalibrationError::Budget { cheapest_usd_per_1k: 1.0 }));
    let solved = budget_usd_per_1k(&sample, 5.5).unwrap();
    assert!((solved.split - 0.5).abs() < 1e-9, "{solved:?}");
    let empty = Mat::zeros(0, 2);
    assert_eq!(
        strong_share(&Sample { skills: &empty, costs_usd: &empty }, 0.5),
        Err(CalibrationError::Empty)
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// What is solved here happens in the rule, for any pool.
    #[test]
    fn the_share_is_met(
        cells in prop::collection::vec(-3.0_f64..3.0, 4 * 60), candidates in 2_usize..5, share in 0.05_f64..0.95,
    ) {
        let rows = 60;
        let skills = Mat::from_fn(rows, candidates, |row, column| cells[row * 4 + column]);
        let costs = Mat::from_fn(rows, candidates, |_, column| 1.0 + column as f64);
        let sample = Sample { skills: &skills, costs_usd: &costs };
        let solved = strong_share(&sample, share).unwrap();
        let got = share_at(&sample, solved).unwrap();
        prop_assert!((got - share).abs() < 1e-9, "share_at says {} for {}", got, share);
        let happened = measured(&skills, &costs, solved, candidates - 1);
        prop_assert!((happened - share).abs() < 0.02, "the rule gives {} for {}", happened, share);
    }
}
