//! The network's weights: read by their names, checked against the configuration, laid out as the passes want them.

use super::config::Config;
use super::kernels::Norm;
use super::matrix::Matrix;
use super::rope::Rope;
use super::weights::Weights;
use super::{DecoderError, Precision};

/// The weights of a network, ready to run.
pub(super) struct Network {
    pub(super) config: Config,
    pub(super) rope: Rope,
    /// A row per token.
    pub(super) embeddings: Matrix,
    /// The output layer, where it is not the table of embeddings.
    output: Option<Matrix>,
    pub(super) blocks: Vec<Block>,
    pub(super) norm: Norm,
}

pub(super) struct Block {
    pub(super) attention_norm: Norm,
    /// Queries, keys and values at once.
    pub(super) query_key_value: Matrix,
    /// As many as its outputs, or none.
    pub(super) bias: Vec<f32>,
    pub(super) attention_output: Matrix,
    pub(super) wide_norm: Norm,
    /// Gates, then as many values.
    pub(super) widen: Matrix,
    pub(super) narrow: Matrix,
}

impl Network {
    /// Reads every tensor that the configuration asks for.
    pub(super) fn load(
        weights: &Weights<'_>,
        config: Config,
        precision: Precision,
    ) -> Result<Self, DecoderError> {
        let names = weights.names();
        let table = |name: &str| {
            let values = weights.read(name, &[config.vocabulary, config.hidden])?;
            Ok(Matrix::new(values, config.hidden, precision))
        };
        let embeddings = table(names.embeddings)?;
        let output = if config.tied { None } else { Some(table(names.output)?) };
        let mut blocks = Vec::new();
        for number in 0..config.layers {
            blocks.push(Block::load(weights, &config, precision, number)?);
        }
        let norm = load_norm(weights, names.norm, &config)?;
        let rope = Rope::new(config.rope_theta, &config.rope_scaling, config.head_size);
        Ok(Self { config, rope, embeddings, output, blocks, norm })
    }

    /// The layer whose rows give the logits.
    pub(super) fn output(&self) -> &Matrix {
        self.output.as_ref().unwrap_or(&self.embeddings)
    }
}

impl Block {
    fn load(
        weights: &Weights<'_>,
        config: &Config,
        precision: Precision,
        number: usize,
    ) -> Result<Self, DecoderError> {
        let names = weights.names();
        let name = |part: &str, kind: &str| format!("{}.{number}.{part}.{kind}", names.block);
        let (hidden, wide) = (config.hidden, config.intermediate);
        let attended = config.heads * config.head_size;
        let mut query_key_value = Vec::new();
        let mut bias = Vec::new();
        for (part, heads) in
            [(names.query, config.heads), (names.key, config.key_heads), (names.value, config.key_heads)]
        {
            // Values are not turned, and so never lie as pairs.
            let paired = weights.pairs_lie_together() && part != names.value;
            let order = |values: Vec<f32>, width: usize| {
                if paired { halves_apart(&values, config.head_size, width) } else { values }
            };
            let outputs = heads * config.head_size;
            let values = weights.read(&name(part, "weight"), &[outputs, hidden])?;
            query_key_value.extend(order(values, hidden));
            if config.biases {
                bias.extend(order(weights.read(&name(part, "bias"), &[outputs])?, 1));
            }
        }
        let mut widen = weights.read(&name(names.gate, "weight"), &[wide, hidden])?;
        widen.extend(weights.read(&name(names.widen, "weight"), &[wide, hidden])?);
        let matrix = |values: Vec<f32>, inputs: usize| Matrix::new(values, inputs, precision);
        let read = |part: &str, shape: &[usize]| weights.read(&name(part, "weight"), shape);
        Ok(Self {
            attention_norm: load_norm(weights, &name(names.attention_norm, "weight"), config)?,
            query_key_value: matrix(query_key_value, hidden),
            bias,
            attention_output: matrix(read(names.attention_output, &[hidden, attended])?, attended),
            wide_norm: load_norm(weights, &name(names.wide_norm, "weight"), config)?,
            widen: matrix(widen, hidden),
            narrow: matrix(read(names.narrow, &[hidden, wide])?, wide),
        })
    }
}

fn load_norm(weights: &Weights<'_>, name: &str, config: &Config) -> Result<Norm, DecoderError> {
    Ok(Norm { scale: weights.read(name, &[config.hidden])?, epsilon: config.epsilon })
}

/// From rows in which the two that turn together are neighbours to heads whose first half turns with the second: the
/// order of `llama.cpp` for this architecture to that of the folders.
fn halves_apart(rows: &[f32], head_size: usize, width: usize) -> Vec<f32> {
    let mut ordered = Vec::with_capacity(rows.len());
    for head in rows.chunks_exact(head_size * width) {
        for half in 0..2 {
            for pair in head.chunks_exact(2 * width) {
                ordered.extend_from_slice(&pair[half * width..][..width]);
            }
        }
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::halves_apart;

    #[test]
    fn pairs_come_apart_head_by_head() {
        let rows: Vec<f32> = [0, 10, 4, 14, 1, 11, 5, 15].map(|value| value as f32).to_vec();
        assert_eq!(halves_apart(&rows, 4, 1), [0.0, 4.0, 10.0, 14.0, 1.0, 5.0, 11.0, 15.0]);
        assert_eq!(halves_apart(&rows, 4, 2), [0.0, 10.0, 1.0, 11.0, 4.0, 14.0, 5.0, 15.0]);
    }
}
