//! The network: embeddings, attention blocks, hidden states out.
//!
//! A token's values lie side by side, tokens one after the other, and one product serves every token of every
//! sequence of a pass. Sequences are never padded: attention alone sees where one ends and the next begins.

use std::path::Path;

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::EncoderError;
use super::config::{Activation, Config};
use super::dense::{Dense, Rounded};
use super::kernels::{self, Norm};
use super::layout::Layout;
use super::tensors::Tensors;
use crate::vectors;

/// The weights of a network, ready to run.
pub(super) struct Network {
    hidden: usize,
    heads: usize,
    activation: Activation,
    tokens_max: usize,
    vocabulary: usize,
    /// Word embeddings, a row per token.
    words: Vec<f32>,
    /// Position embeddings from the first that is used, the first token type's embedding added.
    positions: Vec<f32>,
    embedding_norm: Norm,
    blocks: Vec<Block>,
}

struct Block {
    /// Queries, keys and values at once: `3 · hidden` rows.
    query_key_value: Dense,
    attention_output: Dense,
    attention_norm: Norm,
    widen: Dense,
    narrow: Dense,
    output_norm: Norm,
}

/// What every block of a pass writes anew: a state after the other, as wide as their layer.
struct Scratch {
    rounded: Rounded,
    query_key_value: Vec<f32>,
    attended: Vec<f32>,
    projected: Vec<f32>,
    wide: Vec<f32>,
    scores: Vec<f32>,
}

impl Network {
    /// Reads every tensor that the configuration asks for.
    pub(super) fn load(
        path: &Path,
        bytes: &[u8],
        config: &Config,
        layout: &Layout,
    ) -> Result<Self, EncoderError> {
        const WORDS: &str = "embeddings.word_embeddings.weight";
        let tensors = Tensors::open(path, bytes, layout.prefixes, WORDS)?;
        let hidden = config.hidden;
        let words = tensors.read(WORDS, &[config.vocabulary, hidden])?;
        let mut positions =
            tensors.read("embeddings.position_embeddings.weight", &[config.positions, hidden])?;
        positions.drain(..config.position_offset * hidden);
        if config.token_types > 0 {
            let types =
                tensors.read("embeddings.token_type_embeddings.weight", &[config.token_types, hidden])?;
            for row in positions.chunks_exact_mut(hidden) {
                row.iter_mut().zip(&types).for_each(|(value, first_type)| *value += first_type);
            }
        }
        let embedding_norm = load_norm(&tensors, "embeddings.LayerNorm", config)?;
        let blocks = (0..config.layers)
            .map(|number| Block::load(&tensors, config, layout, number))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            hidden,
            heads: config.heads,
            activation: config.activation,
            tokens_max: config.tokens_max(),
            vocabulary: config.vocabulary,
            words,
            positions,
            embedding_norm,
            blocks,
        })
    }

    /// Width of the hidden states.
    pub(super) fn width(&self) -> usize {
        self.hidden
    }

    /// Runs sequences and returns the last hidden states, one after the other, sequence after sequence.
    pub(super) fn run(&self, sequences: &[Vec<u32>]) -> Result<Vec<f32>, EncoderError> {
        let mut states = self.embed(sequences)?;
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let mut scratch = Scratch::new(self, states.len() / self.hidden, longest);
        for block in &self.blocks {
            block.query_key_value.round(&states, &mut scratch.rounded);
            block.query_key_value.multiply(&scratch.rounded, &mut scratch.query_key_value);
            self.attend(sequences, &mut scratch);
            block.attention_output.round(&scratch.attended, &mut scratch.rounded);
            block.attention_output.multiply(&scratch.rounded, &mut scratch.projected);
            self.join(&block.attention_norm, &mut states, &scratch.projected);
            block.widen.round(&states, &mut scratch.rounded);
            block.widen.multiply(&scratch.rounded, &mut scratch.wide);
            kernels::activate(self.activation, &mut scratch.wide);
            block.narrow.round(&scratch.wide, &mut scratch.rounded);
            block.narrow.multiply(&scratch.rounded, &mut scratch.projected);
            self.join(&block.output_norm, &mut states, &scratch.projected);
        }
        Ok(states)
    }

    /// Adds to every state what a layer made of it, and normalises.
    fn join(&self, norm: &Norm, states: &mut [f32], made: &[f32]) {
        let made = made.chunks_exact(self.hidden);
        states.chunks_exact_mut(self.hidden).zip(made).for_each(|(state, made)| norm.join(state, made));
    }

    /// Word plus position plus first token type, normalised.
    fn embed(&self, sequences: &[Vec<u32>]) -> Result<Vec<f32>, EncoderError> {
        let tokens: usize = sequences.iter().map(Vec::len).sum();
        let mut states = Vec::with_capacity(tokens * self.hidden);
        for sequence in sequences {
            if sequence.len() > self.tokens_max {
                return Err(EncoderError::TooLong { tokens: sequence.len(), tokens_max: self.tokens_max });
            }
            for (&token, position) in sequence.iter().zip(self.positions.chunks_exact(self.hidden)) {
                let start = token as usize * self.hidden;
                let word = self
                    .words
                    .get(start..start + self.hidden)
                    .ok_or(EncoderError::Token { token, vocabulary: self.vocabulary })?;
                states.extend(word.iter().zip(position).map(|(word, position)| word + position));
            }
        }
        states.chunks_exact_mut(self.hidden).for_each(|state| self.embedding_norm.normalise(state));
        Ok(states)
    }

    /// softmax(Kᵀ Q / √d) per sequence and head, then the values so weighted.
    fn attend(&self, sequences: &[Vec<u32>], scratch: &mut Scratch) {
        let size = self.hidden / self.heads;
        let scale = 1.0 / (size as f32).sqrt();
        let (mut whole, mut attended) = (&scratch.query_key_value[..], &mut scratch.attended[..]);
        for tokens in sequences.iter().map(Vec::len).filter(|&tokens| tokens > 0) {
            let (own, rest) = whole.split_at(tokens * 3 * self.hidden);
            let (into, into_rest) = attended.split_at_mut(tokens * self.hidden);
            (whole, attended) = (rest, into_rest);
            let own = MatRef::from_column_major_slice(own, 3 * self.hidden, tokens);
            let mut into = MatMut::from_column_major_slice_mut(into, self.hidden, tokens);
            let scores = &mut scratch.scores[..tokens * tokens];
            for head in 0..self.heads {
                let part = |place: usize| own.subrows(place * self.hidden + head * size, size);
                let (query, key, value) = (part(0), part(1), part(2));
                let product = MatMut::from_column_major_slice_mut(scores, tokens, tokens);
                matmul(product, Accum::Replace, key.transpose(), query, scale, Par::Seq);
                scores.chunks_exact_mut(tokens).for_each(kernels::softmax);
                let weights = MatRef::from_column_major_slice(scores, tokens, tokens);
                let into = into.as_mut().subrows_mut(head * size, size);
                matmul(into, Accum::Replace, value, weights, 1.0, Par::Seq);
            }
        }
        vectors::clear();
    }
}

impl Block {
    fn load(
        tensors: &Tensors<'_>,
        config: &Config,
        layout: &Layout,
        number: usize,
    ) -> Result<Self, EncoderError> {
        let name = |part: &str| format!("{}.{number}.{part}", layout.block);
        let dense = |part: &str, to: usize, from: usize| load_dense(tensors, &[&name(part)], to, from);
        let (hidden, wide) = (config.hidden, config.intermediate);
        let query_key_value = [layout.query, layout.key, layout.value].map(name);
        let query_key_value = query_key_value.each_ref().map(String::as_str);
        Ok(Self {
            query_key_value: load_dense(tensors, &query_key_value, hidden, hidden)?,
            attention_output: dense(layout.attention_output, hidden, hidden)?,
            attention_norm: load_norm(tensors, &name(layout.attention_norm), config)?,
            widen: dense(layout.widen, wide, hidden)?,
            narrow: dense(layout.narrow, hidden, wide)?,
            output_norm: load_norm(tensors, &name(layout.output_norm), config)?,
        })
    }
}

/// Reads layers of one shape, to be one layer with the outputs of all.
fn load_dense(tensors: &Tensors<'_>, names: &[&str], to: usize, from: usize) -> Result<Dense, EncoderError> {
    let (mut weight, mut bias) = (Vec::new(), Vec::new());
    for name in names {
        weight.extend(tensors.read(&format!("{name}.weight"), &[to, from])?);
        bias.extend(tensors.read(&format!("{name}.bias"), &[to])?);
    }
    Ok(Dense::new(&weight, &bias, from))
}

/// Reads a layer norm's tensors.
fn load_norm(tensors: &Tensors<'_>, name: &str, config: &Config) -> Result<Norm, EncoderError> {
    let shape = [config.hidden];
    Ok(Norm {
        scale: tensors.read(&format!("{name}.weight"), &shape)?,
        shift: tensors.read(&format!("{name}.bias"), &shape)?,
        epsilon: config.layer_norm_epsilon,
    })
}

impl Scratch {
    fn new(network: &Network, tokens: usize, longest: usize) -> Self {
        let wide = network.blocks.first().map_or(0, |block| block.widen.outputs());
        let states = |width: usize| vec![0.0; width * tokens];
        Self {
            rounded: Rounded::default(),
            query_key_value: states(3 * network.hidden),
            attended: states(network.hidden),
            projected: states(network.hidden),
            wide: states(wide),
            scores: vec![0.0; longest * longest],
        }
    }
}
