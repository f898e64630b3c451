//! What a network of the Llama family looks like: `config.json`, checked.

use std::f64::consts::PI;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::FinetuneError;
use crate::json;

/// The families whose blocks are trained.
const FAMILIES: &str = "llama, mistral, qwen2";

/// The network's dimensions.
#[derive(Debug, Clone)]
pub(super) struct Config {
    /// Width of the hidden states.
    pub(super) width: usize,
    /// Width inside the feed-forward layer.
    pub(super) inner: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    /// Heads of keys and values, each shared by several of `heads`.
    pub(super) key_heads: usize,
    pub(super) head_width: usize,
    /// Rows of the table of embeddings.
    pub(super) vocabulary: usize,
    pub(super) epsilon: f64,
    /// Whether the table of embeddings is the output matrix too.
    pub(super) is_tied: bool,
    /// By how many radians a position turns each pair of a head's values.
    pub(super) frequencies: Vec<f64>,
    /// The file as it was: what is not read here is written again.
    pub(super) file: Map<String, Value>,
}

#[derive(Deserialize)]
struct Schema {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_parameters: Option<Rope>,
    rope_scaling: Option<Rope>,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    use_sliding_window: bool,
    hidden_act: Option<String>,
}

/// How positions turn. Older files say only what is unusual, and name the kind otherwise.
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

impl Config {
    /// Parses and checks `config.json`.
    pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Self, FinetuneError> {
        let file = serde_json::from_slice(bytes).map_err(|source| malformed(path, &source))?;
        Self::of(path, file)
    }

    /// Checks what a file says.
    pub(super) fn of(path: &Path, file: Map<String, Value>) -> Result<Self, FinetuneError> {
        // The family first: another one lacks other fields, and its name is what helps the reader.
        match file.get("model_type").and_then(Value::as_str).unwrap_or_default() {
            "llama" | "mistral" | "qwen2" => {}
            other => return Err(unsupported(path, format!("model_type `{other}`"), FAMILIES)),
        }
        let schema: Schema =
            serde_json::from_value(Value::Object(file.clone())).map_err(|source| malformed(path, &source))?;
        let key_heads = schema.num_key_value_heads.unwrap_or(schema.num_attention_heads);
        schema.check(path, key_heads)?;
        let head_width = schema.head_dim.unwrap_or(schema.hidden_size / schema.num_attention_heads);
        if head_width == 0 || !head_width.is_multiple_of(2) {
            return Err(refuse(path, format!("heads are {head_width} wide, which is no number of pairs")));
        }
        Ok(Self {
            width: schema.hidden_size,
            inner: schema.intermediate_size,
            layers: schema.num_hidden_layers,
            heads: schema.num_attention_heads,
            key_heads,
            head_width,
            vocabulary: schema.vocab_size,
            epsilon: schema.rms_norm_eps,
            is_tied: schema.tie_word_embeddings,
            frequencies: schema.frequencies(path, head_width)?,
            file,
        })
    }
}

impl Schema {
    fn check(&self, path: &Path, key_heads: usize) -> Result<(), FinetuneError> {
        let positive = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", key_heads),
            ("vocab_size", self.vocab_size),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(refuse(path, format!("{name} is 0")));
        }
        if !self.num_attention_heads.is_multiple_of(key_heads) {
            let heads = self.num_attention_heads;
            return Err(refuse(path, format!("{heads} heads cannot share {key_heads} heads of keys evenly")));
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps >= 0.0) {
            return Err(refuse(path, format!("rms_norm_eps is {}", self.rms_norm_eps)));
        }
        if self.mlp_bias {
            return Err(unsupported(path, "mlp_bias".to_owned(), "feed-forward layers without biases"));
        }
        if self.use_sliding_window {
            return Err(unsupported(path, "use_sliding_window".to_owned(), "attention to all tokens before"));
        }
        match self.hidden_act.as_deref() {
            None | Some("silu" | "swish") => Ok(()),
            Some(other) => Err(unsupported(path, format!("activation `{other}`"), "silu")),
        }
    }

    fn frequencies(&self, path: &Path, head_width: usize) -> Result<Vec<f64>, FinetuneError> {
        let rope = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let base = self.rope_theta.or_else(|| rope?.rope_theta).unwrap_or(10_000.0);
        let pairs = 0..head_width / 2;
        let plain = pairs.map(|pair| base.powf(-2.0 * pair as f64 / head_width as f64));
        let kind =
            rope.and_then(|rope| rope.rope_type.as_deref().or(rope.old_type.as_deref())).unwrap_or("default");
        match (kind, rope) {
            ("default", _) => Ok(plain.collect()),
            ("llama3", Some(rope)) => {
                let stretch =
                    rope.stretch().ok_or_else(|| refuse(path, "rope_scaling lacks a factor".to_owned()))?;
                Ok(plain.map(stretch).collect())
            }
            (other, _) => Err(unsupported(path, format!("rope_type `{other}`"), "default, llama3")),
        }
    }
}

impl Rope {
    /// What Llama 3.1 does with a frequency: slow ones are divided, quick ones kept, those between mixed.
    fn stretch(&self) -> Option<impl Fn(f64) -> f64> {
        let (factor, low, high) = (self.factor?, self.low_freq_factor?, self.high_freq_factor?);
        let context = self.original_max_position_embeddings?;
        Some(move |frequency: f64| {
            let turns = context * frequency / (2.0 * PI);
            let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
            kept * frequency + (1.0 - kept) * frequency / factor
        })
    }
}

fn refuse(path: &Path, reason: String) -> FinetuneError {
    FinetuneError::Base { path: path.to_owned(), reason }
}

fn malformed(path: &Path, source: &serde_json::Error) -> FinetuneError {
    refuse(path, json::problem_and_place(source))
}

fn unsupported(path: &Path, what: String, supported: &'static str) -> FinetuneError {
    FinetuneError::Unsupported { path: path.to_owned(), what, supported }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn frequencies(rope: &Value) -> Vec<f64> {
        let mut file = json!({
            "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "num_attention_heads": 1,
            "vocab_size": 9, "rms_norm_eps": 1e-5,
        });
        file.as_object_mut().unwrap().extend(rope.as_object().unwrap().clone());
        Config::of(Path::new("config.json"), file.as_object().unwrap().clone()).unwrap().frequencies
    }

    #[test]
    fn positions_turn_by_the_base_wherever_it_stands() {
        let plain = frequencies(&json!({"rope_theta": 500_000.0}));
        assert_eq!((plain.len(), plain[0]), (32, 1.0));
        assert!((plain[16] - 500_000_f64.powf(-0.5)).abs() < 1e-12);
        let newer = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 500_000.0}, "rope_scaling": null});
        assert_eq!(frequencies(&newer), plain);
        assert!((frequencies(&json!({}))[16] - 0.01).abs() < 1e-12);
    }

    #[test]
    fn long_contexts_slow_down_what_is_slow() {
        let plain = frequencies(&json!({"rope_theta": 500_000.0}));
        let stretched = frequencies(&json!({"rope_theta": 500_000.0, "rope_scaling": {
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        }}));
        // More than four turns in the old context: kept; fewer than one: divided; between: mixed.
        let slower: Vec<f64> =
            plain.iter().zip(&stretched).map(|(plain, stretched)| plain / stretched).collect();
        assert!((slower[0] - 1.0).abs() < 1e-12 && (slower[31] - 8.0).abs() < 1e-9, "{slower:?}");
        assert!(slower.windows(2).all(|pair| pair[0] <= pair[1] + 1e-12));
        assert!(slower.iter().any(|slower| (1.5..7.0).contains(slower)), "{slower:?}");
    }
}
