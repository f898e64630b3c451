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

/// States that hold every known model's shift, and after them the line through them.
impl RatingLine {
    /// Numbers in a state.
    pub(crate) fn width(&self) -> usize {
        self.level.len() + 2
    }

    /// Sets a state to these shifts.
    pub(crate) fn set(&self, shifts: &[f64], state: &mut [f32]) {
        let (level, slope) = self.through(shifts.iter().copied());
        let values = shifts.iter().copied().chain([level, slope]);
        state.iter_mut().zip(values).for_each(|(into, value)| *into = value as f32);
    }

    /// The shift of a known model; `None` when there is none.
    #[inline(always)]
    pub(crate) fn of_row(&self, row: usize, state: &[f32]) -> Option<f64> {
        if row < self.level.len() { state.get(row).map(|&shift| f64::from(shift)) } else { None }
    }

    /// The shift of a model of this rating.
    #[inline(always)]
    pub(crate) fn of_rating(prior: f64, state: &[f32]) -> f64 {
        match state {
            [.., level, slope] => f64::from(*level) + prior * f64::from(*slope),
            _ => 0.0,
        }
    }
}
