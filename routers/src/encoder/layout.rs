//! Where each family keeps its tensors in the file of weights. Names only.

use super::config::{Config, Family};

/// Names of the tensors, without the prefix that some files put before them all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// Prefixes a file may use, tried in this order.
    pub(super) prefixes: &'static [&'static str],
    /// Start of a block's tensors, before its number.
    pub(super) block: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) attention_output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) widen: &'static str,
    pub(super) narrow: &'static str,
    pub(super) output_norm: &'static str,
}

impl Layout {
    /// The layout of a network's family.
    pub(super) fn of(config: &Config) -> Self {
        match config.family {
            Family::Bert => Self { prefixes: &["", "bert.", "model."], ..BERT },
            Family::Roberta => Self { prefixes: &["", "roberta.", "model."], ..BERT },
            Family::DistilBert => DISTIL_BERT,
        }
    }
}

const BERT: Layout = Layout {
    prefixes: &[""],
    block: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    widen: "intermediate.dense",
    narrow: "output.dense",
    output_norm: "output.LayerNorm",
};

const DISTIL_BERT: Layout = Layout {
    prefixes: &["", "distilbert.", "model."],
    block: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    widen: "ffn.lin1",
    narrow: "ffn.lin2",
    output_norm: "output_layer_norm",
};
