//! What the training of an `mf` router learns, and what must hold of it.

use faer::Mat;
use faer::reborrow::{Reborrow, ReborrowMut};

use crate::artifact::ArtifactProblem;
use crate::artifact::check::{centred, magnitudes, refuse};

/// The weights of an `mf` router; temperature and label scales are folded in.
#[derive(Debug, Clone, PartialEq)]
pub struct MfWeights {
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
    /// Brings the factors into the gauge: the mean of every column becomes zero. No win rate changes by it.
    pub fn centre(&mut self) {
        let count = self.factors.nrows().max(1) as f64;
        for mut column in self.factors.col_iter_mut() {
            let mean = column.rb().iter().map(|&factor| f64::from(factor)).sum::<f64>() / count;
            column.rb_mut().iter_mut().for_each(|factor| *factor = (f64::from(*factor) - mean) as f32);
        }
    }

    /// Whether the parts fit together and the gauge holds, for so many models.
    pub(crate) fn check(&self, count: usize) -> Result<(), ArtifactProblem> {
        let rank = self.projection.ncols();
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
        if self.bias.len() != rank {
            return Err(refuse("bias", format!("has {} values, expected {rank}", self.bias.len())));
        }
        magnitudes("bias", self.bias.iter().map(|&value| f64::from(value)))?;
        magnitudes("projection", values(&self.projection))?;
        magnitudes("topics", values(&self.topics))?;
        magnitudes("topic_projection", values(&self.topic_projection))?;
        self.factors.col_iter().try_for_each(|column| {
            let column: Vec<f64> = column.iter().map(|&factor| f64::from(factor)).collect();
            centred("factors", &column)
        })
    }
}

fn values(matrix: &Mat<f32>) -> impl Iterator<Item = f64> {
    matrix.col_iter().flat_map(|column| column.iter().map(|&value| f64::from(value)))
}
