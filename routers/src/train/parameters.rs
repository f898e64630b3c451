//! What is learned: θ_m(x) = θ⁰_m + c_m + u_m · (Wᵀ(κ e) + b), and a scale for each source.
//!
//! κ brings the coordinates of a unit-length embedding to about unit size, as Adam's steps are of one size.

use faer::Mat;
use rand::RngExt;
use rand_chacha::ChaCha12Rng;

use super::options::MfOptions;

/// Standard deviation of the first models' factors, times √hidden: small, so that training starts at θ⁰.
const FACTOR_SPREAD: f64 = 0.1;

/// Parameters, or their gradient, or a moment of it.
#[derive(Debug, Clone)]
pub(super) struct Parameters {
    /// W: dimensions × hidden.
    pub(super) projection: Mat<f64>,
    /// b: hidden × 1.
    pub(super) bias: Mat<f64>,
    /// u: models × hidden.
    pub(super) factors: Mat<f64>,
    /// c: models × 1.
    pub(super) offsets: Mat<f64>,
    /// The logarithms of the sources' scales: sources × 1.
    pub(super) log_scales: Mat<f64>,
}

/// κ for embeddings of this many dimensions.
pub(super) fn input_scale(dimensions: usize) -> f64 {
    (dimensions as f64).sqrt()
}

impl Parameters {
    /// Where training starts.
    pub(super) fn random(
        dimensions: usize,
        models: usize,
        hidden: usize,
        scales: &[f64],
        random: &mut ChaCha12Rng,
    ) -> Self {
        let mut even = |spread: f64, rows: usize, columns: usize| {
            // Even between ±√3 spread: the standard deviation is the spread.
            let bound = 3f64.sqrt() * spread;
            Mat::from_fn(rows, columns, |_, _| bound * (2.0 * random.random::<f64>() - 1.0))
        };
        Self {
            projection: even(1.0 / (dimensions.max(1) as f64).sqrt(), dimensions, hidden),
            bias: Mat::zeros(hidden, 1),
            factors: even(FACTOR_SPREAD / (hidden.max(1) as f64).sqrt(), models, hidden),
            offsets: Mat::zeros(models, 1),
            log_scales: Mat::from_fn(scales.len(), 1, |source, _| scales[source].ln()),
        }
    }

    /// Zeros of the same shapes.
    pub(super) fn zeros_like(&self) -> Self {
        let zeros = |matrix: &Mat<f64>| Mat::zeros(matrix.nrows(), matrix.ncols());
        Self {
            projection: zeros(&self.projection),
            bias: zeros(&self.bias),
            factors: zeros(&self.factors),
            offsets: zeros(&self.offsets),
            log_scales: zeros(&self.log_scales),
        }
    }

    pub(super) fn matrices(&self) -> [&Mat<f64>; 5] {
        [&self.projection, &self.bias, &self.factors, &self.offsets, &self.log_scales]
    }

    pub(super) fn matrices_mut(&mut self) -> [&mut Mat<f64>; 5] {
        [&mut self.projection, &mut self.bias, &mut self.factors, &mut self.offsets, &mut self.log_scales]
    }

    pub(super) fn is_finite(&self) -> bool {
        self.matrices().iter().all(|matrix| matrix.is_all_finite())
    }

    /// The source's scale.
    pub(super) fn scale(&self, source: u16) -> f64 {
        self.log_scales[(usize::from(source), 0)].exp()
    }

    /// Adds the gradient of the penalties to this gradient of the mean loss.
    ///
    /// The penalty is on each model's coefficients of the embedding, the rows of κ u Wᵀ, so that it does not
    /// depend on how they are divided between u and W: ½ ridge ‖κ u Wᵀ‖² / (total weight).
    pub(super) fn add_penalty(&mut self, at: &Self, options: &MfOptions, total_weight: f64) {
        let scale = input_scale(at.projection.nrows());
        let strength = options.ridge * scale * scale / total_weight;
        let factors = super::batch::product(&at.factors, &super::batch::gram(&at.projection));
        let projection = super::batch::product(&at.projection, &super::batch::gram(&at.factors));
        self.factors += faer::Scale(strength) * factors;
        self.projection += faer::Scale(strength) * projection;
        self.offsets += faer::Scale(options.offset_ridge / total_weight) * &at.offsets;
    }
}
