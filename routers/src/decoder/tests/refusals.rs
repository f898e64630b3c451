//! What is refused, and in which words.

use super::*;

#[track_caller]
fn says(error: &str, expected: &str) {
    assert!(error.ends_with(expected), "{error:?} does not end with {expected:?}");
}

fn refusal(fixture: &Fixture) -> String {
    load(fixture).err().map(|error| error.to_string()).unwrap_or_default()
}

fn file_refusal(file: &Builder) -> String {
    load_bytes(&file.bytes()).err().map(|error| error.to_string()).unwrap_or_default()
}

#[test]
fn missing_files_are_named() {
    for name in ["config.json", "tokenizer.json"] {
        let folder = TempDir::new().unwrap();
        Fixture::llama().write(folder.path());
        std::fs::remove_file(folder.path().join(name)).unwrap();
        let error = Decoder::load(folder.path(), Precision::F32).unwrap_err();
        assert!(matches!(error, DecoderError::Read { .. }) && error.to_string().contains(name), "{error}");
    }
    let folder = TempDir::new().unwrap();
    Fixture::llama().write(folder.path());
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    says(
        &Decoder::load(folder.path(), Precision::F32).unwrap_err().to_string(),
        ": holds neither model.safetensors nor model.safetensors.index.json; fetch the model anew",
    );
    let error = Decoder::load(&folder.path().join("none.gguf"), Precision::F32).unwrap_err();
    assert!(error.to_string().contains("none.gguf: No such file"), "{error}");
}

#[test]
fn shards_are_files_of_the_folder() {
    let folder = TempDir::new().unwrap();
    Fixture::llama().write_shards(folder.path());
    let path = folder.path().join("model.safetensors.index.json");
    let refusal = |index: serde_json::Value| {
        std::fs::write(&path, index.to_string()).unwrap();
        Decoder::load(folder.path(), Precision::F32).unwrap_err().to_string()
    };
    says(&refusal(json!({"weight_map": {}})), "index.json: names no file of weights");
    says(
        &refusal(json!({"weight_map": {"a": "../model-1.safetensors"}})),
        "index.json: `../model-1.safetensors` is not the name of a file in the folder",
    );
    says(
        &refusal(json!({"weight_map": 1})),
        "index.json: invalid type: integer `1`, expected an object at line 1 column 15",
    );
    assert!(
        refusal(json!({"weight_map": {"a": "model-3.safetensors"}}))
            .contains("model-3.safetensors: No such file")
    );
    says(
        &refusal(json!({"weight_map": {"a": "model-2.safetensors"}})),
        "model-2.safetensors: tensor `model.layers.0.self_attn.q_proj.weight` is missing; the file is not whole, or of \
         another model than the configuration",
    );
}

#[test]
fn configurations_that_are_not_run_are_refused() {
    let change = |key: &str, value: serde_json::Value| {
        let mut fixture = Fixture::llama();
        fixture.config[key] = value;
        refusal(&fixture)
    };
    says(
        &change("model_type", json!("gemma")),
        "config.json: model_type `gemma` is not supported (supported: llama, mistral, qwen2)",
    );
    says(
        &change("hidden_act", json!("gelu")),
        "config.json: activation `gelu` is not supported (supported: silu)",
    );
    says(
        &change("mlp_bias", json!(true)),
        "config.json: `mlp_bias`: true is not supported (supported: false)",
    );
    says(&change("num_hidden_layers", json!(0)), "config.json: the number of layers is 0");
    says(&change("num_attention_heads", json!(0)), "config.json: the number of heads is 0");
    says(&change("num_key_value_heads", json!(3)), "config.json: 4 heads cannot share 3 heads of keys");
    says(&change("head_dim", json!(15)), "config.json: the width of a head is 15, which is odd");
    says(&change("rope_theta", json!(0.0)), "config.json: the rotation's theta is 0");
    says(&change("rms_norm_eps", json!(-1.0)), "config.json: the norms' epsilon is -1");
    says(
        &change("intermediate_size", json!(1u64 << 62)),
        "config.json: the network is wider than any file could hold",
    );
    says(
        &change("rope_scaling", json!({"rope_type": "yarn", "factor": 2.0})),
        "config.json: rope_scaling `yarn` is not supported (supported: default, linear, llama3)",
    );
    says(
        &change("rope_scaling", json!({"type": "linear"})),
        "config.json: rope_scaling lacks a positive `factor`",
    );
    assert!(
        change("hidden_size", json!("x"))
            .contains("config.json: invalid type: string \"x\", expected a whole number")
    );
    says(
        &change("vocab_size", json!(100)),
        "tokenizer.json: token 261 is outside the model's vocabulary of 100 tokens",
    );
}

#[test]
fn tensors_must_be_what_the_configuration_says() {
    let change = |key: &str, value: serde_json::Value| {
        let mut fixture = Fixture::llama();
        fixture.config[key] = value;
        refusal(&fixture)
    };
    let missing = "is missing; the file is not whole, or of another model than the configuration";
    says(
        &change("num_hidden_layers", json!(3)),
        &format!("model.safetensors: tensor `model.layers.2.self_attn.q_proj.weight` {missing}"),
    );
    says(
        &change("intermediate_size", json!(97)),
        "tensor `model.layers.0.mlp.gate_proj.weight` has shape [96, 64], expected [97, 64]",
    );
    says(
        &change("vocab_size", json!(300)),
        "model.safetensors: tensor `model.embed_tokens.weight` has shape [262, 64], expected [300, 64]",
    );
    says(
        &change("model_type", json!("qwen2")),
        &format!("model.safetensors: tensor `model.layers.0.self_attn.q_proj.bias` {missing}"),
    );
    let mut fixture = Fixture::llama();
    fixture.tensors.get_mut("model.norm.weight").unwrap().1[3] = f32::NAN;
    says(&refusal(&fixture), "tensor `model.norm.weight` holds NaN at 3");
}

#[test]
fn windows_and_scalings_are_heeded() {
    let context = |family: &str, changes: &[(&str, serde_json::Value)]| {
        let mut fixture = if family == "qwen2" { Fixture::qwen2() } else { Fixture::llama() };
        fixture.config["model_type"] = json!(family);
        changes.iter().for_each(|(key, value)| fixture.config[*key] = value.clone());
        load(&fixture).unwrap().context()
    };
    let window = ("sliding_window", json!(16));
    assert_eq!(context("mistral", std::slice::from_ref(&window)), 16);
    assert_eq!(context("mistral", &[("sliding_window", json!(null))]), POSITIONS);
    assert_eq!(context("qwen2", std::slice::from_ref(&window)), POSITIONS);
    assert_eq!(context("qwen2", &[window, ("use_sliding_window", json!(true))]), 16);
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                        "original_max_position_embeddings": 8192});
    assert_eq!(context("llama", &[("rope_scaling", llama3)]), POSITIONS);
    assert_eq!(
        context("llama", &[("rope_parameters", json!({"rope_type": "default", "rope_theta": 5.0}))]),
        POSITIONS
    );
}

#[test]
fn sequences_have_bounds() {
    let mut fixture = Fixture::llama();
    fixture.config["max_position_embeddings"] = json!(10);
    let decoder = load(&fixture).unwrap();
    let prefix = decoder.prefix(&[1; 8]).unwrap();
    let error = |result: Result<_, DecoderError>| result.map(|_: Mat<f32>| ()).unwrap_err().to_string();
    assert!(decoder.branch(&prefix, &[&[1, 1]]).is_ok() && decoder.extend(&prefix, &[]).is_ok());
    let too_long = "a sequence of 11 tokens is longer than the model's 10";
    says(&error(decoder.branch(&prefix, &[&[1], &[1, 1, 1]])), too_long);
    says(&error(decoder.branch_after(&prefix, &[1], &[&[1, 1]])), too_long);
    says(&decoder.prefix(&[1; 11]).unwrap_err().to_string(), too_long);
    says(&decoder.greedy(&[1; 9], 5).unwrap_err().to_string(), too_long);
    says(&error(decoder.branch(&prefix, &[&[]])), "an empty sequence has no last token");
    says(&error(decoder.branch(&prefix, &[&[262]])), "token 262 is outside the vocabulary of 262");
}

#[test]
fn files_that_are_not_run_are_refused() {
    let text = |key: &str, value: &str| {
        let mut file = Builder::default();
        for (known, other) in [
            ("general.architecture", "llama"),
            ("tokenizer.ggml.model", "gpt2"),
            ("tokenizer.ggml.pre", "smollm"),
        ] {
            file = file.text(known, if known == key { value } else { other });
        }
        file_refusal(&file)
    };
    says(
        &text("tokenizer.ggml.model", "bert"),
        "model.gguf: tokenizer `bert` is not supported (supported: gpt2, llama)",
    );
    says(
        &text("tokenizer.ggml.model", "llama"),
        "model.gguf: metadata `tokenizer.ggml.tokens` is missing or no list; convert the model anew",
    );
    says(
        &text("tokenizer.ggml.pre", "tekken"),
        "model.gguf: pre-tokenizer `tekken` is not supported (supported: default, gpt-2, smollm, qwen2, llama-bpe)",
    );
    says(
        &text("", ""),
        "model.gguf: metadata `tokenizer.ggml.tokens` is missing or no list; convert the model anew",
    );
    let mut gemma = Fixture::llama();
    gemma.config["model_type"] = json!("gemma");
    says(&file_refusal(&gemma.gguf()), "architecture `gemma` is not supported (supported: llama, qwen2)");
    let whole = Fixture::llama().gguf();
    says(
        &file_refusal(&whole.clone().u32("llama.expert_count", 8)),
        "a mixture of 8 experts is not supported (supported: one network)",
    );
    says(
        &file_refusal(&whole.clone().u32("llama.rope.dimension_count", 8)),
        "a rotation of 8 of a head's 16 values is not supported (supported: all of them)",
    );
    says(
        &file_refusal(&whole.clone().text("llama.rope.scaling.type", "yarn")),
        "rope scaling `yarn` is not supported (supported: none, linear)",
    );
    says(
        &file_refusal(&whole.clone().floats("rope_freqs.weight", &[2], &[1.0, 2.0])),
        "tensor `rope_freqs.weight` does not hold 8 positive factors",
    );
    let bytes = whole.bytes();
    says(&load_bytes(&bytes[..bytes.len() - 1]).unwrap_err().to_string(), "it is cut short; fetch it again");
}

#[test]
fn truncated_weights_are_refused() {
    let folder = TempDir::new().unwrap();
    Fixture::llama().write(folder.path());
    let path = folder.path().join("model.safetensors");
    let weights = std::fs::read(&path).unwrap();
    for length in [0, 7, 100, weights.len() / 2, weights.len() - 1] {
        std::fs::write(&path, &weights[..length]).unwrap();
        let error = Decoder::load(folder.path(), Precision::F32).unwrap_err().to_string();
        assert!(error.contains("model.safetensors: not a whole safetensors file"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn damaged_files_never_panic(header in any::<bool>(), place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = Fixture::llama().gguf().bytes();
        // Most of a file is weights, most of what can go wrong is ahead of them.
        let place = place.index(if header { 900 } else { bytes.len() });
        bytes[place] = byte;
        if let Ok(decoder) = load_bytes(&bytes) {
            let _ = decoder.tokens("the dog, 12").and_then(|tokens| decoder.greedy(&tokens, 2));
        }
    }

    #[test]
    fn damaged_folders_never_panic(file in 0usize..2, place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let fixture = Fixture::qwen2();
        let folder = TempDir::new().unwrap();
        fixture.write(folder.path());
        let path = folder.path().join(["config.json", "tokenizer.json"][file]);
        let mut bytes = std::fs::read(&path).unwrap();
        let place = place.index(bytes.len());
        bytes[place] = byte;
        std::fs::write(&path, bytes).unwrap();
        if let Ok(decoder) = Decoder::load(folder.path(), Precision::F32) {
            let _ = decoder.tokens("the dog, 12").and_then(|tokens| decoder.greedy(&tokens, 2));
        }
    }
}
