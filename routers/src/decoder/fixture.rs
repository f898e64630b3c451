//! A tiny decoder made up for tests: folders and GGUF files of every family, and the network's definition in plain
//! loops to check the fast one against.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::gguf::fixture::Builder;

pub(crate) const HIDDEN: usize = 64;
pub(crate) const WIDE: usize = 96;
pub(crate) const LAYERS: usize = 2;
pub(crate) const HEADS: usize = 4;
pub(crate) const KEY_HEADS: usize = 2;
pub(crate) const HEAD: usize = 16;
pub(crate) const POSITIONS: usize = 700;
const EPSILON: f64 = 1e-5;
const THETA: f64 = 500.0;
const MERGES: [&str; 4] = ["t h", "th e", "Ġ the", "1 2"];
const SPECIAL: [&str; 2] = ["<|start|>", "<|end|>"];

/// What to write into a folder.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) config: Value,
    pub(crate) tokenizer: Value,
    /// Tensors by their name in a folder.
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Fixture {
    /// An output layer of its own, no biases.
    pub(crate) fn llama() -> Self {
        let config = json!({
            "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": WIDE, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS, "vocab_size": tokens().len(),
            "max_position_embeddings": POSITIONS, "rms_norm_eps": EPSILON, "rope_theta": THETA,
            "hidden_act": "silu", "eos_token_id": tokens().len() - 1, "tie_word_embeddings": false,
        });
        let mut tensors = tensors();
        tensors.retain(|name, _| !name.ends_with("bias"));
        Self { config, tokenizer: tokenizer(), tensors }
    }

    /// Biases of queries, keys and values; the table of embeddings as output layer.
    pub(crate) fn qwen2() -> Self {
        let mut fixture = Self { tensors: tensors(), ..Self::llama() };
        fixture.config["model_type"] = json!("qwen2");
        fixture.config["tie_word_embeddings"] = json!(true);
        fixture.tensors.remove("lm_head.weight");
        fixture
    }

    pub(crate) fn write(&self, folder: &Path) {
        std::fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        std::fs::write(folder.join("tokenizer.json"), self.tokenizer.to_string()).unwrap();
        std::fs::write(folder.join("model.safetensors"), safetensors_of(&self.tensors)).unwrap();
    }

    /// The same in two shards and their index.
    pub(crate) fn write_shards(&self, folder: &Path) {
        self.write(folder);
        std::fs::remove_file(folder.join("model.safetensors")).unwrap();
        let (first, second): (BTreeMap<_, _>, BTreeMap<_, _>) =
            self.tensors.clone().into_iter().partition(|(name, _)| name.contains(".0."));
        let mut map = serde_json::Map::new();
        for (name, part) in [("model-1.safetensors", first), ("model-2.safetensors", second)] {
            std::fs::write(folder.join(name), safetensors_of(&part)).unwrap();
            map.extend(part.into_keys().map(|tensor| (tensor, json!(name))));
        }
        let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
        std::fs::write(folder.join("model.safetensors.index.json"), index.to_string()).unwrap();
    }

    /// The same as a GGUF file.
    pub(crate) fn gguf(&self) -> Builder {
        let family = self.config["model_type"].as_str().unwrap();
        let key = |name: &str| format!("{family}.{name}");
        let kinds = (0..tokens().len()).map(|token| if token >= 260 { 3i32 } else { 1 });
        let mut file = Builder::default()
            .text("general.architecture", family)
            .u32(&key("block_count"), LAYERS as u32)
            .u32(&key("context_length"), POSITIONS as u32)
            .u32(&key("embedding_length"), HIDDEN as u32)
            .u32(&key("feed_forward_length"), WIDE as u32)
            .u32(&key("attention.head_count"), HEADS as u32)
            .u32(&key("attention.head_count_kv"), KEY_HEADS as u32)
            .f32(&key("attention.layer_norm_rms_epsilon"), EPSILON as f32)
            .f32(&key("rope.freq_base"), THETA as f32)
            .text("tokenizer.ggml.model", "gpt2")
            .text("tokenizer.ggml.pre", "smollm")
            .texts("tokenizer.ggml.tokens", &tokens())
            .texts("tokenizer.ggml.merges", &MERGES.map(str::to_owned))
            .list("tokenizer.ggml.token_type", 5, kinds.map(|kind| kind.to_le_bytes().to_vec()).collect())
            .u32("tokenizer.ggml.eos_token_id", tokens().len() as u32 - 1);
        for (name, (shape, values)) in &self.tensors {
            let turned = [".q_proj.", ".k_proj."].iter().any(|part| name.contains(part)) && family == "llama";
            let values = if turned { neighbours(values, HIDDEN) } else { values.clone() };
            let dimensions: Vec<u64> = shape.iter().rev().map(|size| *size as u64).collect();
            file = file.floats(&gguf_name(name), &dimensions, &values);
        }
        file
    }
}

fn gguf_name(name: &str) -> String {
    [
        ("model.layers", "blk"),
        ("model.embed_tokens", "token_embd"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
        ("input_layernorm", "attn_norm"),
        ("post_attention_layernorm", "ffn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
    ]
    .iter()
    .fold(name.to_owned(), |name, (from, to)| name.replace(from, to))
}

/// The rows of each head, first and second half by turns: what turns together side by side.
fn neighbours(values: &[f32], width: usize) -> Vec<f32> {
    let heads = values.chunks(HEAD * width);
    heads
        .flat_map(|head| {
            let (first, second) = head.split_at(HEAD / 2 * width);
            first.chunks(width).zip(second.chunks(width)).flat_map(|(first, second)| [first, second].concat())
        })
        .collect()
}

/// All bytes, what is merged of them, special tokens.
pub(crate) fn tokens() -> Vec<String> {
    let mut bytes: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    bytes.sort_unstable();
    let bytes = bytes.into_iter().map(String::from);
    let merged = MERGES.iter().map(|merge| merge.replace(' ', ""));
    bytes.chain(merged).chain(SPECIAL.map(str::to_owned)).collect()
}

/// `tokenizer.json`, with the padding, the truncation and the special token that such files like to bake in.
fn tokenizer() -> Value {
    let vocabulary: serde_json::Map<String, Value> =
        tokens().into_iter().zip(0..260).map(|(token, number)| (token, json!(number))).collect();
    let special = |(content, id): (&str, u32)| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false})
    };
    json!({
        "version": "1.0",
        "truncation": {"max_length": 6, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "<|end|>"},
        "added_tokens": SPECIAL.into_iter().zip(260..).map(special).collect::<Vec<_>>(),
        "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<|start|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|start|>": {"id": "<|start|>", "ids": [260], "tokens": ["<|start|>"]}},
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocabulary, "merges": MERGES},
    })
}

fn tensors() -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let vocabulary = tokens().len();
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![vocabulary, HIDDEN]),
        ("lm_head.weight".to_owned(), vec![vocabulary, HIDDEN]),
        ("model.norm.weight".to_owned(), vec![HIDDEN]),
    ];
    for layer in 0..LAYERS {
        let name = |part: &str| format!("model.layers.{layer}.{part}");
        for (part, to, from) in [
            ("self_attn.q_proj", HEADS * HEAD, HIDDEN),
            ("self_attn.k_proj", KEY_HEADS * HEAD, HIDDEN),
            ("self_attn.v_proj", KEY_HEADS * HEAD, HIDDEN),
            ("self_attn.o_proj", HIDDEN, HEADS * HEAD),
            ("mlp.gate_proj", WIDE, HIDDEN),
            ("mlp.up_proj", WIDE, HIDDEN),
            ("mlp.down_proj", HIDDEN, WIDE),
        ] {
            shapes.push((format!("{}.weight", name(part)), vec![to, from]));
        }
        for (part, to) in [("q_proj", HEADS), ("k_proj", KEY_HEADS), ("v_proj", KEY_HEADS)] {
            shapes.push((format!("{}.bias", name(&format!("self_attn.{part}"))), vec![to * HEAD]));
        }
        shapes.push((format!("{}.weight", name("input_layernorm")), vec![HIDDEN]));
        shapes.push((format!("{}.weight", name("post_attention_layernorm")), vec![HIDDEN]));
    }
    // Multiples of 1/256 below ½, which halves hold exactly: the network is the same in either precision.
    let mut state = 12_345u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) % 129) as f32 / 256.0 - 0.25
    };
    let shapes = shapes.into_iter();
    shapes
        .map(|(name, shape)| {
            let values = (0..shape.iter().product()).map(|_| next()).collect();
            (name, (shape, values))
        })
        .collect()
}

fn safetensors_of(tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>) -> Vec<u8> {
    let data: Vec<(&String, &Vec<usize>, Vec<u8>)> = tensors
        .iter()
        .map(|(name, (shape, values))| {
            (name, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
        })
        .collect();
    let views = data.iter().map(|(name, shape, bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, (*shape).clone(), bytes).unwrap())
    });
    safetensors::serialize(views, None).unwrap()
}

/// The network by its definition, in double precision: final states of one sequence, a row per token.
pub(crate) fn reference(fixture: &Fixture, tokens: &[u32]) -> Vec<Vec<f64>> {
    let get = |name: &str| -> Option<Vec<f64>> {
        Some(fixture.tensors.get(name)?.1.iter().copied().map(f64::from).collect())
    };
    let embeddings = get("model.embed_tokens.weight").unwrap();
    let mut states: Vec<Vec<f64>> =
        tokens.iter().map(|token| embeddings[*token as usize * HIDDEN..][..HIDDEN].to_vec()).collect();
    for layer in 0..LAYERS {
        let get = |part: &str| get(&format!("model.layers.{layer}.{part}"));
        let dense = |part: &str, x: &[f64]| {
            let weight = get(&format!("{part}.weight")).unwrap();
            let bias = get(&format!("{part}.bias")).unwrap_or_else(|| vec![0.0; weight.len() / x.len()]);
            let rows = weight.chunks_exact(x.len()).zip(bias);
            rows.map(|(row, bias)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>())
                .collect::<Vec<_>>()
        };
        let norm = |part: &str, x: &[f64]| norm(x, &get(&format!("{part}.weight")).unwrap());
        let of = |part: &str| -> Vec<Vec<f64>> {
            states.iter().map(|state| dense(part, &norm("input_layernorm", state))).collect()
        };
        let attended = attend(&of("self_attn.q_proj"), &of("self_attn.k_proj"), &of("self_attn.v_proj"));
        let add = |a: &[f64], b: Vec<f64>| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
        let block = |(state, attended): (&Vec<f64>, &Vec<f64>)| {
            let state = add(state, dense("self_attn.o_proj", attended));
            let normed = norm("post_attention_layernorm", &state);
            let gate = dense("mlp.gate_proj", &normed).into_iter().map(|x| x / (1.0 + (-x).exp()));
            let wide: Vec<f64> = gate.zip(dense("mlp.up_proj", &normed)).map(|(gate, x)| gate * x).collect();
            add(&state, dense("mlp.down_proj", &wide))
        };
        states = states.iter().zip(&attended).map(block).collect();
    }
    states.iter().map(|state| norm(state, &get("model.norm.weight").unwrap())).collect()
}

fn attend(query: &[Vec<f64>], key: &[Vec<f64>], value: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut attended = vec![vec![0.0; HEADS * HEAD]; query.len()];
    for (place, attended) in attended.iter_mut().enumerate() {
        for head in 0..HEADS {
            let shared = head / (HEADS / KEY_HEADS) * HEAD;
            let query = turn(&query[place][head * HEAD..][..HEAD], place);
            let score = |seen: usize| {
                let key = turn(&key[seen][shared..][..HEAD], seen);
                (query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() / (HEAD as f64).sqrt()).exp()
            };
            let scores: Vec<f64> = (0..=place).map(score).collect();
            let sum: f64 = scores.iter().sum();
            for (score, value) in scores.iter().zip(value) {
                let into = attended[head * HEAD..][..HEAD].iter_mut();
                into.zip(&value[shared..]).for_each(|(into, value)| *into += score / sum * value);
            }
        }
    }
    attended
}

fn turn(head: &[f64], position: usize) -> Vec<f64> {
    let angle = |pair: usize| position as f64 * THETA.powf(-2.0 * pair as f64 / HEAD as f64);
    (0..HEAD)
        .map(|place| {
            let (pair, half) = (place % (HEAD / 2), HEAD / 2);
            let (sine, cosine) = angle(pair).sin_cos();
            if place < half {
                head[pair] * cosine - head[pair + half] * sine
            } else {
                head[pair + half] * cosine + head[pair] * sine
            }
        })
        .collect()
}

fn norm(x: &[f64], scale: &[f64]) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    x.iter().zip(scale).map(|(x, scale)| x / (mean + EPSILON).sqrt() * scale).collect()
}
