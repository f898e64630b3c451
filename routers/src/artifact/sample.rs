//! The prompts that an artefact is calibrated on: how each moves the skills, and its length; never a text.

use faer::Mat;

use super::check::{magnitudes, refuse};
use super::error::ArtifactProblem;
use super::tensors::{OwnedTensor, Tensors};

/// θ(x) − θ⁰ of an artefact's own models on a sample of prompts, two bytes per value, and the prompts' lengths.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CalibrationSample {
    /// Values in a row.
    models: usize,
    /// A row of `models` values per prompt.
    shifts: Vec<i16>,
    /// What each row is multiplied by.
    scales: Vec<f32>,
    /// Estimated tokens of each prompt.
    prompt_tokens: Vec<u32>,
}

impl CalibrationSample {
    /// Rounds shifts: one row per prompt, one column per model, and per prompt its estimated tokens
    /// ([`crate::select::cost::estimate_tokens`]). Rows without a length, and lengths without a row, are dropped.
    #[must_use]
    pub fn quantise(shifts: &Mat<f64>, prompt_tokens: &[u32]) -> Self {
        let mut sample = Self { models: shifts.ncols(), ..Self::default() };
        for (row, &tokens) in shifts.row_iter().zip(prompt_tokens) {
            let largest = row.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            let scale = (largest / f64::from(i16::MAX)) as f32;
            let steps = if scale > 0.0 { 1.0 / f64::from(scale) } else { 0.0 };
            // The largest value is ±32767 by the choice of the scale, and the conversion saturates.
            sample.shifts.extend(row.iter().map(|value| (value * steps).round() as i16));
            sample.scales.push(scale);
            sample.prompt_tokens.push(tokens);
        }
        sample
    }

    /// Prompts in the sample.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prompt_tokens.len()
    }

    /// Whether there are no prompts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prompt_tokens.is_empty()
    }

    /// The estimated tokens of each prompt.
    #[must_use]
    pub fn prompt_tokens(&self) -> &[u32] {
        &self.prompt_tokens
    }

    /// The shift of model number `row` on every prompt; `None` when there is no such model.
    #[must_use]
    pub fn of_row(&self, row: usize) -> Option<Vec<f64>> {
        let shift = |(shifts, scale): (&[i16], f32)| Some(f64::from(scale) * f64::from(*shifts.get(row)?));
        if row < self.models { self.rows().map(shift).collect() } else { None }
    }

    /// On every prompt the sum of the models' shifts, each times its share of `mix`.
    #[must_use]
    pub fn mixed(&self, mix: &[f64]) -> Vec<f64> {
        let shift = |(shifts, scale): (&[i16], f32)| {
            let products = shifts.iter().zip(mix).map(|(&shift, share)| f64::from(shift) * share);
            f64::from(scale) * products.sum::<f64>()
        };
        self.rows().map(shift).collect()
    }

    fn rows(&self) -> impl Iterator<Item = (&[i16], f32)> {
        self.shifts.chunks_exact(self.models.max(1)).zip(self.scales.iter().copied())
    }

    /// Whether it fits an artefact of so many models.
    pub(super) fn check(&self, models: usize) -> Result<(), ArtifactProblem> {
        if self.models != models {
            let reason = format!("has {} columns, expected {models}", self.models);
            return Err(refuse("calibration_shifts", reason));
        }
        magnitudes("calibration_scales", self.scales.iter().map(|&scale| f64::from(scale)))
    }

    pub(super) fn tensors(&self) -> Vec<OwnedTensor> {
        vec![
            OwnedTensor::u32("calibration_prompt_tokens", &self.prompt_tokens),
            OwnedTensor::f32("calibration_scales", &self.scales),
            OwnedTensor::i16("calibration_shifts", &self.shifts, [self.len(), self.models]),
        ]
    }

    /// Reads the sample of an artefact of so many models.
    pub(super) fn read(models: usize, tensors: &Tensors<'_>) -> Result<Self, ArtifactProblem> {
        let prompts = tensors.rows("calibration_prompt_tokens")?;
        Ok(Self {
            models,
            shifts: tensors.i16("calibration_shifts", &[prompts, models])?,
            scales: tensors.f32("calibration_scales", &[prompts])?,
            prompt_tokens: tensors.u32("calibration_prompt_tokens", &[prompts])?,
        })
    }
}
