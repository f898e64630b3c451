//! The prompts that an artefact is calibrated on: how each moves the skills, and its length; never a text.

use std::collections::HashMap;

use faer::Mat;

use super::check::{magnitudes, refuse};
use super::error::ArtifactProblem;
use super::tensors::{OwnedTensor, Tensors};

/// Values of a sample that is read, at most: repeated rows make a small file a large sample.
const VALUES_MAX: usize = 1 << 26;

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

    /// A router that tells few kinds of prompts apart, such as clusters, repeats few rows: each is written once then.
    pub(super) fn tensors(&self) -> Vec<OwnedTensor> {
        let mut tensors = vec![
            OwnedTensor::u32("calibration_models", &self.columns),
            OwnedTensor::u32("calibration_prompt_tokens", &self.prompt_tokens),
        ];
        let (distinct, places) = self.distinct();
        let is_repeated = !self.is_empty() && 2 * distinct.len() <= self.len();
        let rows = if is_repeated { distinct } else { self.rows().collect() };
        let (shifts, scales): (Vec<&[i16]>, Vec<f32>) = rows.into_iter().unzip();
        tensors.extend([
            OwnedTensor::f32("calibration_scales", &scales),
            OwnedTensor::i16("calibration_shifts", &shifts.concat(), [scales.len(), self.columns.len()]),
        ]);
        tensors.extend(is_repeated.then(|| OwnedTensor::u32("calibration_rows", &places)));
        tensors
    }

    /// The rows that differ, in the order of their first prompts, and of each prompt which is its own.
    fn distinct(&self) -> (Vec<(&[i16], f32)>, Vec<u32>) {
        let (mut places, mut distinct) = (HashMap::new(), Vec::new());
        let place = |(shifts, scale): (_, f32)| {
            *places.entry((shifts, scale.to_bits())).or_insert_with(|| {
                distinct.push((shifts, scale));
                distinct.len() as u32 - 1
            })
        };
        let of_prompts = self.rows().map(place).collect();
        (distinct, of_prompts)
    }

    /// Reads the sample of an artefact of so many models.
    pub(super) fn read(models: usize, tensors: &Tensors<'_>) -> Result<Self, ArtifactProblem> {
        let (prompts, columns) =
            (tensors.rows("calibration_prompt_tokens")?, tensors.rows("calibration_models")?);
        let is_repeated = tensors.has("calibration_rows");
        let rows = if is_repeated { tensors.rows("calibration_scales")? } else { prompts };
        let sample = Self {
            models,
            columns: tensors.u32("calibration_models", &[columns])?,
            shifts: tensors.i16("calibration_shifts", &[rows, columns])?,
            scales: tensors.f32("calibration_scales", &[rows])?,
            prompt_tokens: tensors.u32("calibration_prompt_tokens", &[prompts])?,
        };
        if is_repeated { sample.repeated(&tensors.u32("calibration_rows", &[prompts])?) } else { Ok(sample) }
    }

    /// The sample of which this one has each row once; `places` says which is each prompt's.
    fn repeated(self, places: &[u32]) -> Result<Self, ArtifactProblem> {
        let columns = self.columns.len();
        if places.len().saturating_mul(columns) > VALUES_MAX {
            return Err(refuse("calibration_rows", format!("makes more than {VALUES_MAX} values")));
        }
        let (mut shifts, mut scales) = (Vec::with_capacity(places.len() * columns), Vec::new());
        for &place in places {
            let place = place as usize;
            let (Some(row), Some(&scale)) =
                (self.shifts.get(place * columns..(place + 1) * columns), self.scales.get(place))
            else {
                let reason = format!("names row {place} of {}", self.scales.len());
                return Err(refuse("calibration_rows", reason));
            };
            shifts.extend_from_slice(row);
            scales.push(scale);
        }
        Ok(Self { shifts, scales, ..self })
    }
}
