//! The prompts that an artefact is calibrated on: how each moves the skills, and its length; never a text.

use faer::Mat;

use super::check::{magnitudes, refuse};
use super::error::ArtifactProblem;
use super::tensors::{OwnedTensor, Tensors};

/// θ(x) − θ⁰ of an artefact's own models on a sample of prompts, two bytes per value, and the prompts' lengths.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CalibrationSample {
    /// The artefact's models.
    models: usize,
    /// Those that any prompt moves, ascending.
    columns: Vec<u32>,
    /// A row per prompt, a value for each of `columns`.
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
        let moves = |model: &usize| shifts.col(*model).iter().any(|&shift| shift != 0.0);
        let moved: Vec<usize> = (0..shifts.ncols()).filter(moves).collect();
        let columns = moved.iter().map(|&model| model as u32).collect();
        let mut sample = Self { models: shifts.ncols(), columns, ..Self::default() };
        for (row, &tokens) in shifts.row_iter().zip(prompt_tokens) {
            let largest = row.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
            let scale = (largest / f64::from(i16::MAX)) as f32;
            let steps = if scale > 0.0 { 1.0 / f64::from(scale) } else { 0.0 };
            // The largest value is ±32767 by the choice of the scale, and the conversion saturates.
            sample.shifts.extend(moved.iter().map(|&model| (row[model] * steps).round() as i16));
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
        if row >= self.models {
            return None;
        }
        let Ok(column) = self.columns.binary_search(&u32::try_from(row).ok()?) else {
            return Some(vec![0.0; self.len()]);
        };
        let shift = |(shifts, scale): (&[i16], f32)| Some(f64::from(scale) * f64::from(*shifts.get(column)?));
        self.rows().map(shift).collect()
    }

    /// On every prompt the sum of the models' shifts, each times its share of `mix`.
    #[must_use]
    pub fn mixed(&self, mix: &[f64]) -> Vec<f64> {
        let mix: Vec<f64> =
            self.columns.iter().map(|&row| mix.get(row as usize).copied().unwrap_or_default()).collect();
        let shift = |(shifts, scale): (&[i16], f32)| {
            let products = shifts.iter().zip(&mix).map(|(&shift, share)| f64::from(shift) * share);
            f64::from(scale) * products.sum::<f64>()
        };
        self.rows().map(shift).collect()
    }

    fn rows(&self) -> impl Iterator<Item = (&[i16], f32)> {
        // Without columns there is nothing to cut.
        let rows = (0..self.len()).map(|row| {
            let start = row * self.columns.len();
            self.shifts.get(start..start + self.columns.len()).unwrap_or_default()
        });
        rows.zip(self.scales.iter().copied())
    }

    /// Whether it fits an artefact of so many models.
    pub(super) fn check(&self, models: usize) -> Result<(), ArtifactProblem> {
        if self.models != models {
            let reason = format!("is of {} models, expected {models}", self.models);
            return Err(refuse("calibration_shifts", reason));
        }
        let ascends = self.columns.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascends || self.columns.last().is_some_and(|&last| last as usize >= models) {
            return Err(refuse("calibration_models", "names models out of order".to_owned()));
        }
        magnitudes("calibration_scales", self.scales.iter().map(|&scale| f64::from(scale)))
    }

    pub(super) fn tensors(&self) -> Vec<OwnedTensor> {
        vec![
            OwnedTensor::u32("calibration_models", &self.columns),
            OwnedTensor::u32("calibration_prompt_tokens", &self.prompt_tokens),
            OwnedTensor::f32("calibration_scales", &self.scales),
            OwnedTensor::i16("calibration_shifts", &self.shifts, [self.len(), self.columns.len()]),
        ]
    }

    /// Reads the sample of an artefact of so many models.
    pub(super) fn read(models: usize, tensors: &Tensors<'_>) -> Result<Self, ArtifactProblem> {
        let (prompts, columns) =
            (tensors.rows("calibration_prompt_tokens")?, tensors.rows("calibration_models")?);
        Ok(Self {
            models,
            columns: tensors.u32("calibration_models", &[columns])?,
            shifts: tensors.i16("calibration_shifts", &[prompts, columns])?,
            scales: tensors.f32("calibration_scales", &[prompts])?,
            prompt_tokens: tensors.u32("calibration_prompt_tokens", &[prompts])?,
        })
    }
}
