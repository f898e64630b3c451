//! Bases of every kind, and what is wrong with some.

use std::io::BufWriter;
use std::path::Path;

use candle_core::quantized::{GgmlDType, QTensor, gguf_file};
use candle_core::{Device, Tensor};
use serde_json::json;

use super::super::fixture::{Fixture, tokenizer, vocabulary};
use super::super::network::Network;
use super::super::weights::{EMBEDDINGS, OUTPUT};
use super::super::*;
use super::{QUESTION_TOKENS_MAX, base, bits};
use crate::causal::LABELS;

#[test]
fn candidates_of_one_prompt_are_scored_as_if_each_were_alone() {
    for fixture in [Fixture::llama(true), Fixture::llama(false), Fixture::qwen2()] {
        let folder = tempfile::tempdir().unwrap();
        let model = base(folder.path(), &fixture);
        let names = ["alpha", "beta", "gamma alpha"];
        let candidates = names.map(|name| (name, model.labels[0]));
        let question = |text| model.question(text, &candidates, QUESTION_TOKENS_MAX).unwrap();
        let network = Network::new(&model.config, &model.weights).unwrap();
        let texts = ["red", "green dog 7 runs fast here"];
        let (together, _) = model.labels_of(&network, &texts.map(question)).unwrap();
        let pairs: Vec<(&str, &str)> =
            texts.iter().flat_map(|text| names.map(|name| (*text, name))).collect();
        let alone = model.label_logits(&pairs, QUESTION_TOKENS_MAX).unwrap();
        for (one, other) in together.iter().flatten().zip(alone.iter().flatten()) {
            assert!((one - other).abs() < 1e-4, "{together:?} {alone:?}");
        }
        assert_ne!(alone[0].map(f32::to_bits), alone[1].map(f32::to_bits), "names count");
        assert_ne!(alone[0].map(f32::to_bits), alone[3].map(f32::to_bits), "requests count");
    }
}

#[test]
fn labels_get_the_means_of_what_spells_them() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::llama(false);
    let model = base(folder.path(), &fixture);
    let words = vocabulary();
    assert_eq!(model.labels.map(|label| label as usize), [0, 1, 2, 3, 4].map(|place| words.len() + place));
    assert_eq!(model.config.vocabulary, words.len() + 5);
    let place = |word: &str| words.iter().position(|other| other == word).unwrap();
    for table in [EMBEDDINGS, OUTPUT] {
        let rows: Vec<Vec<f32>> = model.weights[table].to_vec2().unwrap();
        for (digit, label) in (1..).zip(model.labels) {
            let spelled = ["[[", &digit.to_string(), "]]"].map(&place);
            for (column, value) in rows[label as usize].iter().enumerate() {
                let mean = spelled.iter().map(|row| rows[*row][column]).sum::<f32>() / 3.0;
                assert!((value - mean).abs() < 1e-6, "{table} {digit}");
            }
        }
    }
    // What is saved has them, and they are not made anew.
    let saved = tempfile::tempdir().unwrap();
    model.save(saved.path(), Precision::F32, QUESTION_TOKENS_MAX).unwrap();
    let read = CausalModel::load(saved.path()).unwrap();
    assert!(model.weights.iter().all(|(name, weight)| bits(weight) == bits(&read.weights[name])));
    assert_eq!(read.config.file["extra"], json!("kept"));
    assert_eq!(read.config.file["pointsman"]["template"], json!("1"));
    assert_eq!(LABELS.map(|label| read.tokenizer().token_to_id(label).unwrap()), model.labels);
}

#[test]
fn rows_that_no_token_uses_are_taken_for_labels() {
    let folder = tempfile::tempdir().unwrap();
    let mut fixture = Fixture::llama(true);
    let rows = vocabulary().len() + 7;
    let table = &fixture.tensors[EMBEDDINGS];
    let padding = Tensor::zeros((7, 64), table.dtype(), &Device::Cpu).unwrap();
    let table = Tensor::cat(&[table, &padding], 0).unwrap();
    fixture.tensors.insert(EMBEDDINGS.to_owned(), table);
    fixture.config["vocab_size"] = json!(rows);
    let model = base(folder.path(), &fixture);
    assert_eq!((model.config.vocabulary, model.labels[0] as usize), (rows, vocabulary().len()));
}

/// Writes the fixture as a GGUF file, with the rows of a Llama's queries and keys as such files have them.
fn write_gguf(fixture: &Fixture, path: &Path) {
    let renamed = [
        ("model.embed_tokens", "token_embd"),
        ("model.layers.", "blk."),
        ("input_layernorm", "attn_norm"),
        ("self_attn.q_proj", "attn_q"),
        ("self_attn.k_proj", "attn_k"),
        ("self_attn.v_proj", "attn_v"),
        ("self_attn.o_proj", "attn_output"),
        ("post_attention_layernorm", "ffn_norm"),
        ("mlp.gate_proj", "ffn_gate"),
        ("mlp.up_proj", "ffn_up"),
        ("mlp.down_proj", "ffn_down"),
        ("model.norm", "output_norm"),
        ("lm_head", "output"),
    ];
    let family = fixture.config["model_type"].as_str().unwrap();
    let tensors: Vec<(String, QTensor)> = fixture
        .tensors
        .iter()
        .map(|(name, tensor)| {
            let rows = tensor.dims()[0];
            let is_turned = family == "llama" && (name.contains("q_proj") || name.contains("k_proj"));
            let tensor = if is_turned {
                let halves = tensor.reshape((rows / 16, 2, 8, 64)).unwrap();
                halves.transpose(1, 2).unwrap().contiguous().unwrap().reshape((rows, 64)).unwrap()
            } else {
                tensor.clone()
            };
            let name = renamed.iter().fold(name.clone(), |name, (from, to)| name.replace(from, to));
            (name, QTensor::quantize(&tensor, GgmlDType::F32).unwrap())
        })
        .collect();
    let tensors: Vec<(&str, &QTensor)> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let number = |key: &str, value: u32| (format!("{family}.{key}"), gguf_file::Value::U32(value));
    let tokens = vocabulary().into_iter().map(gguf_file::Value::String).collect();
    let metadata = [
        ("general.architecture".to_owned(), gguf_file::Value::String(family.to_owned())),
        number("embedding_length", 64),
        number("feed_forward_length", 96),
        number("block_count", 2),
        number("attention.head_count", 4),
        number("attention.head_count_kv", 2),
        number("context_length", 512),
        (format!("{family}.attention.layer_norm_rms_epsilon"), gguf_file::Value::F32(1e-5)),
        ("tokenizer.ggml.tokens".to_owned(), gguf_file::Value::Array(tokens)),
    ];
    let metadata: Vec<(&str, &gguf_file::Value)> =
        metadata.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let mut file = BufWriter::new(std::fs::File::create(path).unwrap());
    gguf_file::write(&mut file, &metadata, &tensors).unwrap();
}

#[test]
fn a_gguf_file_is_the_same_base_as_its_folder() {
    for fixture in [Fixture::llama(true), Fixture::llama(false), Fixture::qwen2()] {
        let folder = tempfile::tempdir().unwrap();
        let of_folder = base(folder.path(), &fixture);
        let file = folder.path().join("model.gguf");
        write_gguf(&fixture, &file);
        let tokenizer = tokenizer().to_string().parse().unwrap();
        let of_file = CausalModel::load_gguf(&file, tokenizer).unwrap();
        assert_eq!(of_file.weights.len(), of_folder.weights.len());
        for (name, weight) in &of_folder.weights {
            assert!(bits(weight) == bits(&of_file.weights[name]), "{name}");
        }
        // It is saved as a folder, which needs a whole configuration.
        let saved = tempfile::tempdir().unwrap();
        of_file.save(saved.path(), Precision::F32, QUESTION_TOKENS_MAX).unwrap();
        let pairs = [("red dog 3", "alpha")];
        let logits = |model: &CausalModel| model.label_logits(&pairs, QUESTION_TOKENS_MAX).unwrap();
        assert_eq!(logits(&CausalModel::load(saved.path()).unwrap()), logits(&of_folder));
    }
}

#[test]
fn bases_that_cannot_be_trained_are_refused_by_name() {
    let refuse = |spoil: &dyn Fn(&mut Fixture)| {
        let folder = tempfile::tempdir().unwrap();
        let mut fixture = Fixture::llama(true);
        spoil(&mut fixture);
        fixture.write(folder.path());
        CausalModel::load(folder.path()).unwrap_err().to_string()
    };
    for (key, value, expected) in [
        (
            "model_type",
            json!("gpt2"),
            "model_type `gpt2` is not supported (supported: llama, mistral, qwen2)",
        ),
        ("num_attention_heads", json!(0), "num_attention_heads is 0"),
        ("num_key_value_heads", json!(3), "4 heads cannot share 3 heads of keys evenly"),
        ("rope_scaling", json!({"type": "yarn"}), "rope_type `yarn`"),
        ("mlp_bias", json!(true), "mlp_bias"),
        ("hidden_act", json!("gelu"), "activation `gelu`"),
        ("hidden_size", json!("64"), "expected a whole number"),
        ("pointsman", json!({"template": "0"}), "template 0"),
        ("intermediate_size", json!(97), "has shape [96, 64], expected [97, 64]"),
    ] {
        let refused = refuse(&|fixture| fixture.config[key] = value.clone());
        assert!(
            refused.contains(expected) && refused.contains(".json") != refused.contains(".safetensors"),
            "{refused}"
        );
    }
    let missing = refuse(&|fixture| drop(fixture.tensors.remove("model.layers.1.mlp.up_proj.weight")));
    assert!(missing.contains("`model.layers.1.mlp.up_proj.weight` is missing"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let nothing = CausalModel::load(folder.path()).unwrap_err();
    assert!(matches!(nothing, FinetuneError::Read { .. }));
}
