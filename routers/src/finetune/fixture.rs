//! A tiny network with random weights and a vocabulary of words, and data with a rule to find.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};

use super::weights;
use crate::causal::Template;
use crate::data::{BattleRow, Dataset, DatasetBuilder, OutcomeRow, PresentationOrders, Row, Run, Verdict};

pub(crate) const WORDS: &str =
    "red green blue dog cat bird runs sleeps sings fast slow here there alpha beta gamma";

/// What a folder holds.
pub(crate) struct Fixture {
    pub(crate) config: Value,
    pub(crate) tensors: BTreeMap<String, Tensor>,
}

impl Fixture {
    /// Two layers, 64 wide, four heads that share two heads of keys.
    pub(crate) fn llama(is_tied: bool) -> Self {
        Self::new(json!({"model_type": "llama", "tie_word_embeddings": is_tied}), &[])
    }

    /// The same with biases.
    pub(crate) fn qwen2() -> Self {
        Self::new(
            json!({"model_type": "qwen2", "tie_word_embeddings": true}),
            &["q_proj", "k_proj", "v_proj"],
        )
    }

    fn new(mut config: Value, biased: &[&str]) -> Self {
        let shape = json!({
            "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "vocab_size": vocabulary().len(), "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "hidden_act": "silu", "max_position_embeddings": 512, "extra": "kept",
        });
        config.as_object_mut().unwrap().extend(shape.as_object().unwrap().clone());
        let parsed = super::config::Config::of(Path::new("config.json"), config.as_object().unwrap().clone());
        let mut shapes = weights::required(&parsed.unwrap());
        for layer in 0..2 {
            for part in biased {
                let rows = if *part == "q_proj" { 64 } else { 32 };
                shapes.push((weights::in_layer(layer, &format!("self_attn.{part}.bias")), vec![rows]));
            }
        }
        let mut state = 1_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f32 / (1 << 23) as f32 - 1.0
        };
        let tensors = shapes.into_iter().map(|(name, shape)| {
            let base = if name.contains("norm") { 1.0 } else { 0.0 };
            let values = (0..shape.iter().product()).map(|_| base + 0.2 * next()).collect();
            (name, Tensor::from_vec(values, shape, &Device::Cpu).unwrap())
        });
        Self { tensors: tensors.collect(), config }
    }

    pub(crate) fn write(&self, folder: &Path) {
        std::fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        std::fs::write(folder.join("tokenizer.json"), tokenizer().to_string()).unwrap();
        safetensors::serialize_to_file(&self.tensors, None, &folder.join("model.safetensors")).unwrap();
    }
}

/// All that occurs in the template, the words, and digits.
pub(crate) fn vocabulary() -> Vec<String> {
    let texts =
        [Template::CURRENT.instruction(), &Template::CURRENT.candidate(""), WORDS, "[[ ]] [...] <unk>"];
    let mut words: Vec<String> = texts.iter().flat_map(|text| parts(text)).collect();
    words.extend((0..10).map(|digit| digit.to_string()));
    words.sort();
    words.dedup();
    words
}

/// A text as the tokenizer parts it: letters and digits, or other signs.
fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let is_word = |letter: char| letter.is_alphanumeric();
    for chunk in text.split_whitespace() {
        let mut last = None;
        for letter in chunk.chars() {
            match parts.last_mut() {
                Some(part) if last == Some(is_word(letter)) => part.push(letter),
                _ => parts.push(letter.to_string()),
            }
            last = Some(is_word(letter));
        }
    }
    parts.push("<unk>".to_owned());
    parts
}

pub(crate) fn tokenizer() -> Value {
    let vocabulary: serde_json::Map<String, Value> =
        vocabulary().into_iter().zip(0..).map(|(word, number)| (word, json!(number))).collect();
    json!({
        "version": "1.0", "truncation": {"max_length": 6, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": null, "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    })
}

/// Prompts of which every other has a digit: alpha is better at these, beta at the others. A quarter is told as battles.
///
/// Name and digit each tell something alone (the labels are 5 and 2 of alpha, 1 and 4 of beta), so that few steps suffice.
pub(crate) fn planted(prompts: usize) -> Dataset {
    let words: Vec<&str> = WORDS.split_whitespace().take(13).collect();
    let mut builder = DatasetBuilder::new();
    for number in 0..prompts {
        let word = |place: usize| words[(number * 31 + place * (7 + number / 13)) % words.len()];
        let digit = (number / 2 % 5).to_string();
        let has_digit = number.is_multiple_of(2);
        let third = if has_digit { digit.as_str() } else { word(3) };
        let turns = vec![[word(0), word(1), third, word(2), word(4), word(5)].join(" ")];
        let source = "rule".to_owned();
        builder
            .add(if number.is_multiple_of(4) {
                judged(source, turns, has_digit)
            } else {
                scored(source, turns, has_digit)
            })
            .unwrap();
    }
    builder.finish(PresentationOrders::default())
}

fn scored(source: String, turns: Vec<String>, has_digit: bool) -> Row {
    let run = |model: &str, score| Run { model: model.to_owned(), score, out_chars: None };
    let [alpha, beta] = if has_digit { [1.0, 0.0] } else { [0.4, 0.8] };
    let runs = vec![run("alpha", alpha), run("beta", beta)];
    Row::Outcome(OutcomeRow { id: String::new(), source, category: None, language: None, turns, runs })
}

fn judged(source: String, turns: Vec<String>, has_digit: bool) -> Row {
    let verdict = if has_digit { Verdict::B } else { Verdict::A };
    let [model_a, model_b] = ["beta", "alpha"].map(str::to_owned);
    Row::Battle(BattleRow {
        source,
        prompt_id: None,
        language: None,
        turns,
        model_a,
        model_b,
        verdict,
        judge: None,
    })
}
