//! How token states become one vector, and which files say so.

use std::path::{Path, PathBuf};

use faer::{MatRef, RowMut};
use serde::Deserialize;

use super::EncoderError;
use crate::json;

/// From a sequence's token states to one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over the tokens. (Dividing by the root of the length instead changes nothing: vectors are
    /// brought to unit length.)
    Mean,
    /// The first token's state.
    First,
    /// The largest value of each dimension.
    Max,
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Schema {
    #[serde(default)]
    pooling_mode_cls_token: bool,
    #[serde(default)]
    pooling_mode_mean_tokens: bool,
    #[serde(default)]
    pooling_mode_max_tokens: bool,
    #[serde(default)]
    pooling_mode_mean_sqrt_len_tokens: bool,
    #[serde(default)]
    pooling_mode_weightedmean_tokens: bool,
    #[serde(default)]
    pooling_mode_lasttoken: bool,
}

#[derive(Deserialize)]
struct SentenceSchema {
    #[serde(default)]
    max_seq_length: Option<usize>,
}

const MODES: &str = "one of mean, mean over root of length, first token, max";

impl Pooling {
    /// Finds what a folder says of its pooling; the mean when it says nothing.
    pub(super) fn find(folder: &Path) -> Result<Self, EncoderError> {
        let path = match parse_if_there::<Vec<Module>>(&folder.join("modules.json"))? {
            Some(modules) => match of_modules(&folder.join("modules.json"), &modules)? {
                Some(module) => folder.join(module).join("config.json"),
                None => return Ok(Self::Mean),
            },
            None => folder.join("1_Pooling").join("config.json"),
        };
        parse_if_there::<Schema>(&path)?.map_or(Ok(Self::Mean), |schema| schema.mode(&path))
    }

    /// Pools one sequence's states (a column per token) into `into`; zeros for an empty sequence.
    pub(super) fn pool(self, states: MatRef<'_, f32>, into: RowMut<'_, f32>) {
        let tokens = states.ncols();
        for (value, across) in into.iter_mut().zip(states.row_iter()) {
            *value = match self {
                _ if tokens == 0 => 0.0,
                Self::Mean => across.sum() / tokens as f32,
                Self::First => across[0],
                Self::Max => across.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            };
        }
    }
}

/// The longest sequence that sentence-transformers would read with this folder; unlimited when it does not say.
pub(super) fn tokens_max(folder: &Path) -> Result<usize, EncoderError> {
    let path = folder.join("sentence_bert_config.json");
    let tokens_max = parse_if_there::<SentenceSchema>(&path)?.and_then(|schema| schema.max_seq_length);
    match tokens_max {
        Some(short) if short < 3 => Err(EncoderError::Config {
            path,
            reason: format!("max_seq_length is {short}, expected at least 3"),
        }),
        Some(tokens_max) => Ok(tokens_max),
        None => Ok(usize::MAX),
    }
}

impl Schema {
    fn mode(&self, path: &Path) -> Result<Pooling, EncoderError> {
        let mean = self.pooling_mode_mean_tokens || self.pooling_mode_mean_sqrt_len_tokens;
        let other = self.pooling_mode_weightedmean_tokens || self.pooling_mode_lasttoken;
        match (mean, self.pooling_mode_cls_token, self.pooling_mode_max_tokens, other) {
            (true, false, false, false) => Ok(Pooling::Mean),
            (false, true, false, false) => Ok(Pooling::First),
            (false, false, true, false) => Ok(Pooling::Max),
            _ => Err(EncoderError::Unsupported {
                path: path.to_owned(),
                what: "this combination of pooling modes".to_owned(),
                supported: MODES,
            }),
        }
    }
}

/// The folder of the pooling module, if the list names one.
fn of_modules<'a>(path: &Path, modules: &'a [Module]) -> Result<Option<&'a str>, EncoderError> {
    let mut pooling = None;
    for module in modules {
        match module.kind.rsplit('.').next().unwrap_or_default() {
            "Transformer" | "Normalize" => {}
            "Pooling" => pooling = Some(module.path.as_str()),
            other => {
                return Err(EncoderError::Unsupported {
                    path: path.to_owned(),
                    what: format!("module `{other}`"),
                    supported: "Transformer, Pooling, Normalize",
                });
            }
        }
    }
    Ok(pooling)
}

fn parse_if_there<T: serde::de::DeserializeOwned>(path: &PathBuf) -> Result<Option<T>, EncoderError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(EncoderError::Read { path: path.clone(), source }),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|source| EncoderError::Config {
        path: path.clone(),
        reason: json::problem_and_place(&source),
    })
}
