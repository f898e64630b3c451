//! A tiny encoder made up for tests: folders of every family, type and prefix, and the network's definition in
//! plain loops to check the fast one against.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};

pub(crate) const HIDDEN: usize = 8;
pub(crate) const WIDE: usize = 12;
pub(crate) const LAYERS: usize = 2;
pub(crate) const HEADS: usize = 2;
pub(crate) const POSITIONS: usize = 20;
const EPSILON: f64 = 1e-5;

/// The tiny vocabulary.
pub(crate) const VOCABULARY: &str = "[PAD] [UNK] [CLS] [SEP] a b c ab ##a ##b ##c the of , . ! ? red blue green dog cat runs sleeps x ##x 1 2";

/// What to write into a folder.
#[derive(Clone)]
pub(crate) struct Fixture {
    pub(crate) config: Value,
    pub(crate) kind: Dtype,
    pub(crate) prefix: &'static str,
    /// Tensors by their name in BERT, without prefix.
    pub(crate) tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Fixture {
    pub(crate) fn bert() -> Self {
        let config = json!({
            "model_type": "bert", "hidden_size": HIDDEN, "intermediate_size": WIDE, "num_hidden_layers": LAYERS,
            "num_attention_heads": HEADS, "vocab_size": pieces().len(), "max_position_embeddings": POSITIONS,
            "type_vocab_size": 2, "layer_norm_eps": EPSILON, "hidden_act": "gelu",
        });
        Self { config, kind: Dtype::F32, prefix: "", tensors: tensors() }
    }

    pub(crate) fn roberta() -> Self {
        let mut fixture = Self::bert();
        fixture.config["model_type"] = json!("xlm-roberta");
        fixture.config["pad_token_id"] = json!(1);
        fixture.config["type_vocab_size"] = json!(1);
        let types = fixture.tensors.get_mut("embeddings.token_type_embeddings.weight").unwrap();
        *types = (vec![1, HIDDEN], types.1[..HIDDEN].to_vec());
        fixture
    }

    pub(crate) fn distil_bert() -> Self {
        let mut fixture = Self::bert();
        fixture.config = json!({
            "model_type": "distilbert", "dim": HIDDEN, "hidden_dim": WIDE, "n_layers": LAYERS, "n_heads": HEADS,
            "vocab_size": pieces().len(), "max_position_embeddings": POSITIONS, "activation": "gelu",
            "layer_norm_eps": EPSILON,
        });
        fixture.tensors.remove("embeddings.token_type_embeddings.weight");
        let renamed = [
            ("encoder.layer", "transformer.layer"),
            ("attention.self.query", "attention.q_lin"),
            ("attention.self.key", "attention.k_lin"),
            ("attention.self.value", "attention.v_lin"),
            ("attention.output.dense", "attention.out_lin"),
            ("attention.output.LayerNorm", "sa_layer_norm"),
            ("intermediate.dense", "ffn.lin1"),
            ("output.dense", "ffn.lin2"),
            ("output.LayerNorm", "output_layer_norm"),
        ];
        let rename = |name: String| renamed.iter().fold(name, |name, (from, to)| name.replace(from, to));
        fixture.tensors = fixture.tensors.into_iter().map(|(name, tensor)| (rename(name), tensor)).collect();
        fixture
    }

    /// The bytes of `model.safetensors`.
    pub(crate) fn weights(&self) -> Vec<u8> {
        let data: Vec<(String, &[usize], Vec<u8>)> = self
            .tensors
            .iter()
            .map(|(name, (shape, values))| {
                (format!("{}{name}", self.prefix), &shape[..], encode(self.kind, values))
            })
            .collect();
        let views = data.iter().map(|(name, shape, bytes)| {
            (name.as_str(), TensorView::new(self.kind, shape.to_vec(), bytes).unwrap())
        });
        safetensors::serialize(views, None).unwrap()
    }

    pub(crate) fn write(&self, folder: &Path) {
        std::fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
        std::fs::write(folder.join("model.safetensors"), self.weights()).unwrap();
    }
}

pub(crate) fn pieces() -> Vec<&'static str> {
    VOCABULARY.split_whitespace().collect()
}

/// `tokenizer.json`, with the padding and truncation that such files like to bake in.
pub(crate) fn tokenizer() -> Value {
    let vocabulary: serde_json::Map<String, Value> =
        pieces().iter().zip(0..).map(|(piece, number)| ((*piece).to_owned(), json!(number))).collect();
    let special = |id: u32, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false})
    };
    let token = |content: &str| json!({"SpecialToken": {"id": content, "type_id": 0}});
    let numbered = |content: &str, id: u32| json!({"id": content, "ids": [id], "tokens": [content]});
    json!({
        "version": "1.0",
        "truncation": {"max_length": 6, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {"strategy": {"Fixed": 12}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[PAD]"},
        "added_tokens": [special(0, "[PAD]"), special(1, "[UNK]"), special(2, "[CLS]"), special(3, "[SEP]")],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]")],
            "pair": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]"),
                     {"Sequence": {"id": "B", "type_id": 1}}, token("[SEP]")],
            "special_tokens": {"[CLS]": numbered("[CLS]", 2), "[SEP]": numbered("[SEP]", 3)},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
}

fn tensors() -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let mut shapes = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![pieces().len(), HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![POSITIONS, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
    ];
    let mut norms = vec!["embeddings.LayerNorm".to_owned()];
    for layer in 0..LAYERS {
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        for (part, to, from) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", WIDE, HIDDEN),
            ("output.dense", HIDDEN, WIDE),
        ] {
            shapes.push((format!("{}.weight", name(part)), vec![to, from]));
            shapes.push((format!("{}.bias", name(part)), vec![to]));
        }
        norms.extend([name("attention.output.LayerNorm"), name("output.LayerNorm")]);
    }
    for norm in norms {
        shapes.push((format!("{norm}.weight"), vec![HIDDEN]));
        shapes.push((format!("{norm}.bias"), vec![HIDDEN]));
    }
    // Multiples of 1/64 below 2, which the 16-bit types hold exactly: their folders then give the same network.
    let mut state = 12_345u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) % 129) as f32 / 64.0 - 1.0
    };
    shapes
        .into_iter()
        .map(|(name, shape)| {
            let values = (0..shape.iter().product()).map(|_| next()).collect();
            (name, (shape, values))
        })
        .collect()
}

fn encode(kind: Dtype, values: &[f32]) -> Vec<u8> {
    let half = |value: f32| {
        // Exact for the values made here: normal numbers of few bits.
        let bits = value.to_bits();
        let (sign, exponent) = ((bits >> 31) as u16, ((bits >> 23) & 0xff) as u16);
        if exponent == 0 {
            sign << 15
        } else {
            (sign << 15) | ((exponent - 112) << 10) | ((bits >> 13) & 0x3ff) as u16
        }
    };
    match kind {
        Dtype::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        Dtype::F16 => values.iter().flat_map(|value| half(*value).to_le_bytes()).collect(),
        Dtype::BF16 => {
            values.iter().flat_map(|value| ((value.to_bits() >> 16) as u16).to_le_bytes()).collect()
        }
        Dtype::F64 => values.iter().flat_map(|value| f64::from(*value).to_le_bytes()).collect(),
        other => panic!("no tensors of {other:?}"),
    }
}

/// The network by its definition, in double precision: states of one sequence, a row per token.
pub(crate) fn reference(fixture: &Fixture, tokens: &[u32], position_offset: usize) -> Vec<Vec<f64>> {
    let get = |name: &str| -> Vec<f64> { fixture.tensors[name].1.iter().copied().map(f64::from).collect() };
    let row = |name: &str, row: usize| get(name)[row * HIDDEN..(row + 1) * HIDDEN].to_vec();
    let mut states: Vec<Vec<f64>> = tokens
        .iter()
        .enumerate()
        .map(|(place, token)| {
            let word = row("embeddings.word_embeddings.weight", *token as usize);
            let position = row("embeddings.position_embeddings.weight", place + position_offset);
            let first_type = row("embeddings.token_type_embeddings.weight", 0);
            let sum = (0..HIDDEN).map(|i| word[i] + position[i] + first_type[i]).collect();
            norm(sum, &get("embeddings.LayerNorm.weight"), &get("embeddings.LayerNorm.bias"))
        })
        .collect();
    for layer in 0..LAYERS {
        let get = |part: &str| get(&format!("encoder.layer.{layer}.{part}"));
        let dense =
            |part: &str, x: &[f64]| linear(&get(&format!("{part}.weight")), &get(&format!("{part}.bias")), x);
        let add_norm = |part: &str, a: &[f64], b: &[f64]| {
            let sum = a.iter().zip(b).map(|(a, b)| a + b).collect();
            norm(sum, &get(&format!("{part}.weight")), &get(&format!("{part}.bias")))
        };
        let of = |part: &str| -> Vec<Vec<f64>> { states.iter().map(|state| dense(part, state)).collect() };
        let attended =
            attend(&of("attention.self.query"), &of("attention.self.key"), &of("attention.self.value"));
        states = states
            .iter()
            .zip(&attended)
            .map(|(state, attended)| {
                let state =
                    add_norm("attention.output.LayerNorm", state, &dense("attention.output.dense", attended));
                let wide: Vec<f64> = dense("intermediate.dense", &state).into_iter().map(gelu).collect();
                add_norm("output.LayerNorm", &state, &dense("output.dense", &wide))
            })
            .collect();
    }
    states
}

fn attend(query: &[Vec<f64>], key: &[Vec<f64>], value: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let size = HIDDEN / HEADS;
    let mut attended = vec![vec![0.0; HIDDEN]; query.len()];
    for head in 0..HEADS {
        let part = head * size..(head + 1) * size;
        for (query, attended) in query.iter().zip(&mut attended) {
            let score = |key: &Vec<f64>| {
                let dot: f64 = part.clone().map(|i| query[i] * key[i]).sum();
                (dot / (size as f64).sqrt()).exp()
            };
            let scores: Vec<f64> = key.iter().map(score).collect();
            let sum: f64 = scores.iter().sum();
            for (score, value) in scores.iter().zip(value) {
                part.clone().for_each(|i| attended[i] += score / sum * value[i]);
            }
        }
    }
    attended
}

fn linear(weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    let rows = weight.chunks_exact(x.len()).zip(bias);
    rows.map(|(row, bias)| bias + row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect()
}

fn norm(x: Vec<f64>, scale: &[f64], shift: &[f64]) -> Vec<f64> {
    let count = x.len() as f64;
    let mean = x.iter().sum::<f64>() / count;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    x.iter()
        .zip(scale)
        .zip(shift)
        .map(|((x, a), b)| (x - mean) / (variance + EPSILON).sqrt() * a + b)
        .collect()
}

fn gelu(x: f64) -> f64 {
    // Φ by its Maclaurin series; the values here are small.
    let z = x / 2f64.sqrt();
    let (mut term, mut sum, mut n) = (z, z, 0.0);
    while term.abs() > 1e-18 {
        n += 1.0;
        term *= -z * z / n;
        sum += term / (2.0 * n + 1.0);
    }
    0.5 * x * (1.0 + sum * 2.0 / std::f64::consts::PI.sqrt())
}
