//! What a causal model learns from: scores of models on prompts, drawn in a seeded order.
//!
//! Everything follows from the content of the data: neither the order of its rows nor the sides of its battles move an
//! example. Must not know of tokens or networks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::data::{Dataset, Prompt};
use crate::split::PromptHash;

/// What stands before the seed in the digests, so that draws don't follow from the split of the data.
const DOMAIN: &[u8] = b"pointsman causal draw 1\0";

/// A model's score on a prompt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Example {
    /// Place in [`Dataset::prompts`].
    pub prompt: u32,
    /// Place in [`Dataset::models`].
    pub model: u16,
    /// 0..=1: the outcome, or else the mean share that the model won of its battles on this prompt.
    pub score: f64,
}

/// The examples of the prompts that `keep` says yes to, ascending by prompt and model, each pair of them once.
///
/// Where a model has an outcome on a prompt, its battles there say nothing more.
#[must_use]
pub fn examples(data: &Dataset, keep: impl Fn(&Prompt) -> bool) -> Vec<Example> {
    let kept: Vec<bool> = data.prompts.iter().map(keep).collect();
    let is_kept = |prompt: u32| kept.get(prompt as usize).copied().unwrap_or_default();
    let mut shares: BTreeMap<(u32, u16), (f64, f64)> = BTreeMap::new();
    for battle in data.judged.iter().filter(|battle| is_kept(battle.prompt)) {
        let (share, weight) = (f64::from(battle.share), f64::from(battle.weight));
        for (model, share) in [(battle.model_a, share), (battle.model_b, 1.0 - share)] {
            let (won, fought) = shares.entry((battle.prompt, model)).or_default();
            *won += weight * share;
            *fought += weight;
        }
    }
    let mut scores: BTreeMap<(u32, u16), f64> =
        shares.into_iter().map(|(key, (won, fought))| (key, won / fought)).collect();
    for outcomes in data.outcomes.iter().filter(|outcomes| is_kept(outcomes.prompt)) {
        scores.extend(outcomes.scores.iter().map(|score| ((outcomes.prompt, score.model), score.score)));
    }
    scores.into_iter().map(|((prompt, model), score)| Example { prompt, model, score }).collect()
}

/// Some examples of one prompt, which can share the reading of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Draw {
    /// Place in [`Dataset::prompts`].
    pub prompt: u32,
    /// Ascending by model, at least one.
    pub examples: Vec<Example>,
}

/// Draws prompts without end, each with some of its models.
///
/// A source is drawn from as often as the square root of its prompts says, so that a wide exam table does not drown the
/// others; within a source every prompt is drawn once before any is drawn again, in a new order and with other models.
#[derive(Debug, Clone)]
pub struct Sampler {
    queues: Vec<Queue>,
    seed: u64,
    models_per_prompt: usize,
    /// Names of the data's models: what is drawn follows from them, not from their numbers.
    models: Vec<String>,
}

/// How far a sampler has come.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SamplerState {
    /// Prompts drawn of each source that has examples, in the order of the sources.
    pub drawn: Vec<u64>,
}

/// The prompts of a source.
#[derive(Debug, Clone)]
struct Queue {
    prompts: Vec<Queued>,
    drawn: u64,
    /// The pass that `order` is of.
    pass: Option<u64>,
    order: Vec<usize>,
}

/// A prompt with its examples.
#[derive(Debug, Clone)]
struct Queued {
    hash: PromptHash,
    prompt: u32,
    examples: Vec<Example>,
}

impl Sampler {
    /// A sampler of `examples` of this data, which takes at most `models_per_prompt` (at least one) of a prompt's models
    /// each time it is drawn.
    #[must_use]
    pub fn new(data: &Dataset, examples: &[Example], seed: u64, models_per_prompt: usize) -> Self {
        let mut sources: BTreeMap<u16, Queue> = BTreeMap::new();
        for of_prompt in examples.chunk_by(|one, other| one.prompt == other.prompt) {
            let Some(place) = of_prompt.first().map(|example| example.prompt) else { continue };
            let Some(prompt) = data.prompts.get(place as usize) else { continue };
            let queue = sources.entry(prompt.source).or_insert_with(Queue::empty);
            queue.prompts.push(Queued { hash: prompt.hash(), prompt: place, examples: of_prompt.to_vec() });
        }
        Self {
            queues: sources.into_values().collect(),
            seed,
            models_per_prompt: models_per_prompt.max(1),
            models: data.models.clone(),
        }
    }

    /// Whether there is nothing to draw.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// How far it has come.
    #[must_use]
    pub fn state(&self) -> SamplerState {
        SamplerState { drawn: self.queues.iter().map(|queue| queue.drawn).collect() }
    }

    /// Goes on from where a sampler of the same data and seed had come; `false`, and nothing changed, when the state is
    /// of other data.
    #[must_use]
    pub fn resume(&mut self, state: &SamplerState) -> bool {
        let fits = state.drawn.len() == self.queues.len();
        if fits {
            self.queues.iter_mut().zip(&state.drawn).for_each(|(queue, drawn)| queue.drawn = *drawn);
        }
        fits
    }

    /// The next draw; `None` only when there are no examples.
    pub fn draw(&mut self) -> Option<Draw> {
        let source = self.next_source(|_| true)?;
        self.draw_from(source)
    }

    /// At most so many draws of different prompts, for measuring.
    pub fn sample(&mut self, prompts_max: usize) -> Vec<Draw> {
        let drawn = (0..prompts_max).map_while(|_| {
            let source = self.next_source(|queue| (queue.drawn as usize) < queue.prompts.len())?;
            self.draw_from(source)
        });
        drawn.collect()
    }

    /// Of the sources that `may` says yes to, the one that is furthest behind its share of the draws.
    fn next_source(&self, may: impl Fn(&Queue) -> bool) -> Option<usize> {
        let share = |queue: &Queue| (queue.prompts.len() as f64).sqrt();
        let all: f64 = self.queues.iter().map(share).sum();
        let draws = self.queues.iter().map(|queue| queue.drawn).sum::<u64>() as f64 + 1.0;
        let behind = |queue: &Queue| share(queue) / all * draws - queue.drawn as f64;
        let open = self.queues.iter().enumerate().filter(|(_, queue)| may(queue));
        // The first of equals: `max_by` would take the last.
        open.rev()
            .max_by(|(_, one), (_, other)| behind(one).total_cmp(&behind(other)))
            .map(|(place, _)| place)
    }

    fn draw_from(&mut self, source: usize) -> Option<Draw> {
        let (seed, models_per_prompt) = (self.seed, self.models_per_prompt);
        let queue = self.queues.get_mut(source)?;
        let (pass, Queued { hash, prompt, examples }) = queue.next(seed)?;
        let mut examples = examples.clone();
        let name = |example: &Example| self.models.get(usize::from(example.model)).map_or("", String::as_str);
        examples.sort_by_cached_key(|example| point(seed, pass, *hash, name(example)));
        examples.truncate(models_per_prompt);
        examples.sort_by_key(|example| example.model);
        Some(Draw { prompt: *prompt, examples })
    }
}

impl Queue {
    const fn empty() -> Self {
        Self { prompts: Vec::new(), drawn: 0, pass: None, order: Vec::new() }
    }

    /// The next prompt, and the pass over the source that it is of.
    fn next(&mut self, seed: u64) -> Option<(u64, &Queued)> {
        let count = self.prompts.len() as u64;
        let (pass, place) = (self.drawn.checked_div(count)?, self.drawn % count);
        if self.pass != Some(pass) {
            self.pass = Some(pass);
            self.order = (0..self.prompts.len()).collect();
            let prompts = &self.prompts;
            // Prompts of one opening have one hash; their places part them.
            self.order.sort_by_cached_key(|number| {
                prompts.get(*number).map(|queued| (point(seed, pass, queued.hash, ""), queued.prompt))
            });
        }
        self.drawn += 1;
        Some((pass, self.prompts.get(*self.order.get(place as usize)?)?))
    }
}

/// Where a prompt, or one of its models, stands in a pass.
fn point(seed: u64, pass: u64, prompt: PromptHash, model: &str) -> [u8; 32] {
    let digest = Sha256::new().chain_update(DOMAIN).chain_update(seed.to_le_bytes());
    digest.chain_update(pass.to_le_bytes()).chain_update(prompt.0).chain_update(model).finalize().into()
}

#[cfg(test)]
mod tests;
