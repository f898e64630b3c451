//! How a prompt is read before any model is thought of: one vector z(x) of its embedding and its text features, and
//! how much it belongs to each of a few *domains*, such as law exams, school mathematics or open questions.
//!
//! Heads are fitted for each domain and mixed by these memberships, softmax(Gᵀz): what makes one prompt of an exam
//! harder than another says little about open questions. Must not know what heads make of it.

use faer::Mat;

use crate::artifact::ArtifactProblem;
use crate::artifact::check::{magnitudes, refuse};
use crate::features;
use crate::learned::Query;
use crate::product::{add_product, row_major};

/// Memberships below this are left out: the heads of most domains need not be asked about most prompts.
const MEMBERSHIP_MIN: f32 = 1e-3;
/// Features are kept within so many standard deviations of their mean.
const DEVIATIONS_MAX: f32 = 4.0;
/// Standard deviation of a feature with a spread of its own, beside an embedding of length 1.
const SPREAD: f32 = 0.2;

/// What is learned of how to read prompts.
#[derive(Debug, Clone, PartialEq)]
pub struct ReadingWeights {
    /// Dimensions of an embedding.
    pub dim: usize,
    /// Subtracted from each text feature; of length [`features::COUNT`], or empty where no features are read.
    pub feature_centre: Vec<f32>,
    /// What each text feature is multiplied by then.
    pub feature_scale: Vec<f32>,
    /// G: inputs × domains; the last input is the constant 1.
    pub gate: Mat<f32>,
}

impl ReadingWeights {
    /// Embeddings alone, and one domain.
    #[must_use]
    pub fn plain(dim: usize) -> Self {
        Self { dim, feature_centre: Vec::new(), feature_scale: Vec::new(), gate: Mat::zeros(dim + 1, 1) }
    }

    /// Inputs of a head: the embedding, the features, and the constant 1.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.dim + self.feature_scale.len() + 1
    }

    /// Domains.
    #[must_use]
    pub fn domains(&self) -> usize {
        self.gate.ncols()
    }

    /// Centres and scales of features, from those of the training prompts: a row each.
    #[must_use]
    pub fn scaling(rows: &Mat<f32>) -> (Vec<f32>, Vec<f32>) {
        let count = rows.nrows().max(1) as f64;
        let scale_of = |place: usize| -> (f32, f32) {
            if !features::has_own_spread(place) {
                return (0.0, 1.0);
            }
            let values = || rows.col(place).iter().map(|&value| f64::from(value));
            let mean = values().sum::<f64>() / count;
            let deviation = (values().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt();
            // What never changes says nothing, also where it does change one day.
            let scale = if deviation > 1e-6 { f64::from(SPREAD) / deviation } else { 0.0 };
            (mean as f32, scale as f32)
        };
        (0..rows.ncols()).map(scale_of).unzip()
    }

    /// Whether the parts fit together.
    pub(crate) fn check(&self) -> Result<(), ArtifactProblem> {
        let features = self.feature_scale.len();
        if self.dim == 0 || (features != 0 && features != features::COUNT) {
            let expected = features::COUNT;
            return Err(refuse(
                "feature_scale",
                format!("has {features} values, expected {expected}, or none"),
            ));
        }
        if self.feature_centre.len() != features {
            let reason = format!("has {} values, expected {features}", self.feature_centre.len());
            return Err(refuse("feature_centre", reason));
        }
        let gate = (self.gate.nrows(), self.gate.ncols());
        if gate.0 != self.inputs() || gate.1 == 0 {
            return Err(refuse("gate", format!("has shape {gate:?}, expected {} rows", self.inputs())));
        }
        let values = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
        magnitudes("feature_centre", values(&self.feature_centre).into_iter())?;
        magnitudes("feature_scale", values(&self.feature_scale).into_iter())?;
        magnitudes(
            "gate",
            self.gate.col_iter().flat_map(|column| column.iter().map(|&value| f64::from(value))),
        )
    }
}

/// Reads prompts.
#[derive(Debug)]
pub(crate) struct Reading {
    dim: usize,
    centre: Vec<f32>,
    scale: Vec<f32>,
    /// Row-major.
    gate: Vec<f32>,
    domains: usize,
}

/// A prompt as heads see it.
#[derive(Debug)]
pub(crate) struct Read {
    /// z(x), and the constant 1 at its end.
    pub(crate) inputs: Vec<f32>,
    /// Where z(x) is not zero: most counts are.
    pub(crate) places: Vec<u32>,
    /// How much the prompt belongs to each domain: 0 for most, 1 together.
    pub(crate) memberships: Vec<f32>,
}

impl Reading {
    pub(crate) fn new(weights: &ReadingWeights) -> Self {
        Self {
            dim: weights.dim,
            centre: weights.feature_centre.clone(),
            scale: weights.feature_scale.clone(),
            gate: row_major(&weights.gate),
            domains: weights.domains(),
        }
    }

    pub(crate) fn dim(&self) -> usize {
        self.dim
    }

    /// Reads a prompt, the embedding being of the right length.
    pub(crate) fn read(&self, query: Query<'_>) -> Read {
        let mut inputs = Vec::with_capacity(self.dim + self.scale.len() + 1);
        inputs.extend_from_slice(query.embedding);
        if !self.scale.is_empty() {
            inputs.resize(self.dim + self.scale.len(), 0.0);
            let counted = inputs.get_mut(self.dim..).unwrap_or_default();
            features::count(query.text, counted);
            self.bring_to_scale(counted);
        }
        inputs.push(1.0);
        let places: Vec<u32> =
            (0..).zip(&inputs).filter(|(_, value)| **value != 0.0).map(|(place, _)| place).collect();
        let memberships = self.memberships(&inputs, &places);
        Read { inputs, places, memberships }
    }

    fn bring_to_scale(&self, counted: &mut [f32]) {
        for (place, (value, (centre, scale))) in
            counted.iter_mut().zip(self.centre.iter().zip(&self.scale)).enumerate()
        {
            *value = (*value - centre) * scale;
            if features::has_own_spread(place) {
                *value = value.clamp(-DEVIATIONS_MAX * SPREAD, DEVIATIONS_MAX * SPREAD);
            }
        }
    }

    /// softmax(Gᵀz), small ones left out, of inputs that are zero but at `places`.
    pub(crate) fn memberships(&self, inputs: &[f32], places: &[u32]) -> Vec<f32> {
        if self.domains == 1 {
            return vec![1.0];
        }
        let mut memberships = vec![0.0; self.domains];
        add_product(&self.gate, inputs, places, 1.0, &mut memberships);
        let largest = memberships.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        memberships.iter_mut().for_each(|value| *value = (*value - largest).exp());
        let all: f32 = memberships.iter().sum();
        let small = |value: f32| value < MEMBERSHIP_MIN * all;
        memberships.iter_mut().filter(|value| small(**value)).for_each(|value| *value = 0.0);
        let kept: f32 = memberships.iter().sum();
        memberships.iter_mut().for_each(|value| *value /= kept);
        memberships
    }
}
