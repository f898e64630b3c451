//! Adam (Kingma and Ba 2015, algorithm 1).

use super::parameters::Parameters;

const FIRST_DECAY: f64 = 0.9;
const SECOND_DECAY: f64 = 0.999;
const EPSILON: f64 = 1e-8;

/// The running moments of the gradient.
pub(super) struct Adam {
    first: Parameters,
    second: Parameters,
    steps: u32,
}

impl Adam {
    pub(super) fn new(parameters: &Parameters) -> Self {
        Self { first: parameters.zeros_like(), second: parameters.zeros_like(), steps: 0 }
    }

    /// Steps taken.
    pub(super) const fn steps(&self) -> u32 {
        self.steps
    }

    /// Takes a step against the gradient.
    pub(super) fn step(&mut self, parameters: &mut Parameters, gradient: &Parameters, rate: f64) {
        self.steps += 1;
        let steps = f64::from(self.steps);
        let first_share = 1.0 - FIRST_DECAY.powf(steps);
        let second_share = 1.0 - SECOND_DECAY.powf(steps);
        let moments = self.first.matrices_mut().into_iter().zip(self.second.matrices_mut());
        let all = parameters.matrices_mut().into_iter().zip(gradient.matrices()).zip(moments);
        for ((values, slopes), (first, second)) in all {
            for column in 0..values.ncols() {
                for row in 0..values.nrows() {
                    let at = (row, column);
                    let slope = slopes[at];
                    first[at] += (1.0 - FIRST_DECAY) * (slope - first[at]);
                    second[at] += (1.0 - SECOND_DECAY) * (slope * slope - second[at]);
                    let spread = (second[at] / second_share).sqrt() + EPSILON;
                    values[at] -= rate * (first[at] / first_share) / spread;
                }
            }
        }
    }
}
