//! From a path to a decoder: which files there are, and what they say of each other.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokenizers::Tokenizer;

use super::config::Config;
use super::network::Network;
use super::weights::Weights;
use super::{Decoder, DecoderError, Precision, gguf_model, vocabulary};
use crate::encoder::hexadecimal;
use crate::gguf::Gguf;
use crate::{json, tokenizer_file};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// The list of shards; which tensor is in which is found out by looking.
#[derive(Deserialize)]
struct Index {
    weight_map: std::collections::BTreeMap<String, String>,
}

pub(super) fn load_folder(folder: &Path, precision: Precision) -> Result<Decoder, DecoderError> {
    let config_path = folder.join("config.json");
    let config_bytes = read(&config_path)?;
    let config = Config::parse(&config_path, &config_bytes)?;

    let tokenizer_path = folder.join("tokenizer.json");
    let tokenizer_bytes = read(&tokenizer_path)?;
    let tokenizer = tokenizer_file::parse(&tokenizer_bytes)
        .map_err(|reason| DecoderError::Tokenizer { path: tokenizer_path.clone(), reason })?;
    let tokenizer = plain(&tokenizer_path, tokenizer, config.vocabulary)?;

    let files = read_weights(folder)?;
    let mut parts = vec![&config_bytes[..], &tokenizer_bytes];
    parts.extend(files.iter().map(|(_, bytes)| &bytes[..]));
    let fingerprint = fingerprint(&parts).into();
    let network = Network::load(&Weights::safetensors(&files)?, config, precision)?;
    Ok(Decoder { tokenizer, network, fingerprint })
}

pub(super) fn load_gguf(path: &Path, precision: Precision) -> Result<Decoder, DecoderError> {
    let bytes = read(path)?;
    let file = Gguf::parse(&bytes).map_err(|source| DecoderError::Gguf { path: path.to_owned(), source })?;
    let tokenizer = vocabulary::tokenizer(path, &file)?;
    let config = gguf_model::config(path, &file, tokenizer.get_vocab_size(false))?;
    let tokenizer = plain(path, tokenizer, config.vocabulary)?;
    let pairs_together = gguf_model::pairs_together(&file);
    let network = Network::load(&Weights::Gguf { path, file: &file, pairs_together }, config, precision)?;
    Ok(Decoder { tokenizer, network, fingerprint: fingerprint(&[&bytes]).into() })
}

/// The file of weights, or all shards in the order of their names.
fn read_weights(folder: &Path) -> Result<Vec<(PathBuf, Vec<u8>)>, DecoderError> {
    let whole = folder.join(WEIGHTS);
    if whole.exists() {
        return Ok(vec![(whole.clone(), read(&whole)?)]);
    }
    let path = folder.join(INDEX);
    if !path.exists() {
        return Err(DecoderError::NoWeights { path: folder.to_owned() });
    }
    let refuse = |reason: String| DecoderError::Config { path: path.clone(), reason };
    let index: Index =
        serde_json::from_slice(&read(&path)?).map_err(|source| refuse(json::problem_and_place(&source)))?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    if names.is_empty() {
        return Err(refuse("names no file of weights".to_owned()));
    }
    let shard = |name: String| {
        // A shard lies beside its index: what is elsewhere is none of the model's.
        if Path::new(&name).file_name().is_none_or(|file| file != name.as_str()) {
            return Err(refuse(format!("`{name}` is not the name of a file in the folder")));
        }
        let path = folder.join(name);
        read(&path).map(|bytes| (path.clone(), bytes))
    };
    names.into_iter().map(shard).collect()
}

fn read(path: &Path) -> Result<Vec<u8>, DecoderError> {
    std::fs::read(path).map_err(|source| DecoderError::Read { path: path.to_owned(), source })
}

/// A tokenizer that gives a text's own tokens and no others, all of which the model knows.
fn plain(path: &Path, mut tokenizer: Tokenizer, vocabulary: usize) -> Result<Tokenizer, DecoderError> {
    let refuse = |reason: String| DecoderError::Tokenizer { path: path.to_owned(), reason };
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|source| refuse(source.to_string()))?;
    tokenizer.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
    let largest = tokenizer.get_vocab(true).into_values().max().unwrap_or(0);
    if largest as usize >= vocabulary {
        let reason = format!("token {largest} is outside the model's vocabulary of {vocabulary} tokens");
        return Err(refuse(reason));
    }
    Ok(tokenizer)
}

fn fingerprint(files: &[&[u8]]) -> String {
    let mut digest = Sha256::new();
    for file in files {
        digest.update(Sha256::digest(file));
    }
    hexadecimal(&digest.finalize())
}
