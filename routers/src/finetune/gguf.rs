//! GGUF files as bases: their numbers in 32 bits, under the names and in the order of a Llama's folder.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::{Device, Tensor};
use serde_json::{Map, json};

use super::FinetuneError;
use super::config::Config;
use super::weights::{self, EMBEDDINGS, OUTPUT, OUTPUT_NORM, in_layer};

/// A layer's tensors, as the two kinds of files name them.
const LAYER: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

/// A base out of a GGUF file.
pub(super) fn load(
    path: &Path,
    device: &Device,
) -> Result<(Config, BTreeMap<String, Tensor>), FinetuneError> {
    let file = File::open(path).map_err(|source| FinetuneError::Read { path: path.to_owned(), source })?;
    let mut file = BufReader::new(file);
    let refuse = |reason: String| FinetuneError::Base { path: path.to_owned(), reason };
    let content = Content::read(&mut file).map_err(|source| refuse(source.to_string()))?;
    if content.tensor_infos.contains_key("rope_freqs.weight") {
        return Err(FinetuneError::Unsupported {
            path: path.to_owned(),
            what: "rope_freqs".to_owned(),
            supported: "GGUF files with evenly scaled positions; take the model's folder",
        });
    }
    let (mut config, is_llama) = config(path, &content)?;
    let mut tensors = BTreeMap::new();
    for (name, ours) in names(&config) {
        if !content.tensor_infos.contains_key(&name) {
            continue;
        }
        let tensor = content.tensor(&mut file, &name, device).map_err(|source| refuse(source.to_string()))?;
        let tensor = tensor.dequantize(device)?;
        let heads = match name.rsplit('.').nth(1) {
            Some("attn_q") if is_llama => Some(config.heads),
            Some("attn_k") if is_llama => Some(config.key_heads),
            _ => None,
        };
        let tensor = heads.map_or_else(|| Ok(tensor.clone()), |heads| unpermuted(&tensor, heads))?;
        tensors.insert(ours, tensor);
    }
    let tensors = weights::check(path, tensors, &mut config)?;
    if config.is_tied {
        config.file.insert("tie_word_embeddings".to_owned(), json!(true));
    }
    Ok((config, tensors))
}

/// Every tensor that may be there: its name, and its name in a folder.
fn names(config: &Config) -> Vec<(String, String)> {
    let mut names: Vec<(String, String)> =
        [("token_embd.weight", EMBEDDINGS), ("output.weight", OUTPUT), ("output_norm.weight", OUTPUT_NORM)]
            .map(|(name, ours)| (name.to_owned(), ours.to_owned()))
            .into();
    for layer in 0..config.layers {
        for (name, ours) in LAYER {
            names.extend(["weight", "bias"].map(|kind| {
                (format!("blk.{layer}.{name}.{kind}"), in_layer(layer, &format!("{ours}.{kind}")))
            }));
        }
    }
    names
}

/// The network's shape, as `config.json` would tell it, and whether it is a Llama's.
fn config(path: &Path, content: &Content) -> Result<(Config, bool), FinetuneError> {
    let refuse = |reason: String| FinetuneError::Base { path: path.to_owned(), reason };
    let get = |key: &str| content.metadata.get(key);
    let family = get("general.architecture").and_then(|value| value.to_string().ok()).cloned();
    let family = family.unwrap_or_default();
    let in_family = |key: &str| get(&format!("{family}.{key}"));
    let number = |key: &str| {
        let found = in_family(key).and_then(whole);
        found.ok_or_else(|| refuse(format!("{family}.{key} is missing, or not a whole number")))
    };
    let real = |key: &str| in_family(key).and_then(|value| value.to_f32().ok()).map(shortest);
    let tokens =
        get("tokenizer.ggml.tokens").and_then(|value| value.to_vec().ok()).map(|tokens| tokens.len() as u64);
    let heads = number("attention.head_count").unwrap_or(0);
    let mut file = Map::new();
    let mut put = |key: &str, value: serde_json::Value| {
        if !value.is_null() {
            file.insert(key.to_owned(), value);
        }
    };
    put("model_type", json!(family));
    put("architectures", json!([if family == "qwen2" { "Qwen2ForCausalLM" } else { "LlamaForCausalLM" }]));
    if ["llama", "qwen2"].contains(&family.as_str()) {
        put("hidden_size", json!(number("embedding_length")?));
        put("intermediate_size", json!(number("feed_forward_length")?));
        put("num_hidden_layers", json!(number("block_count")?));
        put("num_attention_heads", json!(number("attention.head_count")?));
    }
    put("num_key_value_heads", json!(in_family("attention.head_count_kv").and_then(whole).unwrap_or(heads)));
    put("head_dim", json!(in_family("attention.key_length").and_then(whole)));
    put("max_position_embeddings", json!(in_family("context_length").and_then(whole)));
    put("vocab_size", json!(in_family("vocab_size").and_then(whole).or(tokens)));
    put("rms_norm_eps", json!(real("attention.layer_norm_rms_epsilon").unwrap_or(1e-5)));
    put("rope_theta", json!(real("rope.freq_base").unwrap_or(10_000.0)));
    put("hidden_act", json!("silu"));
    put("tie_word_embeddings", json!(!content.tensor_infos.contains_key("output.weight")));
    put("bos_token_id", json!(get("tokenizer.ggml.bos_token_id").and_then(whole)));
    put("eos_token_id", json!(get("tokenizer.ggml.eos_token_id").and_then(whole)));
    Ok((Config::of(path, file)?, family == "llama"))
}

/// A whole number of any width.
fn whole(value: &Value) -> Option<u64> {
    value.to_u64().ok().or_else(|| value.to_i64().ok().and_then(|value| u64::try_from(value).ok()))
}

/// The number that was meant: 1e-5 rather than what 32 bits make of it.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| f64::from(value))
}

/// The rows of a product in the order of a folder: these files put the two values of a pair side by side, folders the
/// second values behind all first ones.
fn unpermuted(tensor: &Tensor, heads: usize) -> Result<Tensor, FinetuneError> {
    let dims = tensor.dims().to_vec();
    let rows = dims.first().copied().unwrap_or(0);
    let half = rows / heads.max(1) / 2;
    if half * heads * 2 != rows {
        // Of another shape than it should be, which the check of shapes says better.
        return Ok(tensor.clone());
    }
    let pairs = tensor.reshape((heads, half, 2, rows_width(&dims)))?;
    Ok(pairs.transpose(1, 2)?.contiguous()?.reshape(dims)?)
}

fn rows_width(dims: &[usize]) -> usize {
    dims.iter().skip(1).product()
}
