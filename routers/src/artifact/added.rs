//! Models that were placed in a trained artefact afterwards, on prompts that others had been scored on.

use super::check::{magnitudes, refuse};
use super::error::ArtifactProblem;
use super::tensors::{OwnedTensor, Tensors};

/// A model placed without training the others again: its skill moves with theirs,
/// θ(x) = `prior` + Σ_m `mix`_m (θ_m(x) − θ⁰_m). It takes no part in the gauge.
#[derive(Debug, Clone, PartialEq)]
pub struct Added {
    /// Canonical name.
    pub model: String,
    /// Its global skill θ⁰.
    pub prior: f64,
    /// What it takes from the shift of each of the artefact's own models.
    pub mix: Vec<f32>,
}

/// Whether the added models fit an artefact of `models`.
pub(super) fn check(added: &[Added], models: &[String]) -> Result<(), ArtifactProblem> {
    if let Some(pair) = added.windows(2).find(|pair| pair[0].model >= pair[1].model) {
        let (first, second) = (&pair[0].model, &pair[1].model);
        let reason = format!("its added models must ascend by name, `{second}` follows `{first}`");
        return Err(ArtifactProblem::Manifest(reason));
    }
    for Added { model, prior, mix } in added {
        if models.binary_search(model).is_ok() {
            return Err(ArtifactProblem::Manifest(format!("`{model}` is added and known already")));
        }
        if mix.len() != models.len() {
            let reason = format!("has {} columns, expected {}", mix.len(), models.len());
            return Err(refuse("added_mix", reason));
        }
        magnitudes("added_prior", std::iter::once(*prior))?;
        magnitudes("added_mix", mix.iter().map(|&share| f64::from(share)))?;
    }
    Ok(())
}

/// None without added models.
pub(super) fn tensors(added: &[Added]) -> Vec<OwnedTensor> {
    let Some(first) = added.first() else { return Vec::new() };
    let priors: Vec<f64> = added.iter().map(|added| added.prior).collect();
    let mixes = faer::Mat::from_fn(added.len(), first.mix.len(), |row, column| added[row].mix[column]);
    vec![OwnedTensor::matrix("added_mix", &mixes), OwnedTensor::f64("added_prior", &priors)]
}

/// Reads what belongs to `names`, in an artefact of `models` models.
pub(super) fn read(
    names: Vec<String>,
    models: usize,
    tensors: &Tensors<'_>,
) -> Result<Vec<Added>, ArtifactProblem> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let priors = tensors.f64("added_prior", &[names.len()])?;
    let mixes = tensors.matrix("added_mix", [names.len(), models])?;
    let parts = names.into_iter().zip(priors).zip(mixes.row_iter());
    Ok(parts
        .map(|((model, prior), mix)| Added { model, prior, mix: mix.iter().copied().collect() })
        .collect())
}
