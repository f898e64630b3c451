//! From skills and prices to a choice. Pure functions of their arguments.
//!
//! Nothing here may depend on the order in which offers are listed, nor know which router made the skills.

pub mod cost;
pub mod hash;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use self::hash::{mix, text_hash, unit_interval};

/// A candidate as the selection rules see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer<'a> {
    /// Canonical name; the last word on exact ties but one.
    pub name: &'a str,
    /// The pool's own name for it, unique in the pool: offers alike in everything else, such as two
    /// deployments of one model at one price, take turns by a hash of the query and this.
    pub pool_name: &'a str,
    /// Skill θ(x), natural-log Bradley–Terry units.
    pub skill: f64,
    /// Expected cost of this request in USD.
    pub cost_usd: f64,
}

/// How one of the candidates is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// The dearest candidate that beats every strictly cheaper one with probability of at least `alpha`;
    /// failing that, the cheapest. Of equally dear candidates only the one with the highest skill competes.
    Threshold {
        /// The probability to be reached, 0..=1.
        alpha: f64,
        /// The share of texts at *exactly* `alpha` that count as reaching it, by a hash of the text: a solved
        /// threshold may fall on an atom of the sample. 1 for a threshold that a person wrote.
        split: f64,
    },
    /// argmax P(m beats the reference) − λ · cost in USD.
    Utility {
        /// λ, win probability per USD.
        lambda: f64,
        /// The reference model's skill for this query.
        reference_skill: f64,
    },
}

/// P(a beats b), a tie counted half: σ(θ_a − θ_b) (Bradley and Terry 1952).
///
/// Finite for any finite skills; P(a beats b) + P(b beats a) = 1 to within rounding.
#[must_use]
pub fn win_probability(skill_a: f64, skill_b: f64) -> f64 {
    1.0 / (1.0 + (skill_b - skill_a).exp())
}

/// P(the dearest beats the strongest of those that are cheaper), of skills with costs: the number that [`Rule::Threshold`] compares first. Of
/// equally dear candidates the one with the highest skill counts; none where nobody is cheaper.
#[must_use]
pub fn win_rate_of_dearest(skills_and_costs: impl Iterator<Item = (f64, f64)> + Clone) -> Option<f64> {
    let highest = |most: Option<f64>, value: f64| most.map_or(Some(value), |most| Some(most.max(value)));
    let dearest = skills_and_costs.clone().map(|(_, cost)| cost).fold(None, highest)?;
    let of = |is_dearest: bool| {
        let some =
            skills_and_costs.clone().filter(move |(_, cost)| ascending(*cost, dearest).is_lt() != is_dearest);
        some.map(|(skill, _)| skill).fold(None, highest)
    };
    Some(win_probability(of(true)?, of(false)?))
}

/// Orders the offers: the first index is the choice, the rest are the fallbacks, each being the rule's choice
/// among what remains. Empty for no offers.
///
/// `query_hash` is [`hash::text_hash`] of the routing text; it decides atoms and exact ties alone.
#[must_use]
pub fn rank(rule: &Rule, offers: &[Offer<'_>], query_hash: u64) -> Vec<usize> {
    match *rule {
        Rule::Threshold { alpha, split } => rank_by_threshold(
            Threshold { alpha, atom_counts: atom_counts(split, query_hash) },
            offers,
            query_hash,
        ),
        Rule::Utility { lambda, reference_skill } => {
            let utility =
                |offer: &Offer<'_>| win_probability(offer.skill, reference_skill) - lambda * offer.cost_usd;
            let mut order: Vec<usize> = (0..offers.len()).collect();
            order.sort_by(|&a, &b| {
                let (a, b) = (&offers[a], &offers[b]);
                descending(utility(a), utility(b)).then_with(|| break_tie(a, b, query_hash))
            });
            order
        }
    }
}

/// A threshold with the query's side of the atom decided.
#[derive(Clone, Copy)]
struct Threshold {
    alpha: f64,
    atom_counts: bool,
}

impl Threshold {
    fn is_reached(self, probability: f64) -> bool {
        match probability.total_cmp(&self.alpha) {
            Ordering::Greater => true,
            Ordering::Equal => self.atom_counts,
            Ordering::Less => false,
        }
    }
}

/// Whether a query whose probability is exactly the threshold counts as reaching it.
fn atom_counts(split: f64, query_hash: u64) -> bool {
    unit_interval(mix(query_hash ^ 0x5350_4c49_5420_4154)) < split
}

fn rank_by_threshold(threshold: Threshold, offers: &[Offer<'_>], query_hash: u64) -> Vec<usize> {
    let mut remaining: Vec<usize> = (0..offers.len()).collect();
    // Cheapest first; of equally dear offers the one that competes comes first.
    remaining.sort_by(|&a, &b| {
        let (a, b) = (&offers[a], &offers[b]);
        ascending(a.cost_usd, b.cost_usd)
            .then_with(|| descending(a.skill, b.skill))
            .then_with(|| break_tie(a, b, query_hash))
    });
    let mut ranking = Vec::with_capacity(remaining.len());
    while !remaining.is_empty() {
        let chosen = remaining.remove(position_of_choice(threshold, offers, &remaining));
        ranking.push(chosen);
    }
    ranking
}

/// The rule's choice among offers sorted by cost, equally dear ones by skill: a position in `sorted`, which is
/// not empty.
fn position_of_choice(threshold: Threshold, offers: &[Offer<'_>], sorted: &[usize]) -> usize {
    let mut choice = 0;
    let mut best_cheaper_skill = f64::NEG_INFINITY;
    let mut cost_before: Option<f64> = None;
    for (position, &index) in sorted.iter().enumerate() {
        let offer = &offers[index];
        let competes = cost_before.is_none_or(|before| ascending(before, offer.cost_usd).is_lt());
        if !competes {
            continue;
        }
        // To beat every cheaper offer is to beat the strongest of them; the cheapest has none to beat.
        let is_cheapest = cost_before.is_none();
        if is_cheapest || threshold.is_reached(win_probability(offer.skill, best_cheaper_skill)) {
            choice = position;
        }
        best_cheaper_skill = best_cheaper_skill.max(offer.skill);
        cost_before = Some(offer.cost_usd);
    }
    choice
}

/// The order of offers alike in cost and skill: by canonical name, then by a hash of the query.
fn break_tie(a: &Offer<'_>, b: &Offer<'_>, query_hash: u64) -> Ordering {
    let turn = |offer: &Offer<'_>| mix(query_hash ^ text_hash(offer.pool_name));
    a.name.cmp(b.name).then_with(|| turn(a).cmp(&turn(b))).then_with(|| a.pool_name.cmp(b.pool_name))
}

/// A total order in which the two zeros are equal.
fn ascending(a: f64, b: f64) -> Ordering {
    (a + 0.0).total_cmp(&(b + 0.0))
}

fn descending(a: f64, b: f64) -> Ordering {
    ascending(b, a)
}
