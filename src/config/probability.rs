//! A number between 0 and 1 that has been checked.

/// A probability or a share, 0..=1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct Probability(f64);

impl Probability {
    /// One half.
    pub const HALF: Self = Self(0.5);
    /// Certain.
    pub const ONE: Self = Self(1.0);

    /// Checks that `value` is within 0..=1; `None` otherwise.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}
