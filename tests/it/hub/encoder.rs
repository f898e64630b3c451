//! The files of an encoder of one layer and four dimensions.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value, json};

const HIDDEN: usize = 4;
const PIECES: [&str; 6] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b"];

/// `config.json`.
pub(crate) const CONFIG: &str = r#"{"model_type": "bert", "hidden_size": 4, "intermediate_size": 4, "num_hidden_layers": 1,
    "num_attention_heads": 2, "vocab_size": 6, "max_position_embeddings": 16, "type_vocab_size": 2,
    "layer_norm_eps": 1e-12, "hidden_act": "gelu"}"#;

/// Writes all of them into a folder.
pub(crate) fn write(folder: &Path) {
    fs::write(folder.join("config.json"), CONFIG).unwrap();
    fs::write(folder.join("tokenizer.json"), tokenizer()).unwrap();
    fs::write(folder.join("model.safetensors"), weights()).unwrap();
}

/// `tokenizer.json`.
pub(crate) fn tokenizer() -> String {
    let vocabulary: Map<String, Value> =
        PIECES.iter().zip(0..).map(|(piece, number)| ((*piece).to_owned(), json!(number))).collect();
    let token = |content: &str| json!({"SpecialToken": {"id": content, "type_id": 0}});
    let numbered = |content: &str, id: u32| json!({"id": content, "ids": [id], "tokens": [content]});
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                       "strip_accents": null, "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]")],
            "pair": [token("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, token("[SEP]")],
            "special_tokens": {"[CLS]": numbered("[CLS]", 2), "[SEP]": numbered("[SEP]", 3)},
        },
        "decoder": null,
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": vocabulary},
    })
    .to_string()
}

/// `model.safetensors`: a header of names and places, then the numbers.
pub(crate) fn weights() -> Vec<u8> {
    let matrix = vec![HIDDEN, HIDDEN];
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("embeddings.word_embeddings.weight".to_owned(), vec![PIECES.len(), HIDDEN]),
        ("embeddings.position_embeddings.weight".to_owned(), vec![16, HIDDEN]),
        ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, HIDDEN]),
    ];
    for norm in ["embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"] {
        shapes.push((format!("{norm}.LayerNorm.weight"), vec![HIDDEN]));
        shapes.push((format!("{norm}.LayerNorm.bias"), vec![HIDDEN]));
    }
    for dense in [
        "attention.self.query",
        "attention.self.key",
        "attention.self.value",
        "attention.output.dense",
        "intermediate.dense",
        "output.dense",
    ] {
        shapes.push((format!("encoder.layer.0.{dense}.weight"), matrix.clone()));
        shapes.push((format!("encoder.layer.0.{dense}.bias"), vec![HIDDEN]));
    }
    let (mut header, mut data) = (Map::new(), Vec::new());
    for (name, shape) in shapes {
        let start = data.len();
        let values = 0..shape.iter().product::<usize>();
        data.extend(values.flat_map(|value| (((value * 7 + start) % 13) as f32 / 13.0 - 0.5).to_le_bytes()));
        header.insert(name, json!({"dtype": "F32", "shape": shape, "data_offsets": [start, data.len()]}));
    }
    let header = Value::from(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &data].concat()
}
