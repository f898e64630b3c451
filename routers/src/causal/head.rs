//! What is learned when the base model stays as it is: rows for the five labels, and an adapter before them.
//!
//! logits = E (h + B · gelu(A h)), h the base's last hidden state at the token before the label. An adapter of low rank
//! (Houlsby et al. 2019, arXiv 1902.00751) that starts as nothing, so that training starts from the base itself. Some
//! hundred kilobytes, trained in minutes on a CPU by gradients of our own. Must not know how hidden states are made.

mod gradient;
mod train;

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use crate::vectors::product;

pub use train::{HeadData, HeadError, HeadOptions, HeadReport, TrainedHead, train_head};

/// The weights of a head, for hidden states of some width.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// E: 5 × width, a row for each label.
    pub labels: Mat<f32>,
    /// A: rank × width.
    pub down: Mat<f32>,
    /// B: width × rank.
    pub up: Mat<f32>,
}

impl Head {
    /// The labels' logits: `examples` × 5, from hidden states of `examples` × width.
    ///
    /// # Panics
    /// When the hidden states have another width than the head.
    #[must_use]
    pub fn logits(&self, hidden: MatRef<'_, f32>) -> Mat<f32> {
        let mut inner = product(hidden, self.down.transpose());
        inner.col_iter_mut().for_each(|column| column.iter_mut().for_each(|value| *value = gelu(*value)));
        let mut adapted = hidden.to_owned();
        matmul(adapted.as_mut(), Accum::Add, inner.as_ref(), self.up.transpose(), 1.0, Par::Seq);
        product(adapted.as_ref(), self.labels.transpose())
    }

    /// Whether the three matrices fit together, and every value is finite.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let (width, rank) = (self.labels.ncols(), self.down.nrows());
        let fits = self.labels.nrows() == super::LABELS.len()
            && self.down.ncols() == width
            && (self.up.nrows(), self.up.ncols()) == (width, rank);
        fits && [&self.labels, &self.down, &self.up].into_iter().all(|part| part.is_all_finite())
    }
}

/// √(2/π), of the approximation of x Φ(x) by a hyperbolic tangent (Hendrycks, Gimpel 2016).
const SLOPE: f32 = 0.797_884_6;
/// Its cubic part.
const CUBIC: f32 = 0.044_715;

fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + (SLOPE * (x + CUBIC * x * x * x)).tanh())
}

fn gelu_slope(x: f32) -> f32 {
    let tanh = (SLOPE * (x + CUBIC * x * x * x)).tanh();
    0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * SLOPE * (1.0 + 3.0 * CUBIC * x * x)
}

#[cfg(test)]
mod tests;
