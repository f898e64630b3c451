//! From verdicts on ordered pairs to battles.
//!
//! A model that judges two answers prefers the one listed first too often; where it judged both orders, their mean
//! takes that out. Which model stood first in a row must not matter beyond that, so two verdicts on a prompt and pair
//! are taken for its two orders, as they are in every source at hand.

use super::{Battle, OrderCounts, Verdict};

/// What becomes of verdicts by a judging model. People's verdicts stay as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PresentationOrders {
    /// Each verdict is a battle.
    #[default]
    Separate,
    /// The verdicts on a prompt and a pair of models are one battle, their mean.
    United(Singles),
}

/// What becomes of a pair that was judged once, so in one presentation order only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Singles {
    /// It is a battle all the same.
    Keep,
    /// It is dropped, and counted.
    Drop,
}

/// A verdict in presentation order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Judged {
    pub prompt: u32,
    pub first: u16,
    pub second: u16,
    pub source: u16,
    pub verdict: Verdict,
    /// Whether a model judged.
    pub by_model: bool,
}

/// The battles that verdicts make, in canonical order.
pub(super) fn battles(verdicts: &[Judged], orders: PresentationOrders) -> (Vec<Battle>, OrderCounts) {
    let mut counts = OrderCounts::default();
    let mut battles = Vec::with_capacity(verdicts.len());
    let PresentationOrders::United(singles) = orders else {
        battles.extend(verdicts.iter().map(Judged::battle));
        battles.sort_unstable_by(Battle::by_content);
        return (battles, counts);
    };
    let (by_model, by_people): (Vec<Judged>, Vec<Judged>) =
        verdicts.iter().partition(|judged| judged.by_model);
    battles.extend(by_people.iter().map(Judged::battle));
    for pair in by_pair(by_model).chunk_by(|one, other| one.pair() == other.pair()) {
        let count = match (pair.len(), singles) {
            (1, Singles::Keep) => &mut counts.single_kept,
            (1, Singles::Drop) => &mut counts.single_dropped,
            _ => &mut counts.united,
        };
        *count += 1;
        if pair.len() > 1 || singles == Singles::Keep {
            battles.extend(pair.first().map(|judged| Battle { share: mean_share(pair), ..judged.battle() }));
        }
    }
    battles.sort_unstable_by(Battle::by_content);
    (battles, counts)
}

/// Verdicts with those on one prompt and pair side by side.
fn by_pair(mut verdicts: Vec<Judged>) -> Vec<Judged> {
    verdicts.sort_unstable_by_key(Judged::pair);
    verdicts
}

/// The smaller model's mean share of the win, of at least one verdict. Halves add up exactly in any order.
fn mean_share(verdicts: &[Judged]) -> f32 {
    let sum: f32 = verdicts.iter().map(|judged| judged.battle().share).sum();
    sum / verdicts.len() as f32
}

impl Judged {
    /// What verdicts to be united have in common.
    fn pair(&self) -> (u32, u16, u16) {
        (self.prompt, self.first.min(self.second), self.first.max(self.second))
    }

    /// The battle, the smaller model first.
    fn battle(&self) -> Battle {
        let share = self.verdict.share_of_a() as f32;
        let (prompt, model_a, model_b) = self.pair();
        let share = if self.first == model_a { share } else { 1.0 - share };
        Battle { prompt, model_a, model_b, source: self.source, share, weight: 1.0, margin: None }
    }
}
