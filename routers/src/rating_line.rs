//! What a rating alone says of a model: the least-squares line of the shifts of known models over their ratings.
//!
//! Least squares is linear in what is fitted, so the line at any rating is a mix of the known models' shifts, and the
//! mix is the same for every prompt.

/// Least squares over the known models: the shift at rating p is Σ_m (level_m + p · slope_m) δ_m.
#[derive(Debug, Clone)]
pub(crate) struct RatingLine {
    pub(crate) level: Vec<f64>,
    pub(crate) slope: Vec<f64>,
}

impl RatingLine {
    /// `prior` is θ⁰ of each known model. Without two ratings that differ there is no slope.
    pub(crate) fn of(prior: &[f64]) -> Self {
        let count = prior.len().max(1) as f64;
        let mean = prior.iter().sum::<f64>() / count;
        let spread: f64 = prior.iter().map(|prior| (prior - mean).powi(2)).sum();
        let slope: Vec<f64> =
            prior.iter().map(|prior| if spread > 0.0 { (prior - mean) / spread } else { 0.0 }).collect();
        let level = slope.iter().map(|slope| 1.0 / count - mean * slope).collect();
        Self { level, slope }
    }

    /// What a model of rating `prior` takes from the shift of each known model.
    pub(crate) fn mix(&self, prior: f64) -> impl Iterator<Item = f64> {
        self.level.iter().zip(&self.slope).map(move |(level, slope)| level + prior * slope)
    }

    /// Level and slope of shifts, one per known model.
    pub(crate) fn through(&self, shifts: impl Iterator<Item = f64>) -> (f64, f64) {
        let shares = self.level.iter().zip(&self.slope).zip(shifts);
        shares.fold((0.0, 0.0), |(at_zero, rise), ((level, slope), shift)| {
            (at_zero + level * shift, rise + slope * shift)
        })
    }
}
