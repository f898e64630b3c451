//! Tensors by name, out of safetensors files or a GGUF file: 32-bit floats, checked for shape, type and finiteness.

use std::path::{Path, PathBuf};

use safetensors::tensor::SafeTensors;

use super::DecoderError;
use crate::encoder::tensors::to_floats;
use crate::gguf::Gguf;

/// Opened files of weights.
pub(super) enum Weights<'a> {
    /// One file, or the shards of a folder.
    Safetensors(Vec<(PathBuf, SafeTensors<'a>)>),
    Gguf {
        path: &'a Path,
        file: &'a Gguf<'a>,
        /// Whether what turns together lies together.
        pairs_together: bool,
    },
}

/// What tensors are called.
pub(super) struct Names {
    pub(super) embeddings: &'static str,
    pub(super) output: &'static str,
    pub(super) norm: &'static str,
    /// What a block's tensors start with, before its number.
    pub(super) block: &'static str,
    // Within a block, before `.weight` or `.bias`.
    pub(super) attention_norm: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) attention_output: &'static str,
    pub(super) wide_norm: &'static str,
    pub(super) gate: &'static str,
    pub(super) widen: &'static str,
    pub(super) narrow: &'static str,
}

const FOLDER_NAMES: Names = Names {
    embeddings: "model.embed_tokens.weight",
    output: "lm_head.weight",
    norm: "model.norm.weight",
    block: "model.layers",
    attention_norm: "input_layernorm",
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    attention_output: "self_attn.o_proj",
    wide_norm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    widen: "mlp.up_proj",
    narrow: "mlp.down_proj",
};

const GGUF_NAMES: Names = Names {
    embeddings: "token_embd.weight",
    output: super::gguf_model::OUTPUT,
    norm: "output_norm.weight",
    block: "blk",
    attention_norm: "attn_norm",
    query: "attn_q",
    key: "attn_k",
    value: "attn_v",
    attention_output: "attn_output",
    wide_norm: "ffn_norm",
    gate: "ffn_gate",
    widen: "ffn_up",
    narrow: "ffn_down",
};

impl<'a> Weights<'a> {
    /// Opens safetensors files; each tensor is in one of them.
    pub(super) fn safetensors(files: &'a [(PathBuf, Vec<u8>)]) -> Result<Self, DecoderError> {
        let open = |(path, bytes): &'a (PathBuf, Vec<u8>)| {
            let file = SafeTensors::deserialize(bytes)
                .map_err(|source| DecoderError::Weights { path: path.clone(), reason: source.to_string() })?;
            Ok((path.clone(), file))
        };
        files.iter().map(open).collect::<Result<_, _>>().map(Self::Safetensors)
    }

    pub(super) fn names(&self) -> &'static Names {
        match self {
            Self::Safetensors(_) => &FOLDER_NAMES,
            Self::Gguf { .. } => &GGUF_NAMES,
        }
    }

    /// Whether the rows of queries and keys that turn together are neighbours, and not half a head apart.
    pub(super) fn pairs_lie_together(&self) -> bool {
        matches!(self, Self::Gguf { pairs_together: true, .. })
    }

    /// A tensor of exactly this shape, row by row.
    pub(super) fn read(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, DecoderError> {
        match self {
            Self::Safetensors(files) => read_safetensors(files, name, shape),
            Self::Gguf { path, file, .. } => read_gguf(path, file, name, shape),
        }
    }
}

const MISSING: &str = "is missing; the file is not whole, or of another model than the configuration";

fn read_safetensors(
    files: &[(PathBuf, SafeTensors<'_>)],
    name: &str,
    shape: &[usize],
) -> Result<Vec<f32>, DecoderError> {
    let found = files.iter().find_map(|(path, file)| Some((path, file.tensor(name).ok()?)));
    let Some((path, view)) = found else {
        let path = files.first().map(|(path, _)| path.as_path()).unwrap_or_else(|| Path::new(""));
        return Err(refuse(path, name, MISSING.to_owned()));
    };
    if view.shape() != shape {
        return Err(refuse(path, name, format!("has shape {:?}, expected {shape:?}", view.shape())));
    }
    let values = to_floats(&view).ok_or_else(|| {
        refuse(
            path,
            name,
            format!("holds {:?}, which is not supported (supported: F32, F16, BF16)", view.dtype()),
        )
    })?;
    finite(path, name, values)
}

fn read_gguf(path: &Path, file: &Gguf<'_>, name: &str, shape: &[usize]) -> Result<Vec<f32>, DecoderError> {
    let tensor = file.tensor(name).ok_or_else(|| refuse(path, name, MISSING.to_owned()))?;
    if !tensor.has_shape(shape) {
        return Err(refuse(path, name, format!("has shape {:?}, expected {shape:?}", tensor.shape())));
    }
    finite(path, name, tensor.to_floats())
}

fn finite(path: &Path, name: &str, values: Vec<f32>) -> Result<Vec<f32>, DecoderError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(place) => Err(refuse(path, name, format!("holds {} at {place}", values[place]))),
        None => Ok(values),
    }
}

fn refuse(path: &Path, name: &str, reason: String) -> DecoderError {
    DecoderError::Tensor { path: path.to_owned(), name: name.to_owned(), reason }
}
