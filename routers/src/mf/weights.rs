//! What the training of an `mf` router learns, and what must hold of it.

use faer::Mat;
use faer::reborrow::{Reborrow, ReborrowMut};

use crate::artifact::ArtifactProblem;
use crate::artifact::check::{centred, magnitudes, refuse};
use crate::reading::ReadingWeights;

/// The weights of an `mf` router; temperature and label scales are folded in.
#[derive(Debug, Clone, PartialEq)]
pub struct MfWeights {
    /// How prompts are read.
    pub reading: ReadingWeights,
    /// W₁, the bias b in its last row, for each domain: inputs × rank.
    pub projections: Vec<Mat<f32>>,
    /// w₂ ∘ v_m, models × rank; every column has mean zero.
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

    /// With all shifts multiplied by a factor.
    #[must_use]
    pub(crate) fn scaled(mut self, factor: f64) -> Self {
        self.factors *= faer::Scale(factor as f32);
        self
    }

    /// Whether the parts fit together and the gauge holds, for so many models.
    pub(crate) fn check(&self, count: usize) -> Result<(), ArtifactProblem> {
        self.reading.check()?;
        let rank = self.factors.ncols();
        let factors = (self.factors.nrows(), rank);
        if factors.0 != count || rank == 0 {
            return Err(refuse("factors", format!("has shape {factors:?}, expected {count} rows")));
        }
        if self.projections.len() != self.reading.domains() {
            let (found, expected) = (self.projections.len(), self.reading.domains());
            return Err(refuse("projections", format!("serves {found} domains, the gate tells {expected}")));
        }
        let expected = (self.reading.inputs(), rank);
        for projection in &self.projections {
            let found = (projection.nrows(), projection.ncols());
            if found != expected {
                return Err(refuse("projections", format!("has shape {found:?}, expected {expected:?}")));
            }
            let values =
                projection.col_iter().flat_map(|column| column.iter().map(|&value| f64::from(value)));
            magnitudes("projections", values)?;
        }
        self.factors.col_iter().try_for_each(|column| {
            let column: Vec<f64> = column.iter().map(|&factor| f64::from(factor)).collect();
            centred("factors", &column)
        })
    }
}
