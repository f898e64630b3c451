//! A share solved on one half of the shipped calibration sample is met on the other half, within the larger of two points
//! and 2.6 standard deviations.

#![cfg(test)]

use faer::Mat;
use pointsman_routers::calibration::{Sample, share_at, strong_share};
use pointsman_routers::select::hash::{mix, unit_interval};
use pointsman_routers::shipped;

/// Cheap to dear, in USD per request.
const POOLS: [&[(&str, f64)]; 4] = [
    &[("mixtral-8x7b-instruct-v0.1", 0.6), ("gpt-4-1106-preview", 20.0)],
    &[("llama-3.1-8b-instruct", 0.1), ("claude-3-5-sonnet-20240620", 9.0)],
    &[("llama-3.1-8b-instruct", 0.1), ("gpt-4o-mini-2024-07-18", 0.4), ("gpt-4o-2024-05-13", 10.0)],
    &[
        ("mistral-7b-instruct-v0.2", 0.2),
        ("claude-3-haiku-20240307", 0.8),
        ("qwen2.5-72b-instruct", 0.9),
        ("gpt-4-0613", 40.0),
    ],
];

/// The rows of a matrix that lie in a half of the sample.
fn half(skills: &Mat<f64>, seed: u64, which: bool) -> Mat<f64> {
    let rows: Vec<usize> =
        (0..skills.nrows()).filter(|&row| (unit_interval(mix(seed ^ row as u64)) < 0.5) == which).collect();
    Mat::from_fn(rows.len(), skills.ncols(), |row, column| skills[(rows[row], column)])
}

#[test]
fn a_share_solved_on_one_half_is_met_on_the_other() {
    let router = shipped::router("mf").unwrap();
    let (mut trials, mut missed) = (0, Vec::new());
    for pool in POOLS {
        let candidates: Vec<_> = pool
            .iter()
            .map(|(name, _)| router.place(name, None).unwrap_or_else(|| panic!("{name} is not rated")))
            .collect();
        let all = router.calibration(&candidates).unwrap().skills;
        assert!(all.nrows() >= 4096);
        for seed in 1..=5 {
            let [skills, others] = [true, false].map(|which| half(&all, mix(seed), which));
            let cost =
                |skills: &Mat<f64>| Mat::from_fn(skills.nrows(), pool.len(), |_, column| pool[column].1);
            let (costs, other_costs) = (cost(&skills), cost(&others));
            let solving = Sample { skills: &skills, costs_usd: &costs };
            let held_out = Sample { skills: &others, costs_usd: &other_costs };
            for share in [0.05, 0.2, 0.3, 0.5, 0.8, 0.95] {
                let solved = strong_share(&solving, share).unwrap();
                let met = share_at(&held_out, solved).unwrap();
                let halves = 1.0 / skills.nrows() as f64 + 1.0 / others.nrows() as f64;
                let tolerance = (2.6 * (share * (1.0 - share) * halves).sqrt()).max(0.02);
                trials += 1;
                if (met - share).abs() > tolerance {
                    missed.push((pool, seed, share, met));
                }
            }
        }
    }
    // Beyond 2.6 standard deviations lies one in a hundred.
    assert!(missed.len() * 50 <= trials, "{} of {trials}: {missed:?}", missed.len());
}
