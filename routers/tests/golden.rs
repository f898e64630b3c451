//! Decoders against another implementation: the same weights through candle's models, which share no code with ours.
//!
//! Tiny networks of random weights are always compared; SmolLM2-135M-Instruct where `POINTSMAN_SMOLLM2` says where its
//! GGUF file is, read by candle's own reader too.

#![cfg(test)]

use std::collections::HashMap;
use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use candle_core::{DType, Device, Tensor};
use candle_nn::{Activation, VarBuilder};
use candle_transformers::models::{llama, qwen2};
use faer::Mat;
use pointsman_routers::decoder::{Decoder, Precision};
use serde_json::json;
use tempfile::TempDir;

const VOCABULARY: usize = 300;
const HIDDEN: usize = 48;
const WIDE: usize = 80;
const LAYERS: usize = 3;
const HEADS: usize = 6;
const KEY_HEADS: usize = 2;
const POSITIONS: usize = 256;
const THETA: f32 = 1000.0;
const EPSILON: f64 = 1e-6;

/// How far a logit may be from candle's.
const TOLERANCE: f32 = 1e-3;

type Tensors = HashMap<String, Tensor>;

/// What candle says of a prompt's next token.
trait Golden {
    fn logits(&mut self, tokens: &[u32]) -> Vec<f32>;
}

struct Llama(llama::Llama, llama::Config);

impl Golden for Llama {
    fn logits(&mut self, tokens: &[u32]) -> Vec<f32> {
        let mut cache = llama::Cache::new(false, DType::F32, &self.1, &Device::Cpu).unwrap();
        let tokens = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        let logits = self.0.forward(&tokens, 0, &mut cache).unwrap();
        logits.flatten_all().unwrap().to_vec1().unwrap()
    }
}

struct Qwen2(qwen2::ModelForCausalLM);

impl Golden for Qwen2 {
    fn logits(&mut self, tokens: &[u32]) -> Vec<f32> {
        self.0.clear_kv_cache();
        let tokens = Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap();
        self.0.forward(&tokens, 0).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }
}

fn ours(decoder: &Decoder, tokens: &[u32]) -> Mat<f32> {
    // In two parts, so that the prefix is in what is compared.
    let (first, last) = tokens.split_at(tokens.len() / 2);
    let hidden = decoder.branch(&decoder.prefix(first).unwrap(), &[last]).unwrap();
    decoder.logits(hidden.as_ref())
}

/// The largest difference of candle's twenty best logits; the best must be ours too.
fn compare(golden: &[f32], ours: &Mat<f32>) -> f32 {
    assert_eq!(golden.len(), ours.ncols());
    let mut order: Vec<usize> = (0..golden.len()).collect();
    order.sort_by(|a, b| golden[*b].total_cmp(&golden[*a]));
    let best = (0..ours.ncols()).max_by(|a, b| ours[(0, *a)].total_cmp(&ours[(0, *b)]));
    assert_eq!(best, Some(order[0]));
    order[..20].iter().map(|token| (golden[*token] - ours[(0, *token)]).abs()).fold(0.0, f32::max)
}

fn llama_config(scaling: Option<llama::Llama3RopeConfig>) -> llama::Config {
    llama::Config {
        hidden_size: HIDDEN,
        intermediate_size: WIDE,
        vocab_size: VOCABULARY,
        num_hidden_layers: LAYERS,
        num_attention_heads: HEADS,
        num_key_value_heads: KEY_HEADS,
        use_flash_attn: false,
        rms_norm_eps: EPSILON,
        rope_theta: THETA,
        bos_token_id: None,
        eos_token_id: None,
        rope_scaling: scaling,
        max_position_embeddings: POSITIONS,
        tie_word_embeddings: false,
    }
}

/// A network of random weights under the names of the folders.
fn random_tensors() -> Tensors {
    let head = HIDDEN / HEADS;
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("lm_head.weight".to_owned(), vec![VOCABULARY, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        for (part, shape) in [
            ("self_attn.q_proj.weight", vec![HIDDEN, HIDDEN]),
            ("self_attn.k_proj.weight", vec![KEY_HEADS * head, HIDDEN]),
            ("self_attn.v_proj.weight", vec![KEY_HEADS * head, HIDDEN]),
            ("self_attn.q_proj.bias", vec![HIDDEN]),
            ("self_attn.k_proj.bias", vec![KEY_HEADS * head]),
            ("self_attn.v_proj.bias", vec![KEY_HEADS * head]),
            ("self_attn.o_proj.weight", vec![HIDDEN, HIDDEN]),
            ("mlp.gate_proj.weight", vec![WIDE, HIDDEN]),
            ("mlp.up_proj.weight", vec![WIDE, HIDDEN]),
            ("mlp.down_proj.weight", vec![HIDDEN, WIDE]),
            ("input_layernorm.weight", vec![HIDDEN]),
            ("post_attention_layernorm.weight", vec![HIDDEN]),
        ] {
            shapes.push((format!("model.layers.{layer}.{part}"), shape));
        }
    }
    let random = |shape: Vec<usize>| Tensor::randn(0f32, 0.3, shape, &Device::Cpu).unwrap();
    shapes.into_iter().map(|(name, shape)| (name, random(shape))).collect()
}

fn write_folder(folder: &Path, family: &str, tensors: &Tensors, scaling: serde_json::Value) {
    let config = json!({
        "model_type": family, "hidden_size": HIDDEN, "intermediate_size": WIDE, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS, "vocab_size": VOCABULARY,
        "max_position_embeddings": POSITIONS, "rms_norm_eps": EPSILON, "rope_theta": THETA, "rope_scaling": scaling,
        "tie_word_embeddings": family == "qwen2",
    });
    let tokenizer = json!({
        "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null,
        "decoder": null, "truncation": null, "padding": null,
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1}, "merges": []},
    });
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    std::fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    candle_core::safetensors::save(tensors, folder.join("model.safetensors")).unwrap();
}

fn compare_folder(family: &str, tensors: &Tensors, scaling: serde_json::Value, golden: &mut dyn Golden) {
    let folder = TempDir::new().unwrap();
    write_folder(folder.path(), family, tensors, scaling);
    let decoder = Decoder::load(folder.path(), Precision::F32).unwrap();
    for length in [2usize, 3, 17, 64, 150] {
        let tokens: Vec<u32> =
            (0..length).map(|place| ((place * 131 + length) % VOCABULARY) as u32).collect();
        let difference = compare(&golden.logits(&tokens), &ours(&decoder, &tokens));
        assert!(difference < TOLERANCE, "{family}, {length} tokens: {difference}");
    }
}

#[test]
fn a_random_llama_agrees() {
    let tensors = random_tensors();
    let scaled = llama::Llama3RopeConfig {
        factor: 4.0,
        low_freq_factor: 1.0,
        high_freq_factor: 4.0,
        original_max_position_embeddings: 64,
        rope_type: llama::Llama3RopeType::Llama3,
    };
    let json = json!({"rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                      "original_max_position_embeddings": 64});
    for (scaling, json) in [(None, json!(null)), (Some(scaled), json)] {
        let config = llama_config(scaling);
        let weights = VarBuilder::from_tensors(tensors.clone(), DType::F32, &Device::Cpu);
        let mut golden = Llama(llama::Llama::load(weights, &config).unwrap(), config);
        compare_folder("llama", &tensors, json, &mut golden);
    }
}

#[test]
fn a_random_qwen2_agrees() {
    let config = qwen2::Config {
        vocab_size: VOCABULARY,
        hidden_size: HIDDEN,
        intermediate_size: WIDE,
        num_hidden_layers: LAYERS,
        num_attention_heads: HEADS,
        num_key_value_heads: KEY_HEADS,
        max_position_embeddings: POSITIONS,
        sliding_window: POSITIONS,
        max_window_layers: LAYERS,
        tie_word_embeddings: true,
        rope_theta: f64::from(THETA),
        rms_norm_eps: EPSILON,
        use_sliding_window: false,
        hidden_act: Activation::Silu,
    };
    let mut tensors = random_tensors();
    tensors.remove("lm_head.weight");
    let weights = VarBuilder::from_tensors(tensors.clone(), DType::F32, &Device::Cpu);
    let mut golden = Qwen2(qwen2::ModelForCausalLM::new(&config, weights).unwrap());
    compare_folder("qwen2", &tensors, json!(null), &mut golden);
}

/// SmolLM2 as candle reads it: dequantised, under the names of its Llama, what turns together half a head apart.
fn smol(path: &Path) -> Llama {
    let mut file = std::fs::File::open(path).unwrap();
    let content = Content::read(&mut file).unwrap();
    let number = |key: &str| content.metadata[&format!("llama.{key}")].to_u32().unwrap() as usize;
    let float = |key: &str| content.metadata[&format!("llama.{key}")].to_f32().unwrap();
    let config = llama::Config {
        hidden_size: number("embedding_length"),
        intermediate_size: number("feed_forward_length"),
        vocab_size: number("vocab_size"),
        num_hidden_layers: number("block_count"),
        num_attention_heads: number("attention.head_count"),
        num_key_value_heads: number("attention.head_count_kv"),
        rms_norm_eps: f64::from(float("attention.layer_norm_rms_epsilon")),
        rope_theta: float("rope.freq_base"),
        tie_word_embeddings: true,
        ..llama_config(None)
    };
    let names = [
        ("token_embd", "model.embed_tokens"),
        ("output_norm", "model.norm"),
        ("blk.", "model.layers."),
        ("attn_norm", "input_layernorm"),
        ("ffn_norm", "post_attention_layernorm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ];
    let mut tensors = Tensors::new();
    for name in content.tensor_infos.keys() {
        let tensor = content.tensor(&mut file, name, &Device::Cpu).unwrap();
        let mut tensor = tensor.dequantize(&Device::Cpu).unwrap();
        for (part, heads) in
            [("attn_q.", config.num_attention_heads), ("attn_k.", config.num_key_value_heads)]
        {
            if name.contains(part) {
                let (rows, columns) = tensor.dims2().unwrap();
                let pairs = tensor.reshape((heads, rows / heads / 2, 2, columns)).unwrap();
                tensor =
                    pairs.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, columns)).unwrap();
            }
        }
        let name = names.iter().fold(name.clone(), |name, (from, to)| name.replace(from, to));
        tensors.insert(name, tensor);
    }
    let weights = VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu);
    Llama(llama::Llama::load(weights, &config).unwrap(), config)
}

/// Two hundred short prompts: ten ways to ask for each of twenty things.
fn prompts() -> Vec<String> {
    let things = "a bridge; the sea at night; photosynthesis; bread without yeast; sorting 1000 numbers; \
                  the Roman Senate; black holes; a chess opening; rain in spring; an honest contract; the square root of 2; jazz; bees; \
                  the French verb être; fn main() {}; vaccines; a lost key; steel; kindness; tomorrow's weather";
    let ways = [
        "Explain",
        "Write a short poem about",
        "What is the most important fact about",
        "List three uses of",
        "Why do people care about",
        "Q: Tell me of",
        "In 50 words, describe",
        "Translate into German:",
        "Compare with its opposite:",
        "The history of",
    ];
    let things: Vec<&str> = things.split("; ").collect();
    ways.iter().flat_map(|way| things.iter().map(move |thing| format!("{way} {thing}"))).collect()
}

#[test]
fn smol_lm_2_agrees_on_two_hundred_prompts() {
    let Some(path) = std::env::var_os("POINTSMAN_SMOLLM2") else {
        eprintln!("skipped: set POINTSMAN_SMOLLM2 to a GGUF file of SmolLM2-135M-Instruct");
        return;
    };
    let mut golden = smol(Path::new(&path));
    let decoder = Decoder::load(Path::new(&path), Precision::F32).unwrap();
    let prompts = prompts();
    assert_eq!(prompts.len(), 200);
    let mut worst = 0f32;
    for prompt in &prompts {
        let tokens = decoder.tokens(prompt).unwrap();
        worst = worst.max(compare(&golden.logits(&tokens), &ours(&decoder, &tokens)));
    }
    eprintln!("the largest difference of a logit: {worst}");
    assert!(worst < TOLERANCE, "{worst}");
}
