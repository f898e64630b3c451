//! From skills and prices to a choice. Pure functions of their arguments.

/// A candidate as the selection rules see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer<'a> {
    /// Canonical name; the last word on exact ties but one.
    pub name: &'a str,
    /// Skill θ(x), natural-log Bradley–Terry units.
    pub skill: f64,
    /// Expected cost of this request in USD.
    pub cost_usd: f64,
}

/// How one of the candidates is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rule {
    /// The dearest candidate that beats every cheaper one with probability of at least `alpha`; failing that,
    /// the cheapest.
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

/// P(a beats b), a tie counted half: σ(θ_a − θ_b).
#[must_use]
pub fn win_probability(skill_a: f64, skill_b: f64) -> f64 {
    1.0 / (1.0 + (skill_b - skill_a).exp())
}
