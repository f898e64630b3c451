//! `config.json`: what the network looks like, checked.

use std::path::Path;

use serde::Deserialize;

use super::DecoderError;
use super::rope::Scaling;
use crate::json;

/// The network's dimensions.
#[derive(Debug, Clone)]
pub(super) struct Config {
    /// Width of the hidden states.
    pub(super) hidden: usize,
    /// Width inside the feed-forward layer.
    pub(super) intermediate: usize,
    pub(super) layers: usize,
    /// Heads of queries.
    pub(super) heads: usize,
    /// Heads of keys and values, each seen by as many heads of queries.
    pub(super) key_heads: usize,
    /// Width of a head.
    pub(super) head_size: usize,
    pub(super) vocabulary: usize,
    /// Most tokens of a sequence that see each other as they did in training.
    pub(super) positions: usize,
    pub(super) epsilon: f32,
    pub(super) rope_theta: f64,
    pub(super) rope_scaling: Scaling,
    /// Whether queries, keys and values have biases.
    pub(super) biases: bool,
    /// Whether the output layer is the table of embeddings.
    pub(super) tied: bool,
    /// Tokens that end a text.
    pub(super) ends: Vec<u32>,
}

pub(super) const FAMILIES: &str = "llama, mistral, qwen2";

#[derive(Deserialize)]
struct Schema {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f64>,
    #[serde(alias = "rope_parameters")]
    rope_scaling: Option<Rope>,
    sliding_window: Option<usize>,
    #[serde(default)]
    use_sliding_window: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "silu")]
    hidden_act: String,
    #[serde(default)]
    eos_token_id: Ends,
}

#[derive(Deserialize)]
struct Rope {
    rope_type: Option<String>,
    /// As older files call it, and newer ones beside it.
    #[serde(rename = "type")]
    old_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<f64>,
}

#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Ends {
    One(u32),
    Several(Vec<u32>),
    #[default]
    None,
}

fn silu() -> String {
    "silu".to_owned()
}

/// What the rotation of positions starts from where a file does not say.
pub(super) const ROPE_THETA: f64 = 10_000.0;

impl Config {
    /// Parses and checks `config.json`.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, DecoderError> {
        let malformed = |reason: String| DecoderError::Config { path: path.to_owned(), reason };
        // The family first: another architecture lacks other fields, and its name is what helps the reader.
        let unknown: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|source| malformed(json::problem_and_place(&source)))?;
        let family = unknown.get("model_type").and_then(serde_json::Value::as_str).unwrap_or_default();
        if !FAMILIES.split(", ").any(|known| known == family) {
            return Err(unsupported(path, format!("model_type `{family}`"), FAMILIES));
        }
        let schema: Schema =
            serde_json::from_slice(bytes).map_err(|source| malformed(json::problem_and_place(&source)))?;
        schema.check_layers(path)?;
        let window = match family {
            "mistral" => schema.sliding_window,
            "qwen2" if schema.use_sliding_window => schema.sliding_window,
            _ => None,
        };
        let heads = schema.num_attention_heads;
        let config = Self {
            hidden: schema.hidden_size,
            intermediate: schema.intermediate_size,
            layers: schema.num_hidden_layers,
            heads,
            key_heads: schema.num_key_value_heads.unwrap_or(heads),
            head_size: schema.head_dim.unwrap_or_else(|| schema.hidden_size.checked_div(heads).unwrap_or(0)),
            vocabulary: schema.vocab_size,
            positions: window.unwrap_or(usize::MAX).min(schema.max_position_embeddings),
            epsilon: schema.rms_norm_eps,
            rope_theta: schema.theta(),
            rope_scaling: schema
                .rope_scaling
                .as_ref()
                .map_or(Ok(Scaling::None), |rope| rope.scaling(path))?,
            biases: family == "qwen2",
            tied: schema.tie_word_embeddings,
            ends: schema.eos_token_id.into(),
        };
        config.check().map_err(malformed)?;
        Ok(config)
    }

    /// What is wrong with dimensions that no network has.
    pub(super) fn check(&self) -> Result<(), String> {
        let positive = [
            ("width", self.hidden),
            ("width of the feed-forward layer", self.intermediate),
            ("number of layers", self.layers),
            ("number of heads", self.heads),
            ("number of heads of keys", self.key_heads),
            ("width of a head", self.head_size),
            ("size of the vocabulary", self.vocabulary),
            ("longest sequence", self.positions),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(format!("the {name} is 0"));
        }
        if !self.heads.is_multiple_of(self.key_heads) {
            return Err(format!("{} heads cannot share {} heads of keys", self.heads, self.key_heads));
        }
        if !self.head_size.is_multiple_of(2) {
            return Err(format!("the width of a head is {}, which is odd", self.head_size));
        }
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return Err(format!("the norms' epsilon is {}", self.epsilon));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta >= 1.0) {
            return Err(format!("the rotation's theta is {}", self.rope_theta));
        }
        // No product of two dimensions may wrap; what is read is then held against what a file has.
        let widths = [self.heads.checked_mul(self.head_size), self.intermediate.checked_mul(2)];
        if widths.iter().any(|width| width.is_none_or(|width| width > 1 << 24)) || self.hidden > 1 << 24 {
            return Err("the network is wider than any file could hold".to_owned());
        }
        Ok(())
    }

    /// Outputs of the layer that gives queries, keys and values.
    pub(super) fn query_key_value(&self) -> usize {
        (self.heads + 2 * self.key_heads) * self.head_size
    }
}

impl Schema {
    fn check_layers(&self, path: &Path) -> Result<(), DecoderError> {
        if self.hidden_act != "silu" {
            return Err(unsupported(path, format!("activation `{}`", self.hidden_act), "silu"));
        }
        let biased = [("attention_bias", self.attention_bias), ("mlp_bias", self.mlp_bias)];
        match biased.iter().find(|(_, there)| *there) {
            Some((name, _)) => Err(unsupported(path, format!("`{name}`: true"), "false")),
            None => Ok(()),
        }
    }

    fn theta(&self) -> f64 {
        let inner = self.rope_scaling.as_ref().and_then(|rope| rope.rope_theta);
        self.rope_theta.or(inner).unwrap_or(ROPE_THETA)
    }
}

impl Rope {
    fn scaling(&self, path: &Path) -> Result<Scaling, DecoderError> {
        let get = |name: &str, value: Option<f64>| {
            value.filter(|value| value.is_finite() && *value > 0.0).ok_or_else(|| DecoderError::Config {
                path: path.to_owned(),
                reason: format!("rope_scaling lacks a positive `{name}`"),
            })
        };
        match self.rope_type.as_deref().or(self.old_type.as_deref()) {
            None | Some("default") => Ok(Scaling::None),
            Some("linear") => Ok(Scaling::Linear { factor: get("factor", self.factor)? }),
            Some("llama3") => Ok(Scaling::Llama3 {
                factor: get("factor", self.factor)?,
                low: get("low_freq_factor", self.low_freq_factor)?,
                high: get("high_freq_factor", self.high_freq_factor)?,
                positions: get("original_max_position_embeddings", self.original_max_position_embeddings)?,
            }),
            Some(other) => {
                Err(unsupported(path, format!("rope_scaling `{other}`"), "default, linear, llama3"))
            }
        }
    }
}

impl From<Ends> for Vec<u32> {
    fn from(ends: Ends) -> Self {
        match ends {
            Ends::One(token) => vec![token],
            Ends::Several(tokens) => tokens,
            Ends::None => Self::new(),
        }
    }
}

pub(super) fn unsupported(path: &Path, what: String, supported: &'static str) -> DecoderError {
    DecoderError::Unsupported { path: path.to_owned(), what, supported }
}
