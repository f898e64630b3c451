//! Checkpoints: a file for each, with all that a training needs to go on as if nothing had happened.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::FinetuneError;
use super::files::{create_folder, read};
use super::model::write_tensors;
use super::optimiser::Optimiser;
use super::recipe::difference;
use crate::causal::SamplerState;

/// Changes with what is in the file.
const VERSION: u32 = 1;
/// The key of the state in the file's metadata.
const STATE: &str = "pointsman checkpoint";
/// Checkpoints that stay; the one before the latest is for the case that the disk fails.
const KEPT: usize = 2;
const EXTENSION: &str = "safetensors";

/// Where a training is, besides its tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    /// Steps made.
    pub(super) step: usize,
    pub(super) sampler: SamplerState,
    recipe: Map<String, Value>,
}

impl State {
    pub(super) const fn new(step: usize, sampler: SamplerState, recipe: Map<String, Value>) -> Self {
        Self { version: VERSION, step, sampler, recipe }
    }
}

/// Writes a checkpoint into the folder, and removes those that are no longer needed.
pub(super) fn save(folder: &Path, state: &State, optimiser: &Optimiser) -> Result<PathBuf, FinetuneError> {
    create_folder(folder)?;
    let path = folder.join(format!("step-{:08}.{EXTENSION}", state.step));
    let weights = optimiser.weights.iter().map(|(name, weight)| ("weight", name, weight.as_tensor()));
    let first = optimiser.first.iter().map(|(name, tensor)| ("first", name, tensor));
    let second = optimiser.second.iter().map(|(name, tensor)| ("second", name, tensor));
    let tensors: Vec<(String, Tensor)> = weights
        .chain(first)
        .chain(second)
        .map(|(part, name, tensor)| (format!("{part}/{name}"), tensor.clone()))
        .collect();
    let json = serde_json::to_string(state).map_err(|source| refuse(&path, source.to_string()))?;
    let tensors = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.clone())).collect();
    write_tensors(&path, tensors, HashMap::from([(STATE.to_owned(), json)]))?;
    // Not being able to remove an old one is no reason to stop.
    let mut old = all(folder)?;
    old.truncate(old.len().saturating_sub(KEPT));
    old.iter().for_each(|path| drop(std::fs::remove_file(path)));
    Ok(path)
}

/// Puts the latest checkpoint of the folder into the optimiser, and returns its state; `None` when there is none.
pub(super) fn load_latest(
    folder: &Path,
    recipe: &Map<String, Value>,
    optimiser: &mut Optimiser,
    device: &Device,
) -> Result<Option<State>, FinetuneError> {
    let Some(path) = all(folder)?.pop() else { return Ok(None) };
    let bytes = read(&path)?;
    let state = state_of(&path, &bytes)?;
    if let Some(name) = difference(&state.recipe, recipe) {
        let reason = format!("is of another training: `{name}` differs; remove it, or train as it was begun");
        return Err(refuse(&path, reason));
    }
    let tensors = candle_core::safetensors::load_buffer(&bytes, device);
    let tensors = tensors.map_err(|source| refuse(&path, source.to_string()))?;
    let find = |part: &str, name: &str| {
        let found = tensors.get(&format!("{part}/{name}")).cloned();
        found.ok_or_else(|| refuse(&path, format!("lacks {part}/{name}")))
    };
    for (name, weight) in &optimiser.weights {
        weight.set(&find("weight", name)?)?;
    }
    let fill = |part: &str, tensors: &mut BTreeMap<String, Tensor>| {
        tensors.iter_mut().try_for_each(|(name, tensor)| find(part, name).map(|found| *tensor = found))
    };
    fill("first", &mut optimiser.first)?;
    fill("second", &mut optimiser.second)?;
    Ok(Some(state))
}

fn state_of(path: &Path, bytes: &[u8]) -> Result<State, FinetuneError> {
    let (_, metadata) =
        SafeTensors::read_metadata(bytes).map_err(|source| refuse(path, source.to_string()))?;
    let json = metadata.metadata().as_ref().and_then(|metadata| metadata.get(STATE));
    let json = json.ok_or_else(|| refuse(path, "is no checkpoint".to_owned()))?;
    let state: State = serde_json::from_str(json).map_err(|source| refuse(path, source.to_string()))?;
    if state.version != VERSION {
        let (found, expected) = (state.version, VERSION);
        return Err(refuse(path, format!("is a checkpoint of version {found}, expected {expected}")));
    }
    Ok(state)
}

/// The checkpoints of a folder, the latest last; none where there is no folder.
fn all(folder: &Path) -> Result<Vec<PathBuf>, FinetuneError> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(FinetuneError::Read { path: folder.to_owned(), source }),
    };
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let is_ours = |path: &PathBuf| {
        let is_named =
            |stem: &str| stem.strip_prefix("step-").is_some_and(|step| step.parse::<u64>().is_ok());
        path.extension().is_some_and(|extension| extension == EXTENSION)
            && path.file_stem().and_then(|stem| stem.to_str()).is_some_and(is_named)
    };
    let mut paths: Vec<PathBuf> = paths.filter(is_ours).collect();
    // Steps have eight digits, so names sort as they do.
    paths.sort();
    Ok(paths)
}

fn refuse(path: &Path, reason: String) -> FinetuneError {
    FinetuneError::Checkpoint { path: path.to_owned(), reason }
}
