//! `config.json`: what the network looks like, checked.

use std::path::Path;

use serde::Deserialize;

use super::EncoderError;
use crate::json;

/// The families whose blocks this crate runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// BERT: token types, positions from 0.
    Bert,
    /// RoBERTa and its kin: the same block, positions counted from the padding token's id + 1.
    Roberta,
    /// DistilBERT: the same block under other names, no token types.
    DistilBert,
}

const FAMILIES: &str = "bert, roberta, xlm-roberta, camembert, distilbert";

/// The non-linearity between the two halves of the feed-forward layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    /// x Φ(x), Φ by the error function.
    Gelu,
    /// The approximation of the same by a hyperbolic tangent.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

const ACTIVATIONS: &str = "gelu, gelu_new, gelu_pytorch_tanh, relu";

/// The network's dimensions.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) family: Family,
    pub(super) activation: Activation,
    /// Width of the hidden states.
    pub(super) hidden: usize,
    /// Width inside the feed-forward layer.
    pub(super) intermediate: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) vocabulary: usize,
    /// Rows of the position table.
    pub(super) positions: usize,
    /// The first row of the position table that a text uses.
    pub(super) position_offset: usize,
    /// Rows of the token-type table; 0 where the family has none.
    pub(super) token_types: usize,
    pub(super) layer_norm_epsilon: f32,
}

#[derive(Deserialize)]
struct Schema {
    #[serde(alias = "dim")]
    hidden_size: usize,
    #[serde(alias = "hidden_dim")]
    intermediate_size: usize,
    #[serde(alias = "n_layers")]
    num_hidden_layers: usize,
    #[serde(alias = "n_heads")]
    num_attention_heads: usize,
    #[serde(alias = "activation", default = "default_activation")]
    hidden_act: String,
    vocab_size: usize,
    max_position_embeddings: usize,
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(default = "default_epsilon")]
    layer_norm_eps: f32,
    #[serde(default)]
    pad_token_id: Option<usize>,
    #[serde(default)]
    position_embedding_type: Option<String>,
}

fn default_activation() -> String {
    "gelu".to_owned()
}

fn default_epsilon() -> f32 {
    1e-12
}

impl Config {
    /// Parses and checks `config.json`.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, EncoderError> {
        let malformed = |reason: String| EncoderError::Config { path: path.to_owned(), reason };
        // The family first: another architecture lacks other fields, and its name is what helps the reader.
        let unknown: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|source| malformed(json::problem_and_place(&source)))?;
        let model_type = unknown.get("model_type").and_then(serde_json::Value::as_str);
        let family = family(path, model_type.unwrap_or_default())?;
        let schema: Schema =
            serde_json::from_slice(bytes).map_err(|source| malformed(json::problem_and_place(&source)))?;
        schema.check(path)?;
        let activation = activation(path, &schema.hidden_act)?;
        let position_offset = match family {
            Family::Roberta => schema.pad_token_id.unwrap_or(1).saturating_add(1),
            Family::Bert | Family::DistilBert => 0,
        };
        if position_offset >= schema.max_position_embeddings {
            return Err(malformed(format!(
                "max_position_embeddings is {}, but positions start at {position_offset}",
                schema.max_position_embeddings
            )));
        }
        Ok(Self {
            family,
            activation,
            hidden: schema.hidden_size,
            intermediate: schema.intermediate_size,
            layers: schema.num_hidden_layers,
            heads: schema.num_attention_heads,
            vocabulary: schema.vocab_size,
            positions: schema.max_position_embeddings,
            position_offset,
            token_types: if family == Family::DistilBert { 0 } else { schema.type_vocab_size },
            layer_norm_epsilon: schema.layer_norm_eps,
        })
    }

    /// The longest sequence that the position table allows.
    pub(super) fn tokens_max(&self) -> usize {
        self.positions - self.position_offset
    }
}

impl Schema {
    fn check(&self, path: &Path) -> Result<(), EncoderError> {
        let malformed = |reason: String| EncoderError::Config { path: path.to_owned(), reason };
        let positive = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(malformed(format!("{name} is 0")));
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(malformed(format!(
                "hidden_size {} is not a multiple of num_attention_heads {}",
                self.hidden_size, self.num_attention_heads
            )));
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0) {
            return Err(malformed(format!("layer_norm_eps is {}", self.layer_norm_eps)));
        }
        match self.position_embedding_type.as_deref() {
            None | Some("absolute") => Ok(()),
            Some(other) => Err(EncoderError::Unsupported {
                path: path.to_owned(),
                what: format!("position_embedding_type `{other}`"),
                supported: "absolute",
            }),
        }
    }
}

fn family(path: &Path, model_type: &str) -> Result<Family, EncoderError> {
    match model_type {
        "bert" => Ok(Family::Bert),
        "roberta" | "xlm-roberta" | "camembert" => Ok(Family::Roberta),
        "distilbert" => Ok(Family::DistilBert),
        other => Err(EncoderError::Unsupported {
            path: path.to_owned(),
            what: format!("model_type `{other}`"),
            supported: FAMILIES,
        }),
    }
}

fn activation(path: &Path, name: &str) -> Result<Activation, EncoderError> {
    match name {
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        other => Err(EncoderError::Unsupported {
            path: path.to_owned(),
            what: format!("activation `{other}`"),
            supported: ACTIVATIONS,
        }),
    }
}
