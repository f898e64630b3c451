//! What the training of an `mf` router learns, and what must hold of it.

use faer::Mat;
use faer::reborrow::{Reborrow, ReborrowMut};

use crate::artifact::ArtifactProblem;

/// Weights beyond this are no result of a training; within it no product of them overflows.
const MAGNITUDE_MAX: f64 = 1e6;

/// Column means of the factors, and the mean of θ⁰, may be off zero by rounding: by this share of the largest value.
const GAUGE_TOLERANCE: f64 = 1e-4;

/// The weights of an `mf` router; temperature and label scales are folded in.
#[derive(Debug, Clone, PartialEq)]
pub struct MfWeights {
    /// Canonical names, strictly ascending.
    pub models: Vec<String>,
    /// θ⁰ of each model, logits; mean zero.
    pub prior: Vec<f64>,
    /// The component of the comparison graph that each model lies in: skills are comparable within one only.
    pub components: Vec<u32>,
    /// W₁, dim × rank.
    pub projection: Mat<f32>,
    /// C, dim × topics: the topics' centres, times the sharpness.
    pub topics: Mat<f32>,
    /// W₂, topics × rank.
    pub topic_projection: Mat<f32>,
    /// b, of the rank's length.
    pub bias: Vec<f32>,
    /// w ∘ v_m, models × rank; every column has mean zero.
    pub factors: Mat<f32>,
}

impl MfWeights {
    /// Brings the weights into the gauge: the mean of θ⁰ and of every column of the factors becomes zero. No win
    /// rate changes by it.
    pub fn centre(&mut self) {
        let count = self.models.len().max(1) as f64;
        let mean = self.prior.iter().sum::<f64>() / count;
        self.prior.iter_mut().for_each(|prior| *prior -= mean);
        for mut column in self.factors.col_iter_mut() {
            let mean = column.rb().iter().map(|&factor| f64::from(factor)).sum::<f64>() / count;
            column.rb_mut().iter_mut().for_each(|factor| *factor = (f64::from(*factor) - mean) as f32);
        }
    }

    /// Whether the parts fit together and the gauge holds.
    pub(crate) fn check(&self) -> Result<(), ArtifactProblem> {
        self.check_models()?;
        let (count, rank) = (self.models.len(), self.projection.ncols());
        if self.projection.nrows() == 0 || rank == 0 {
            return Err(refuse("projection", format!("has shape {} × {rank}", self.projection.nrows())));
        }
        let topics = (self.topics.nrows(), self.topics.ncols());
        if topics.0 != self.projection.nrows() {
            return Err(refuse(
                "topics",
                format!("has shape {topics:?}, expected {} rows", self.projection.nrows()),
            ));
        }
        let of_topics = (self.topic_projection.nrows(), self.topic_projection.ncols());
        if of_topics != (topics.1, rank) {
            let reason = format!("has shape {of_topics:?}, expected ({}, {rank})", topics.1);
            return Err(refuse("topic_projection", reason));
        }
        let factors = (self.factors.nrows(), self.factors.ncols());
        if factors != (count, rank) {
            return Err(refuse("factors", format!("has shape {factors:?}, expected ({count}, {rank})")));
        }
        let lengths = [
            ("prior", self.prior.len(), count),
            ("components", self.components.len(), count),
            ("bias", self.bias.len(), rank),
        ];
        if let Some((name, found, expected)) =
            lengths.into_iter().find(|(_, found, expected)| found != expected)
        {
            return Err(refuse(name, format!("has {found} values, expected {expected}")));
        }
        check_magnitudes("bias", self.bias.iter().map(|&value| f64::from(value)))?;
        check_magnitudes("projection", values(&self.projection))?;
        check_magnitudes("topics", values(&self.topics))?;
        check_magnitudes("topic_projection", values(&self.topic_projection))?;
        check_centred("prior", &self.prior)?;
        self.factors.col_iter().try_for_each(|column| {
            let column: Vec<f64> = column.iter().map(|&factor| f64::from(factor)).collect();
            check_centred("factors", &column)
        })
    }

    fn check_models(&self) -> Result<(), ArtifactProblem> {
        if self.models.is_empty() {
            return Err(ArtifactProblem::Manifest("it names no models".to_owned()));
        }
        let disorder = self.models.windows(2).find(|pair| pair[0] >= pair[1]);
        match disorder {
            Some(pair) => {
                let reason = format!("its models must ascend by name, `{}` follows `{}`", pair[1], pair[0]);
                Err(ArtifactProblem::Manifest(reason))
            }
            None => Ok(()),
        }
    }
}

fn refuse(name: &'static str, reason: String) -> ArtifactProblem {
    ArtifactProblem::Tensor { name, reason }
}

fn values(matrix: &Mat<f32>) -> impl Iterator<Item = f64> {
    matrix.col_iter().flat_map(|column| column.iter().map(|&value| f64::from(value)))
}

/// Refuses what is not finite, or too large to be a weight.
fn check_magnitudes(
    name: &'static str,
    mut values: impl Iterator<Item = f64>,
) -> Result<(), ArtifactProblem> {
    match values.find(|value| value.is_nan() || value.abs() > MAGNITUDE_MAX) {
        None => Ok(()),
        Some(value) => Err(refuse(name, format!("holds {value}, expected values within ±{MAGNITUDE_MAX}"))),
    }
}

/// Refuses a column that is out of gauge.
fn check_centred(name: &'static str, column: &[f64]) -> Result<(), ArtifactProblem> {
    check_magnitudes(name, column.iter().copied())?;
    let largest = column.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let mean = column.iter().sum::<f64>() / column.len().max(1) as f64;
    if mean.abs() > GAUGE_TOLERANCE * largest {
        return Err(refuse(name, format!("has a column of mean {mean}, expected 0")));
    }
    Ok(())
}
