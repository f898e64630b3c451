//! How long an upstream takes to begin an answer, by its last answers.

use std::time::Duration;

/// Answers remembered.
const KEPT: usize = 256;
/// With fewer than this nothing is said.
const ENOUGH: usize = 20;

/// The times of the last answers.
#[derive(Debug, Default)]
pub struct Latencies {
    last: Vec<Duration>,
    /// Where the next one goes, once all places are taken.
    next: usize,
}

impl Latencies {
    /// An answer took so long to begin.
    pub fn note(&mut self, took: Duration) {
        if let Some(oldest) = self.last.get_mut(self.next) {
            *oldest = took;
        } else {
            self.last.push(took);
        }
        self.next = (self.next + 1) % KEPT;
    }

    /// The time that 95 of 100 answers begin within; `None` while too few are known.
    #[must_use]
    pub fn p95(&self) -> Option<Duration> {
        if self.last.len() < ENOUGH {
            return None;
        }
        let mut times = self.last.clone();
        let place = (times.len() * 95).div_ceil(100) - 1;
        let (_, p95, _) = times.select_nth_unstable(place);
        Some(*p95)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_percentile_is_of_the_last_answers() {
        let mut latencies = Latencies::default();
        (1..20).for_each(|millis| latencies.note(Duration::from_millis(millis)));
        assert_eq!(latencies.p95(), None, "nineteen are too few");
        (20..=100).for_each(|millis| latencies.note(Duration::from_millis(millis)));
        assert_eq!(latencies.p95(), Some(Duration::from_millis(95)));
        (0..KEPT).for_each(|_| latencies.note(Duration::from_secs(7)));
        assert_eq!(latencies.p95(), Some(Duration::from_secs(7)), "the old ones are forgotten");
        assert_eq!(latencies.last.len(), KEPT);
    }
}
