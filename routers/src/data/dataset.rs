//! What training and evaluation read: every prompt, score and battle, numbered and in canonical order.

use crate::split::{PromptHash, prompt_hash};
use std::cmp::Ordering;

/// Data gathered from any number of files.
///
/// The order of everything depends on the rows' content alone: models and sources by name, prompts by source and
/// turns, battles by prompt and models with the smaller name first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    /// Canonical names, ascending; the other tables number models by their place here.
    pub models: Vec<String>,
    /// Sources, ascending.
    pub sources: Vec<String>,
    /// The prompts, each once per source.
    pub prompts: Vec<Prompt>,
    /// Scores on prompts, ascending by prompt, each prompt at most once.
    pub outcomes: Vec<Outcomes>,
    /// Battles that were judged as such, ascending. Those that follow from `outcomes` are not among them:
    /// [`Dataset::battles`] gives all.
    pub judged: Vec<Battle>,
    /// Counted votes without prompts, ascending by models, each pair at most once.
    pub votes: Vec<PairVotes>,
    /// What became of the judged battles' presentation orders.
    pub orders: OrderCounts,
}

/// A prompt of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// Place in [`Dataset::sources`].
    pub source: u16,
    /// The task or subject; if rows of the same prompt differ, the smallest.
    pub category: Option<String>,
    /// The language; if rows of the same prompt differ, the smallest.
    pub language: Option<String>,
    /// The user's turns, at least one.
    pub turns: Vec<String>,
}

/// The scores that models reached on one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcomes {
    /// Place in [`Dataset::prompts`].
    pub prompt: u32,
    /// Ascending by model, each model once, at least one.
    pub scores: Vec<Score>,
}

/// A model's score on a prompt, the mean of its runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Place in [`Dataset::models`].
    pub model: u16,
    /// 0..=1.
    pub score: f64,
    /// Length of the answer in characters, the mean of the runs that tell it.
    pub out_chars: Option<f64>,
}

/// A comparison of two models on a prompt; `model_a < model_b`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Battle {
    /// Place in [`Dataset::prompts`].
    pub prompt: u32,
    /// Place in [`Dataset::models`], the smaller.
    pub model_a: u16,
    /// Place in [`Dataset::models`], the larger.
    pub model_b: u16,
    /// Place in [`Dataset::sources`].
    pub source: u16,
    /// The first model's share of the win, 0..=1: ½ for a tie; ¼ and ¾ where two presentation orders disagree.
    pub share: f32,
    /// ω: 1 for a judged battle, 2/k for each battle that follows from a prompt with k scored models.
    pub weight: f32,
    /// The first model's score less the second's; `None` for judged battles.
    pub margin: Option<f32>,
}

/// Votes on a pair of models, `model_a < model_b`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PairVotes {
    /// Place in [`Dataset::models`], the smaller.
    pub model_a: u16,
    /// Place in [`Dataset::models`], the larger.
    pub model_b: u16,
    /// Wins of the first, wins of the second, ties, ties of two bad answers.
    pub counts: [u64; 4],
}

/// Pairs of models on a prompt that a model judged, when presentation orders are united.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OrderCounts {
    /// Pairs judged in both orders (or more often), and united into one battle.
    pub united: u64,
    /// Pairs judged once, and kept.
    pub single_kept: u64,
    /// Pairs judged once, and dropped.
    pub single_dropped: u64,
}

impl Prompt {
    /// The hash by which the prompt is split and listed: that of its first turn.
    #[must_use]
    pub fn hash(&self) -> PromptHash {
        prompt_hash(self.turns.first().map_or("", String::as_str))
    }
}

impl Dataset {
    /// The place of a model, by its canonical name.
    #[must_use]
    pub fn model(&self, canonical: &str) -> Option<usize> {
        self.models.binary_search_by(|name| name.as_str().cmp(canonical)).ok()
    }

    /// All battles on the prompts that `keep` says yes to: the judged ones, and those that follow from outcomes.
    ///
    /// A prompt with k scored models makes k(k−1)/2 battles of weight 2/k each, k−1 together; equal scores tie.
    #[must_use]
    pub fn battles(&self, keep: impl Fn(&Prompt) -> bool) -> Vec<Battle> {
        let kept: Vec<bool> = self.prompts.iter().map(keep).collect();
        let is_kept = |prompt: u32| kept.get(prompt as usize).copied().unwrap_or_default();
        let scored = self.outcomes.iter().filter(|outcomes| is_kept(outcomes.prompt));
        let judged = self.judged.iter().filter(|battle| is_kept(battle.prompt));
        let capacity = scored.clone().map(Outcomes::pairs).sum::<usize>() + judged.clone().count();
        let mut battles = Vec::with_capacity(capacity);
        for outcomes in scored {
            let source = self.prompts.get(outcomes.prompt as usize).map_or(0, |prompt| prompt.source);
            outcomes.push_battles(source, &mut battles);
        }
        battles.extend(judged);
        battles.sort_unstable_by(Battle::by_content);
        battles
    }
}

impl Outcomes {
    /// The number of battles that follow: k(k−1)/2.
    #[must_use]
    pub fn pairs(&self) -> usize {
        self.scores.len() * self.scores.len().saturating_sub(1) / 2
    }

    /// The score of a model, by its place in the data; `None` when it has none here.
    #[must_use]
    pub fn score_of(&self, model: usize) -> Option<&Score> {
        let place = self.scores.binary_search_by_key(&model, |score| usize::from(score.model)).ok()?;
        self.scores.get(place)
    }

    /// The battles that follow, of a prompt of this source.
    #[must_use]
    pub fn battles(&self, source: u16) -> Vec<Battle> {
        let mut battles = Vec::with_capacity(self.pairs());
        self.push_battles(source, &mut battles);
        battles
    }

    /// Appends the battles that follow.
    fn push_battles(&self, source: u16, battles: &mut Vec<Battle>) {
        let weight = 2.0 / self.scores.len() as f32;
        for (place, first) in self.scores.iter().enumerate() {
            for second in self.scores.iter().skip(place + 1) {
                let share = match first.score.total_cmp(&second.score) {
                    Ordering::Greater => 1.0,
                    Ordering::Equal => 0.5,
                    Ordering::Less => 0.0,
                };
                battles.push(Battle {
                    prompt: self.prompt,
                    model_a: first.model,
                    model_b: second.model,
                    source,
                    share,
                    weight,
                    margin: Some((first.score - second.score) as f32),
                });
            }
        }
    }
}

impl Battle {
    /// The canonical order: equal only for battles that are equal bit for bit.
    pub(super) fn by_content(&self, other: &Self) -> Ordering {
        let key = |battle: &Self| (battle.prompt, battle.model_a, battle.model_b, battle.source);
        key(self)
            .cmp(&key(other))
            .then_with(|| self.share.total_cmp(&other.share))
            .then_with(|| self.weight.total_cmp(&other.weight))
            .then_with(|| match (self.margin, other.margin) {
                (Some(margin), Some(other)) => margin.total_cmp(&other),
                (margin, other) => margin.is_some().cmp(&other.is_some()),
            })
    }
}

#[cfg(test)]
mod tests;
