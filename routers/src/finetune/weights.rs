//! The tensors of a network by their names in a Llama's `model.safetensors`, checked for shape.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::FinetuneError;
use super::config::Config;
use super::files::read;

pub(super) const EMBEDDINGS: &str = "model.embed_tokens.weight";
pub(super) const OUTPUT: &str = "lm_head.weight";
pub(super) const OUTPUT_NORM: &str = "model.norm.weight";

/// The products of a layer that may have a bias.
const ATTENTION: [&str; 4] = ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"];

/// The name of a layer's tensor.
pub(super) fn in_layer(layer: usize, part: &str) -> String {
    format!("model.layers.{layer}.{part}")
}

/// Whether a tensor decays: matrices do, norms and biases don't.
pub(super) fn decays(tensor: &Tensor) -> bool {
    tensor.rank() > 1
}

/// Every tensor that the network must have, with its shape.
pub(super) fn required(config: &Config) -> Vec<(String, Vec<usize>)> {
    let Config { width, inner, heads, key_heads, head_width, vocabulary, .. } = *config;
    let (all, shared) = (heads * head_width, key_heads * head_width);
    let mut tensors =
        vec![(EMBEDDINGS.to_owned(), vec![vocabulary, width]), (OUTPUT_NORM.to_owned(), vec![width])];
    if !config.is_tied {
        tensors.push((OUTPUT.to_owned(), vec![vocabulary, width]));
    }
    for layer in 0..config.layers {
        let parts = [
            ("input_layernorm", vec![width]),
            ("self_attn.q_proj", vec![all, width]),
            ("self_attn.k_proj", vec![shared, width]),
            ("self_attn.v_proj", vec![shared, width]),
            ("self_attn.o_proj", vec![width, all]),
            ("post_attention_layernorm", vec![width]),
            ("mlp.gate_proj", vec![inner, width]),
            ("mlp.up_proj", vec![inner, width]),
            ("mlp.down_proj", vec![width, inner]),
        ];
        tensors.extend(parts.map(|(part, shape)| (in_layer(layer, &format!("{part}.weight")), shape)));
    }
    tensors
}

/// Loads `model.safetensors` in 32 bits.
pub(super) fn load(
    path: &Path,
    config: &mut Config,
    device: &Device,
) -> Result<BTreeMap<String, Tensor>, FinetuneError> {
    let bytes = read(path)?;
    let tensors =
        candle_core::safetensors::load_buffer(&bytes, device).map_err(|source| FinetuneError::Base {
            path: path.to_owned(),
            reason: format!("not a whole safetensors file: {source}"),
        })?;
    check(path, tensors.into_iter().collect(), config)
}

/// The network's tensors out of `tensors`, in 32 bits; a network without an output matrix is tied.
pub(super) fn check(
    path: &Path,
    mut tensors: BTreeMap<String, Tensor>,
    config: &mut Config,
) -> Result<BTreeMap<String, Tensor>, FinetuneError> {
    let refuse = |name: &str, reason: String| FinetuneError::Base {
        path: path.to_owned(),
        reason: format!("tensor `{name}` {reason}"),
    };
    config.is_tied |= !tensors.contains_key(OUTPUT);
    let mut wanted = BTreeMap::new();
    for (name, shape) in required(config) {
        let tensor = tensors.remove(&name).ok_or_else(|| refuse(&name, "is missing".to_owned()))?;
        if tensor.dims() != shape {
            return Err(refuse(&name, format!("has shape {:?}, expected {shape:?}", tensor.dims())));
        }
        wanted.insert(name, tensor.to_dtype(DType::F32)?);
    }
    let products = (0..config.layers).flat_map(|layer| ATTENTION.map(|part| in_layer(layer, part)));
    for product in products {
        let rows = wanted
            .get(&format!("{product}.weight"))
            .map_or(0, |weight| weight.dims().first().copied().unwrap_or(0));
        let name = format!("{product}.bias");
        let Some(bias) = tensors.remove(&name) else { continue };
        if bias.dims() != [rows] {
            return Err(refuse(&name, format!("has shape {:?}, expected [{rows}]", bias.dims())));
        }
        wanted.insert(name, bias.to_dtype(DType::F32)?);
    }
    Ok(wanted)
}
