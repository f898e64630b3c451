//! Intervals and ledgers on numbers whose answer is known.

use super::Ledger;
use super::intervals::bootstrap;

#[test]
fn an_interval_covers_the_mean_and_narrows_with_prompts() {
    let prompts = |count: usize| -> Vec<(f64, f64)> {
        (0..count).map(|place| (1.0, if place % 2 == 0 { 1.0 } else { 0.0 })).collect()
    };
    let (wide, narrow) = (bootstrap(&prompts(40)), bootstrap(&prompts(4000)));
    assert!((wide.mean - 0.5).abs() < 1e-12 && wide.low < 0.5 && wide.high > 0.5);
    // Two standard errors to either side: ±0.155 and ±0.0155.
    assert!((wide.high - wide.low - 0.31).abs() < 0.05, "{wide:?}");
    assert!((narrow.high - narrow.low - 0.031).abs() < 0.005, "{narrow:?}");
}

#[test]
fn a_ledger_weighs_prompts_and_keeps_seeds_apart() {
    let mut ledger = Ledger::default();
    ledger.add(0, 1.0, 1.0, 0.0);
    ledger.add(1, 3.0, 0.0, 1.0);
    ledger.end_seed();
    ledger.end_seed();
    ledger.add(0, 1.0, 0.5, 0.0);
    ledger.end_seed();
    assert_eq!(ledger.by_seed, [-0.5, 0.5]);
    assert!((ledger.means().0 - 0.3).abs() < 1e-12 && (ledger.means().1 - 0.6).abs() < 1e-12);
    assert_eq!(ledger.prompts.len(), 2);
}
