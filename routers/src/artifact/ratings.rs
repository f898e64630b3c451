//! The global ratings that every artefact carries.

use super::check::{centred, refuse};
use super::error::ArtifactProblem;
use super::tensors::{OwnedTensor, Tensors};
use crate::ratings::GlobalFit;

/// Who an artefact knows, and where each model stands before any prompt is seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratings {
    /// Canonical names, strictly ascending.
    pub models: Vec<String>,
    /// θ⁰ of each model, logits; mean zero.
    pub prior: Vec<f64>,
    /// The component of the comparison graph that each model lies in: skills are comparable within one only.
    pub components: Vec<u32>,
}

impl Ratings {
    /// The ratings of a global fit to these models, brought into the gauge: the mean of θ⁰ is zero.
    #[must_use]
    pub fn of(models: &[String], global: &GlobalFit) -> Self {
        let mut prior = global.skills.clone();
        let mean = prior.iter().sum::<f64>() / prior.len().max(1) as f64;
        prior.iter_mut().for_each(|skill| *skill -= mean);
        Self { models: models.to_vec(), prior, components: global.components.clone() }
    }

    pub(super) fn check(&self) -> Result<(), ArtifactProblem> {
        if self.models.is_empty() {
            return Err(ArtifactProblem::Manifest("it names no models".to_owned()));
        }
        if let Some(pair) = self.models.windows(2).find(|pair| pair[0] >= pair[1]) {
            let reason = format!("its models must ascend by name, `{}` follows `{}`", pair[1], pair[0]);
            return Err(ArtifactProblem::Manifest(reason));
        }
        let expected = self.models.len();
        let lengths = [("prior", self.prior.len()), ("components", self.components.len())];
        if let Some((name, found)) = lengths.into_iter().find(|(_, found)| *found != expected) {
            return Err(refuse(name, format!("has {found} values, expected {expected}")));
        }
        centred("prior", &self.prior)
    }

    pub(super) fn tensors(&self) -> Vec<OwnedTensor> {
        vec![OwnedTensor::u32("components", &self.components), OwnedTensor::f64("prior", &self.prior)]
    }

    pub(super) fn read(models: Vec<String>, tensors: &Tensors<'_>) -> Result<Self, ArtifactProblem> {
        let count = models.len();
        let prior = tensors.f64("prior", &[count])?;
        let components = tensors.u32("components", &[count])?;
        Ok(Self { models, prior, components })
    }
}
