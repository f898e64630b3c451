//! The network: embeddings, attention blocks, hidden states out.
//!
//! States are matrices with a column per token, so that a token's values lie side by side and one product
//! serves every token of every sequence of a pass. Sequences are never padded: attention alone sees where one
//! ends and the next begins.

use std::path::Path;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};

use super::EncoderError;
use super::config::{Activation, Config};
use super::kernels::{self, Norm};
use super::layout::Layout;
use super::tensors::Tensors;

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

/// y = W x + b, W with a row per output, its columns side by side: the order in which the product is fastest.
struct Dense {
    weight: Mat<f32>,
    bias: Vec<f32>,
}

/// Matrices that every block of a pass writes anew.
struct Scratch {
    query_key_value: Mat<f32>,
    attended: Mat<f32>,
    projected: Mat<f32>,
    wide: Mat<f32>,
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

    /// Runs sequences and returns the last hidden states: a column per token, sequence after sequence.
    pub(super) fn run(&self, sequences: &[Vec<u32>], par: Par) -> Result<Mat<f32>, EncoderError> {
        let mut states = self.embed(sequences)?;
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let mut scratch = Scratch::new(self, states.ncols(), longest);
        for block in &self.blocks {
            block.query_key_value.multiply(states.as_ref(), scratch.query_key_value.as_mut(), par);
            for column in columns_mut(scratch.query_key_value.as_mut()) {
                kernels::add(column, &block.query_key_value.bias);
            }
            self.attend(sequences, &mut scratch, par);
            block.attention_output.multiply(scratch.attended.as_ref(), scratch.projected.as_mut(), par);
            let made = columns_mut(scratch.projected.as_mut());
            for (state, made) in columns_mut(states.as_mut()).zip(made) {
                block.attention_norm.join(state, made, &block.attention_output.bias);
            }
            block.widen.multiply(states.as_ref(), scratch.wide.as_mut(), par);
            for column in columns_mut(scratch.wide.as_mut()) {
                kernels::bias_and_activate(self.activation, column, &block.widen.bias);
            }
            block.narrow.multiply(scratch.wide.as_ref(), scratch.projected.as_mut(), par);
            let made = columns_mut(scratch.projected.as_mut());
            for (state, made) in columns_mut(states.as_mut()).zip(made) {
                block.output_norm.join(state, made, &block.narrow.bias);
            }
        }
        Ok(states)
    }

    /// Word plus position plus first token type, normalised.
    fn embed(&self, sequences: &[Vec<u32>]) -> Result<Mat<f32>, EncoderError> {
        let tokens = sequences.iter().map(Vec::len).sum();
        let mut states = Mat::zeros(self.hidden, tokens);
        let mut columns = columns_mut(states.as_mut());
        for sequence in sequences {
            if sequence.len() > self.tokens_max {
                return Err(EncoderError::TooLong { tokens: sequence.len(), tokens_max: self.tokens_max });
            }
            let places = sequence.iter().zip(self.positions.chunks_exact(self.hidden));
            for ((&token, position), state) in places.zip(&mut columns) {
                let start = token as usize * self.hidden;
                let word = self
                    .words
                    .get(start..start + self.hidden)
                    .ok_or(EncoderError::Token { token, vocabulary: self.vocabulary })?;
                for ((value, word), position) in state.iter_mut().zip(word).zip(position) {
                    *value = word + position;
                }
                self.embedding_norm.normalise(state);
            }
        }
        drop(columns);
        Ok(states)
    }

    /// softmax(Kᵀ Q / √d) per sequence and head, then the values so weighted.
    fn attend(&self, sequences: &[Vec<u32>], scratch: &mut Scratch, par: Par) {
        let size = self.hidden / self.heads;
        let scale = 1.0 / (size as f32).sqrt();
        let mut first = 0;
        for sequence in sequences {
            let tokens = sequence.len();
            if tokens == 0 {
                continue;
            }
            let whole = scratch.query_key_value.as_ref().subcols(first, tokens);
            let mut attended = scratch.attended.as_mut().subcols_mut(first, tokens);
            for head in 0..self.heads {
                let query = whole.subrows(head * size, size);
                let key = whole.subrows(self.hidden + head * size, size);
                let value = whole.subrows(2 * self.hidden + head * size, size);
                let scores = &mut scratch.scores[..tokens * tokens];
                let product = MatMut::from_column_major_slice_mut(scores, tokens, tokens);
                matmul(product, Accum::Replace, key.transpose(), query, scale, par);
                scores.chunks_exact_mut(tokens).for_each(kernels::softmax);
                let weights = MatRef::from_column_major_slice(scores, tokens, tokens);
                let into = attended.as_mut().subrows_mut(head * size, size);
                matmul(into, Accum::Replace, value, weights, 1.0, par);
            }
            first += tokens;
        }
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
        let dense = |part: &str, to: usize, from: usize| Dense::load(tensors, &name(part), to, from);
        let (hidden, wide) = (config.hidden, config.intermediate);
        let mut query_key_value = Dense { weight: Mat::zeros(3 * hidden, hidden), bias: Vec::new() };
        for (place, part) in [layout.query, layout.key, layout.value].into_iter().enumerate() {
            let Dense { weight, bias } = dense(part, hidden, hidden)?;
            query_key_value.weight.as_mut().subrows_mut(place * hidden, hidden).copy_from(weight);
            query_key_value.bias.extend(bias);
        }
        Ok(Self {
            query_key_value,
            attention_output: dense(layout.attention_output, hidden, hidden)?,
            attention_norm: load_norm(tensors, &name(layout.attention_norm), config)?,
            widen: dense(layout.widen, wide, hidden)?,
            narrow: dense(layout.narrow, hidden, wide)?,
            output_norm: load_norm(tensors, &name(layout.output_norm), config)?,
        })
    }
}

impl Dense {
    fn load(tensors: &Tensors<'_>, name: &str, to: usize, from: usize) -> Result<Self, EncoderError> {
        let weight = tensors.read(&format!("{name}.weight"), &[to, from])?;
        let weight = MatRef::from_row_major_slice(&weight, to, from).to_owned();
        let bias = tensors.read(&format!("{name}.bias"), &[to])?;
        Ok(Self { weight, bias })
    }

    /// W x, the bias left out.
    fn multiply(&self, from: MatRef<'_, f32>, into: MatMut<'_, f32>, par: Par) {
        matmul(into, Accum::Replace, self.weight.as_ref(), from, 1.0, par);
    }
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
        let wide = network.blocks.first().map_or(0, |block| block.widen.bias.len());
        Self {
            query_key_value: Mat::zeros(3 * network.hidden, tokens),
            attended: Mat::zeros(network.hidden, tokens),
            projected: Mat::zeros(network.hidden, tokens),
            wide: Mat::zeros(wide, tokens),
            scores: vec![0.0; longest * longest],
        }
    }
}

/// The columns of a matrix as slices. (Matrices made by `Mat::zeros` have contiguous columns.)
fn columns_mut(matrix: MatMut<'_, f32>) -> impl Iterator<Item = &mut [f32]> {
    matrix
        .col_iter_mut()
        .filter_map(|column| column.try_as_col_major_mut().map(|column| column.as_slice_mut()))
}
