//! The network's dimensions from the metadata of a GGUF file.

use std::path::Path;

use super::DecoderError;
use super::config::{Config, ROPE_THETA, unsupported};
use super::rope::Scaling;
use crate::gguf::{Gguf, Value};

/// The output layer's tensor; a file without it uses the table of embeddings.
pub(super) const OUTPUT: &str = "output.weight";
/// How much slower each pair of a head turns, where a file says.
const ROPE_FACTORS: &str = "rope_freqs.weight";

/// A file's metadata, under the keys of its architecture.
struct Metadata<'a> {
    path: &'a Path,
    file: &'a Gguf<'a>,
    architecture: &'a str,
}

/// Whether queries and keys of this file lie with what turns together as neighbours.
pub(super) fn pairs_together(file: &Gguf<'_>) -> bool {
    file.value("general.architecture").and_then(Value::text) == Some("llama")
}

/// Reads and checks the metadata of a file whose tokenizer has this many tokens.
pub(super) fn config(path: &Path, file: &Gguf<'_>, tokens: usize) -> Result<Config, DecoderError> {
    let architecture = file.value("general.architecture").and_then(Value::text).unwrap_or_default();
    if !["llama", "qwen2"].contains(&architecture) {
        return Err(unsupported(path, format!("architecture `{architecture}`"), "llama, qwen2"));
    }
    let metadata = Metadata { path, file, architecture };
    metadata.refuse_experts()?;
    let (hidden, heads) = (metadata.size("embedding_length")?, metadata.size("attention.head_count")?);
    let head_size = match metadata.optional_size("attention.key_length")? {
        Some(size) => size,
        None => hidden.checked_div(heads).unwrap_or(0),
    };
    let turned = metadata.optional_size("rope.dimension_count")?.unwrap_or(head_size);
    if turned != head_size {
        let what = format!("a rotation of {turned} of a head's {head_size} values");
        return Err(unsupported(path, what, "all of them"));
    }
    let positions = metadata.size("context_length")?;
    let window = metadata.optional_size("attention.sliding_window")?.filter(|window| *window > 0);
    let config = Config {
        hidden,
        intermediate: metadata.size("feed_forward_length")?,
        layers: metadata.size("block_count")?,
        heads,
        key_heads: metadata.optional_size("attention.head_count_kv")?.unwrap_or(heads),
        head_size,
        vocabulary: tokens,
        positions: window.unwrap_or(usize::MAX).min(positions),
        epsilon: metadata
            .number("attention.layer_norm_rms_epsilon")?
            .ok_or_else(|| metadata.lacks("attention.layer_norm_rms_epsilon"))? as f32,
        rope_theta: metadata.number("rope.freq_base")?.unwrap_or(ROPE_THETA),
        rope_scaling: metadata.scaling(head_size)?,
        biases: architecture == "qwen2",
        tied: file.tensor(OUTPUT).is_none(),
        ends: metadata.ends(),
    };
    config.check().map_err(|reason| DecoderError::Config { path: path.to_owned(), reason })?;
    Ok(config)
}

impl Metadata<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn lacks(&self, name: &str) -> DecoderError {
        self.refuse(format!("metadata `{}` is missing; convert the model anew", self.key(name)))
    }

    fn refuse(&self, reason: String) -> DecoderError {
        DecoderError::Config { path: self.path.to_owned(), reason }
    }

    fn size(&self, name: &str) -> Result<usize, DecoderError> {
        self.optional_size(name)?.ok_or_else(|| self.lacks(name))
    }

    fn optional_size(&self, name: &str) -> Result<Option<usize>, DecoderError> {
        let Some(value) = self.file.value(&self.key(name)) else { return Ok(None) };
        let size = value.unsigned().and_then(|value| usize::try_from(value).ok());
        size.map(Some)
            .ok_or_else(|| self.refuse(format!("metadata `{}` is no whole number from 0", self.key(name))))
    }

    fn number(&self, name: &str) -> Result<Option<f64>, DecoderError> {
        let Some(value) = self.file.value(&self.key(name)) else { return Ok(None) };
        value
            .number()
            .map(Some)
            .ok_or_else(|| self.refuse(format!("metadata `{}` is no number", self.key(name))))
    }

    fn refuse_experts(&self) -> Result<(), DecoderError> {
        match self.optional_size("expert_count")? {
            None | Some(0) => Ok(()),
            Some(experts) => {
                Err(unsupported(self.path, format!("a mixture of {experts} experts"), "one network"))
            }
        }
    }

    fn scaling(&self, head_size: usize) -> Result<Scaling, DecoderError> {
        let kind = self.file.value(&self.key("rope.scaling.type")).and_then(Value::text);
        match kind {
            None | Some("none") => {}
            Some("linear") => {
                let factor = self.number("rope.scaling.factor")?.filter(|factor| *factor > 0.0);
                let factor = factor.ok_or_else(|| self.lacks("rope.scaling.factor"))?;
                return Ok(Scaling::Linear { factor });
            }
            Some(other) => {
                return Err(unsupported(self.path, format!("rope scaling `{other}`"), "none, linear"));
            }
        }
        let Some(factors) = self.file.tensor(ROPE_FACTORS) else { return Ok(Scaling::None) };
        let values = factors.to_floats();
        if values.len() != head_size / 2 || !values.iter().all(|value| value.is_finite() && *value > 0.0) {
            let reason = format!("does not hold {} positive factors", head_size / 2);
            let name = ROPE_FACTORS.to_owned();
            return Err(DecoderError::Tensor { path: self.path.to_owned(), name, reason });
        }
        Ok(Scaling::Factors(values))
    }

    fn ends(&self) -> Vec<u32> {
        let keys = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"];
        let token = |key: &&str| self.file.value(key).and_then(Value::unsigned)?.try_into().ok();
        keys.iter().filter_map(token).collect()
    }
}
