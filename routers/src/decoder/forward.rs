//! A pass: tokens in, hidden states and keys and values out.
//!
//! A token's values lie side by side, tokens one after the other, and one product serves every token of a pass.
//! Sequences are never padded: attention alone sees where one ends and the next begins.

use faer::Accum;

use super::DecoderError;
use super::attention::{Heads, Pass};
use super::kernels;
use super::network::{Block, Network};
use super::prefix::{KeysValues, Prefix, Segment};
use super::rope::Turns;

/// What a pass gives.
pub(super) struct Outcome {
    /// Keys and values of its tokens: what follows the prefix, when the pass has no branches.
    pub(super) segment: Segment,
    /// Final hidden states of the tokens that were asked for, one after the other.
    pub(super) states: Vec<f32>,
}

/// What every block of a pass writes anew: a token after the other, as wide as their layer.
struct Scratch {
    normed: Vec<f32>,
    query_key_value: Vec<f32>,
    queries: Vec<f32>,
    scores: Vec<f32>,
    by_head: Vec<f32>,
    attended: Vec<f32>,
    wide: Vec<f32>,
    gated: Vec<f32>,
    tile: Vec<f32>,
}

impl Network {
    fn heads(&self) -> Heads {
        let config = &self.config;
        Heads { group: config.heads / config.key_heads, keys: config.key_heads, size: config.head_size }
    }

    /// Runs a pass after a prefix; `wanted` are the tokens (in order) whose hidden states are asked for.
    pub(super) fn run(
        &self,
        prefix: &Prefix,
        pass: &Pass<'_>,
        wanted: &[usize],
    ) -> Result<Outcome, DecoderError> {
        let mut states = self.embed(pass)?;
        let turns = self.rope.turns(pass.positions(prefix.len()));
        let mut scratch = Scratch::new(self, pass.tokens());
        let mut layers = Vec::with_capacity(self.blocks.len());
        for (number, block) in self.blocks.iter().enumerate() {
            block.project(&states, &mut scratch);
            let own = self.heads().turn(&turns, &mut scratch);
            let last = number + 1 == self.blocks.len();
            if !(last && wanted.is_empty()) {
                let past: Vec<_> = prefix
                    .segments()
                    .iter()
                    .filter_map(|segment| Some((segment.tokens, segment.layers.get(number)?)))
                    .collect();
                self.heads().attend(
                    pass,
                    (&past, &own),
                    &scratch.queries,
                    &mut scratch.scores,
                    &mut scratch.by_head,
                );
                self.heads().gather(&scratch.by_head, &mut scratch.attended);
            }
            layers.push(own);
            if last {
                // No token looks at another any more: what nobody asked for goes no further.
                keep(&mut states, self.config.hidden, wanted);
                keep(&mut scratch.attended, block.attention_output.inputs(), wanted);
            }
            block.transform(&mut states, &mut scratch);
        }
        let mut normed = vec![0.0; states.len()];
        self.norm.apply(&states, &mut normed);
        if !normed.iter().all(|value| value.is_finite()) {
            return Err(DecoderError::NotFinite);
        }
        Ok(Outcome { segment: Segment { tokens: pass.tokens(), layers }, states: normed })
    }

    fn embed(&self, pass: &Pass<'_>) -> Result<Vec<f32>, DecoderError> {
        let mut states = vec![0.0; pass.tokens() * self.config.hidden];
        for (token, state) in pass.iter().zip(states.chunks_exact_mut(self.config.hidden)) {
            let missing = DecoderError::Token { token, vocabulary: self.config.vocabulary };
            self.embeddings.row(token as usize, state).ok_or(missing)?;
        }
        Ok(states)
    }
}

impl Block {
    /// Queries, keys and values of all states.
    fn project(&self, states: &[f32], scratch: &mut Scratch) {
        let Scratch { normed, query_key_value, tile, .. } = scratch;
        self.attention_norm.apply(states, normed);
        let accum = if self.bias.is_empty() {
            Accum::Replace
        } else {
            let width = self.bias.len();
            query_key_value.chunks_exact_mut(width).for_each(|token| token.copy_from_slice(&self.bias));
            Accum::Add
        };
        self.query_key_value.multiply(normed, query_key_value, accum, tile);
    }

    /// Adds to each state what it attended to and what the feed-forward layer makes of both.
    fn transform(&self, states: &mut [f32], scratch: &mut Scratch) {
        let Scratch { normed, attended, wide, gated, tile, .. } = scratch;
        let tokens = states.len() / self.attention_output.outputs();
        if tokens == 0 {
            return;
        }
        self.attention_output.multiply(attended, states, Accum::Add, tile);
        let normed = &mut normed[..states.len()];
        self.wide_norm.apply(states, normed);
        let wide = &mut wide[..tokens * self.widen.outputs()];
        self.widen.multiply(normed, wide, Accum::Replace, tile);
        let gated = &mut gated[..tokens * self.narrow.inputs()];
        kernels::gate(wide, self.narrow.inputs(), gated);
        self.narrow.multiply(gated, states, Accum::Add, tile);
    }
}

impl Heads {
    /// Turns queries and keys to their tokens' places and sorts all three by head.
    fn turn(self, turns: &Turns, scratch: &mut Scratch) -> KeysValues {
        let Scratch { query_key_value, queries, .. } = scratch;
        let (key_width, group_width) = (self.keys * self.size, self.group * self.size);
        let width = self.keys * group_width + 2 * key_width;
        let tokens = query_key_value.len() / width;
        let (mut keys, mut values) = (vec![0.0; tokens * key_width], vec![0.0; tokens * key_width]);
        for (place, token) in query_key_value.chunks_exact(width).enumerate() {
            let (query, key_value) = token.split_at(self.keys * group_width);
            let (key, value) = key_value.split_at(key_width);
            for (head, query) in query.chunks_exact(group_width).enumerate() {
                let into = &mut queries[(head * tokens + place) * group_width..][..group_width];
                turns.turn(place, self.size, query, into);
            }
            let heads = key.chunks_exact(self.size).zip(value.chunks_exact(self.size));
            for (head, (key, value)) in heads.enumerate() {
                let start = (head * tokens + place) * self.size;
                turns.turn(place, self.size, key, &mut keys[start..][..self.size]);
                values[start..][..self.size].copy_from_slice(value);
            }
        }
        KeysValues { keys, values }
    }

    /// From what each head attended to, token by token, to what each token did, head by head.
    fn gather(self, by_head: &[f32], attended: &mut [f32]) {
        let width = self.group * self.size;
        let tokens = attended.len() / (self.keys * width);
        for (place, token) in attended.chunks_exact_mut(self.keys * width).enumerate() {
            for (head, into) in token.chunks_exact_mut(width).enumerate() {
                into.copy_from_slice(&by_head[(head * tokens + place) * width..][..width]);
            }
        }
    }
}

/// Leaves the rows at these places, which ascend.
fn keep(rows: &mut Vec<f32>, width: usize, places: &[usize]) {
    for (to, from) in places.iter().enumerate() {
        rows.copy_within(from * width..(from + 1) * width, to * width);
    }
    rows.truncate(places.len() * width);
}

impl Scratch {
    fn new(network: &Network, tokens: usize) -> Self {
        let config = &network.config;
        let of_width = |width: usize| vec![0.0; width * tokens];
        let attended = config.heads * config.head_size;
        Self {
            normed: of_width(config.hidden),
            query_key_value: of_width(config.query_key_value()),
            queries: of_width(attended),
            scores: Vec::new(),
            by_head: of_width(attended),
            attended: of_width(attended),
            wide: of_width(2 * config.intermediate),
            gated: of_width(config.intermediate),
            tile: Vec::new(),
        }
    }
}
