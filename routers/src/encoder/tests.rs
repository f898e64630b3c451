use std::path::PathBuf;

use proptest::prelude::*;
use safetensors::tensor::Dtype;
use serde_json::json;
use tempfile::TempDir;

use super::fixture::{Fixture, HIDDEN, POSITIONS, pieces, reference, tokenizer};
use super::*;

fn load(fixture: &Fixture) -> Result<Encoder, EncoderError> {
    let folder = TempDir::new().unwrap();
    fixture.write(folder.path());
    Encoder::load(folder.path())
}

fn refusal(fixture: &Fixture) -> String {
    load(fixture).err().map(|error| error.to_string()).unwrap_or_default()
}

fn rows(matrix: &Mat<f32>) -> Vec<Vec<f32>> {
    matrix.row_iter().map(|row| row.iter().copied().collect()).collect()
}

/// The MiniLM folder, when the environment says where it is.
fn mini_lm() -> Option<Encoder> {
    let Some(folder) = std::env::var_os("POINTSMAN_ENCODER").map(PathBuf::from) else {
        eprintln!("skipped: set POINTSMAN_ENCODER to a folder holding all-MiniLM-L6-v2");
        return None;
    };
    Some(Encoder::load(&folder).unwrap())
}

#[test]
fn mini_lm_gives_the_golden_vector() {
    let Some(encoder) = mini_lm() else { return };
    let golden = [0.021664, -0.004864, -0.009649, -0.063401, -0.167493, 0.004676, 0.080600, -0.024142];
    let vectors = encoder.embed_batch(&["A man is playing a guitar."]).unwrap();
    assert_eq!((vectors.nrows(), vectors.ncols()), (1, 384));
    for (column, expected) in golden.into_iter().enumerate() {
        assert!((vectors[(0, column)] - expected).abs() < 1e-3, "{column}: {}", vectors[(0, column)]);
    }
}

#[test]
fn the_network_does_what_its_definition_says() {
    let tokens = vec![2, 4, 9, 20, 13, 3];
    for (fixture, position_offset) in [(Fixture::bert(), 0), (Fixture::roberta(), 2)] {
        let encoder = load(&fixture).unwrap();
        let pooled = encoder.pool_tokens(std::slice::from_ref(&tokens)).unwrap();
        let states = reference(&fixture, &tokens, position_offset);
        for column in 0..HIDDEN {
            let mean = states.iter().map(|state| state[column]).sum::<f64>() / states.len() as f64;
            assert!((f64::from(pooled[(0, column)]) - mean).abs() < 1e-4, "{column}");
        }
    }
}

#[test]
fn distil_bert_is_bert_without_token_types() {
    let mut bert = Fixture::bert();
    for value in &mut bert.tensors.get_mut("embeddings.token_type_embeddings.weight").unwrap().1 {
        *value = 0.0;
    }
    let texts = ["the red dog runs.", "a blue cat"];
    let expected = load(&bert).unwrap().embed_batch(&texts).unwrap();
    assert_eq!(load(&Fixture::distil_bert()).unwrap().embed_batch(&texts).unwrap(), expected);
}

#[test]
fn types_and_prefixes_make_no_difference() {
    let texts = ["the red dog runs.", "x"];
    let expected = load(&Fixture::bert()).unwrap().embed_batch(&texts).unwrap();
    for kind in [Dtype::F32, Dtype::F16, Dtype::BF16] {
        for prefix in ["", "bert.", "model."] {
            let fixture = Fixture { kind, prefix, ..Fixture::bert() };
            assert_eq!(load(&fixture).unwrap().embed_batch(&texts).unwrap(), expected, "{kind:?} {prefix}");
        }
    }
}

#[test]
fn a_text_gets_the_same_vector_in_any_batch() {
    let encoder = load(&Fixture::bert()).unwrap();
    let texts = ["the dog", "", "a b c ab, the cat sleeps! 1 2", "zzz", "the dog"];
    let together = rows(&encoder.embed_batch(&texts).unwrap());
    for (text, row) in texts.iter().zip(&together) {
        let alone = rows(&encoder.embed_batch(&[text]).unwrap());
        assert_eq!(&alone[0], row, "{text}");
        assert!((row.iter().map(|value| value * value).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    assert_eq!(rows(&encoder.embed_batch(&[]).unwrap()).len(), 0);
}

#[test]
fn padding_is_off_and_truncation_is_the_models() {
    let encoder = load(&Fixture::bert()).unwrap();
    let long = "a ".repeat(500);
    let tokens = |text: &str| encoder.tokenizer().encode(text, true).unwrap().get_ids().to_vec();
    assert_eq!(tokens("dog"), [2, 20, 3]);
    assert_eq!(tokens(&long).len(), POSITIONS);
    encoder.embed_batch(&[&long]).unwrap();
    let too_long = vec![4; POSITIONS + 1];
    assert!(matches!(encoder.pool_tokens(&[too_long]), Err(EncoderError::TooLong { .. })));
    assert!(matches!(encoder.pool_tokens(&[vec![999]]), Err(EncoderError::Token { token: 999, .. })));
    assert_eq!(rows(&encoder.pool_tokens(&[vec![]]).unwrap()), [[0.0; HIDDEN]]);
}

#[test]
fn pooling_follows_the_folder() {
    let folder = TempDir::new().unwrap();
    let fixture = Fixture::bert();
    fixture.write(folder.path());
    let tokens = vec![2, 20, 22, 3];
    let states = reference(&fixture, &tokens, 0);
    std::fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    let mut fingerprints = std::collections::HashSet::new();
    for (mode, expected) in [
        ("pooling_mode_mean_tokens", states.iter().map(|state| state[1]).sum::<f64>() / 4.0),
        ("pooling_mode_cls_token", states[0][1]),
        ("pooling_mode_max_tokens", states.iter().map(|state| state[1]).fold(f64::MIN, f64::max)),
    ] {
        std::fs::write(folder.path().join("1_Pooling/config.json"), json!({mode: true}).to_string()).unwrap();
        let encoder = Encoder::load(folder.path()).unwrap();
        let pooled = encoder.pool_tokens(std::slice::from_ref(&tokens)).unwrap();
        assert!((f64::from(pooled[(0, 1)]) - expected).abs() < 1e-4, "{mode}");
        fingerprints.insert(encoder.fingerprint().to_owned());
    }
    assert_eq!(fingerprints.len(), 3, "pooling is part of the fingerprint");
    let both = json!({"pooling_mode_mean_tokens": true, "pooling_mode_cls_token": true});
    std::fs::write(folder.path().join("1_Pooling/config.json"), both.to_string()).unwrap();
    let error = Encoder::load(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("1_Pooling/config.json: this combination of pooling modes is not supported"),
        "{error}"
    );
    let modules = json!([{"path": "2_Dense", "type": "sentence_transformers.models.Dense"}]);
    std::fs::write(folder.path().join("modules.json"), modules.to_string()).unwrap();
    let error = Encoder::load(folder.path()).unwrap_err().to_string();
    assert!(error.contains("modules.json: module `Dense` is not supported"), "{error}");
}

#[test]
fn missing_files_are_named() {
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = TempDir::new().unwrap();
        Fixture::bert().write(folder.path());
        std::fs::remove_file(folder.path().join(name)).unwrap();
        let error = Encoder::load(folder.path()).unwrap_err();
        assert!(matches!(error, EncoderError::Read { .. }) && error.to_string().contains(name), "{error}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let change = |key: &str, value: serde_json::Value| {
        let mut fixture = Fixture::bert();
        fixture.config[key] = value;
        refusal(&fixture)
    };
    let says = |error: String, part: &str| assert!(error.contains(part), "{error:?} lacks {part:?}");
    says(
        change("model_type", json!("t5")),
        "config.json: model_type `t5` is not supported (supported: bert,",
    );
    says(change("hidden_act", json!("swish")), "activation `swish` is not supported");
    says(change("num_attention_heads", json!(3)), "hidden_size 8 is not a multiple of num_attention_heads 3");
    says(change("num_hidden_layers", json!(0)), "num_hidden_layers is 0");
    says(change("hidden_size", json!("x")), "config.json: invalid type: string");
    says(change("position_embedding_type", json!("relative_key")), "position_embedding_type `relative_key`");
    says(
        change("num_hidden_layers", json!(3)),
        "tensor `encoder.layer.2.attention.self.query.weight` is missing",
    );
    says(change("intermediate_size", json!(13)), "has shape [12, 8], expected [13, 8]");
    says(change("vocab_size", json!(5)), "is outside the model's vocabulary of 5 tokens");
    says(refusal(&Fixture { kind: Dtype::F64, ..Fixture::bert() }), "holds F64, expected F32, F16 or BF16");
    let mut fixture = Fixture::bert();
    fixture.tensors.get_mut("embeddings.LayerNorm.bias").unwrap().1[3] = f32::NAN;
    says(refusal(&fixture), "tensor `embeddings.LayerNorm.bias` holds NaN at 3");
}

#[test]
fn truncated_weights_are_refused() {
    let folder = TempDir::new().unwrap();
    let fixture = Fixture::bert();
    fixture.write(folder.path());
    let weights = fixture.weights();
    for length in (0..weights.len()).step_by(97).chain([weights.len() - 1]) {
        std::fs::write(folder.path().join("model.safetensors"), &weights[..length]).unwrap();
        let error = Encoder::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("model.safetensors: not a whole safetensors file"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn damaged_folders_never_panic(file in 0usize..3, place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let fixture = Fixture::bert();
        let (name, mut bytes) = match file {
            0 => ("config.json", fixture.config.to_string().into_bytes()),
            1 => ("tokenizer.json", tokenizer().to_string().into_bytes()),
            _ => ("model.safetensors", fixture.weights()),
        };
        let folder = TempDir::new().unwrap();
        fixture.write(folder.path());
        let place = place.index(bytes.len());
        bytes[place] = byte;
        std::fs::write(folder.path().join(name), bytes).unwrap();
        if let Ok(encoder) = Encoder::load(folder.path()) {
            let _ = encoder.embed_batch(&["the dog, abc xx", ""]);
        }
    }
}

#[test]
fn fingerprints_tell_encoders_apart() {
    let encoder = load(&Fixture::bert()).unwrap();
    assert_eq!(encoder.fingerprint(), load(&Fixture::bert()).unwrap().fingerprint());
    assert!(encoder.fingerprint().len() == 64 && pieces().len() > 20);
    let other = load(&Fixture { kind: Dtype::F16, ..Fixture::bert() }).unwrap();
    assert_ne!(encoder.fingerprint(), other.fingerprint());
}
