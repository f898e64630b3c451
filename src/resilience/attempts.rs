//! Whom a request asks next.
//!
//! Each model of the ranking is asked once, best first and at once: another upstream knows nothing of the first one's trouble.
//! When all have failed, those that may do better next time are asked again, after a wait: the one whose wait is over first. What an
//! upstream asked to be left alone for is part of its wait; a request does not wait for longer than the rules allow.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::full_jitter;

/// How a route's requests are asked again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetryRules {
    /// How often a request may be asked again once each of its models has been asked.
    pub max: u32,
    /// The longest first wait; it doubles with every retry.
    pub backoff: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// The longest pause asked for by an upstream that a request waits for.
    pub retry_after_max: Duration,
    /// Retries that a request earns its route, for those that need one.
    pub budget: f64,
}

impl Default for RetryRules {
    fn default() -> Self {
        Self {
            max: 2,
            backoff: Duration::from_millis(250),
            backoff_max: Duration::from_secs(8),
            retry_after_max: Duration::from_secs(20),
            budget: 0.2,
        }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Ask this model now.
    Ask(usize),
    /// Ask this model once it is so late.
    AskAt(usize, Instant),
    /// Nobody is left to be asked.
    Stop,
}

/// The models of one request, in their order, and what became of each.
#[derive(Debug)]
pub struct Attempts {
    rules: RetryRules,
    candidates: Vec<(usize, Standing)>,
    retries: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Not asked yet.
    New,
    /// Asked, and nothing has come of it yet.
    Asked,
    /// May be asked again, not before that.
    Again { not_before: Instant },
    /// Not asked yet, and not to be before that.
    Cooling { until: Instant },
    /// Not to be asked.
    Out,
}

impl Attempts {
    /// Attempts at these models, best first.
    #[must_use]
    pub fn new(rules: RetryRules, ranking: &[usize]) -> Self {
        Self { rules, candidates: ranking.iter().map(|&place| (place, Standing::New)).collect(), retries: 0 }
    }

    /// Whom to ask next. `random` lies within 0..1; `may_retry` is asked before a retry, and takes note of it.
    pub fn next(&mut self, now: Instant, random: f64, may_retry: impl FnOnce() -> bool) -> Next {
        if let Some(place) = self.untried() {
            return Next::Ask(place);
        }
        let RetryRules { max, backoff, backoff_max, retry_after_max, .. } = self.rules;
        if self.retries >= max {
            return Next::Stop;
        }
        let earliest = now + full_jitter(backoff, backoff_max, self.retries, random);
        let due = |&(place, standing): &(usize, Standing)| match standing {
            Standing::Again { not_before } => Some((place, not_before.max(earliest), not_before)),
            Standing::Cooling { until } => Some((place, until, until)),
            Standing::New | Standing::Asked | Standing::Out => None,
        };
        let soon =
            self.candidates.iter().filter_map(due).filter(|(_, _, asked)| *asked <= now + retry_after_max);
        // The first of equals: the better ranked.
        let Some((place, at, _)) = soon.min_by_key(|&(_, at, _)| at) else { return Next::Stop };
        if !may_retry() {
            return Next::Stop;
        }
        self.retries += 1;
        self.set(place, Standing::Asked);
        Next::AskAt(place, at)
    }

    /// A model failed, and another try may help: not before `pause` is over.
    pub fn failed(&mut self, place: usize, now: Instant, pause: Duration) {
        self.set(place, Standing::Again { not_before: now + pause });
    }

    /// A model asks to be left alone.
    pub fn cooling(&mut self, place: usize, until: Instant) {
        self.set(place, Standing::Cooling { until });
    }

    /// A model is not to be asked, or not again.
    pub fn out(&mut self, place: usize) {
        self.set(place, Standing::Out);
    }

    /// A model whose call was given up before anything came of it may be asked yet.
    pub fn put_back(&mut self, place: usize) {
        self.set(place, Standing::New);
    }

    /// Only these are still to be asked.
    pub fn retain(&mut self, keep: impl Fn(usize) -> bool) {
        self.candidates.retain(|(place, _)| keep(*place));
    }

    /// The best model that has not been asked, which is asked now.
    pub fn untried(&mut self) -> Option<usize> {
        let (place, standing) =
            self.candidates.iter_mut().find(|(_, standing)| *standing == Standing::New)?;
        *standing = Standing::Asked;
        Some(*place)
    }

    fn set(&mut self, place: usize, standing: Standing) {
        self.candidates.iter_mut().filter(|(of, _)| *of == place).for_each(|(_, of)| *of = standing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: RetryRules = RetryRules {
        max: 2,
        backoff: Duration::from_millis(100),
        backoff_max: Duration::from_secs(1),
        retry_after_max: Duration::from_secs(10),
        budget: 0.2,
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn every_model_is_asked_at_once_before_any_is_asked_again() {
        let now = Instant::now();
        let mut attempts = Attempts::new(RULES, &[2, 0]);
        let next = |attempts: &mut Attempts| attempts.next(now, 1.0, || true);
        assert_eq!(next(&mut attempts), Next::Ask(2));
        attempts.failed(2, now, Duration::ZERO);
        assert_eq!(next(&mut attempts), Next::Ask(0));
        attempts.failed(0, now, Duration::ZERO);
        assert_eq!(next(&mut attempts), Next::AskAt(2, now + Duration::from_millis(100)));
        attempts.failed(2, now, Duration::ZERO);
        assert_eq!(next(&mut attempts), Next::AskAt(2, now + Duration::from_millis(200)));
        attempts.failed(2, now, Duration::ZERO);
        assert_eq!(next(&mut attempts), Next::Stop, "two retries are all");
    }

    #[test]
    fn who_is_being_asked_is_not_asked_beside() {
        let now = Instant::now();
        let mut attempts = Attempts::new(RULES, &[0, 1]);
        assert_eq!(attempts.next(now, 0.5, || true), Next::Ask(0));
        assert_eq!(attempts.untried(), Some(1));
        assert_eq!(attempts.untried(), None);
        assert_eq!(attempts.next(now, 0.5, || true), Next::Stop);
    }

    #[test]
    fn what_no_try_mends_is_not_tried_again() {
        let now = Instant::now();
        let mut attempts = Attempts::new(RULES, &[0, 1]);
        attempts.out(0);
        assert_eq!(attempts.next(now, 0.5, || true), Next::Ask(1));
        attempts.out(1);
        assert_eq!(attempts.next(now, 0.5, || true), Next::Stop);
    }

    #[test]
    fn a_pause_that_was_asked_for_is_kept() {
        let now = Instant::now();
        let mut attempts = Attempts::new(RULES, &[0]);
        attempts.failed(0, now, seconds(7));
        assert_eq!(attempts.next(now, 0.0, || true), Next::AskAt(0, now + seconds(7)));
        attempts.failed(0, now, seconds(11));
        assert_eq!(attempts.next(now, 0.0, || true), Next::Stop, "nobody waits for that long");
    }

    #[test]
    fn the_shorter_wait_goes_first() {
        let now = Instant::now();
        let mut attempts = Attempts::new(RULES, &[0, 1, 2]);
        attempts.failed(0, now, seconds(5));
        attempts.cooling(1, now + seconds(2));
        attempts.failed(2, now, seconds(3));
        assert_eq!(attempts.next(now, 1.0, || true), Next::AskAt(1, now + seconds(2)));
    }

    #[test]
    fn without_budget_there_is_no_retry_but_every_model_is_asked() {
        let now = Instant::now();
        let mut attempts = Attempts::new(RULES, &[0, 1]);
        attempts.failed(0, now, Duration::ZERO);
        assert_eq!(attempts.next(now, 0.5, || false), Next::Ask(1));
        attempts.failed(1, now, Duration::ZERO);
        assert_eq!(attempts.next(now, 0.5, || false), Next::Stop);
    }

    #[test]
    fn a_prompt_too_long_for_one_goes_to_the_longer_ones_alone() {
        let now = Instant::now();
        let mut attempts = Attempts::new(RULES, &[0, 1, 2]);
        attempts.out(0);
        attempts.retain(|place| place == 2);
        assert_eq!(attempts.next(now, 0.5, || true), Next::Ask(2));
        attempts.out(2);
        assert_eq!(attempts.next(now, 0.5, || true), Next::Stop);
    }
}
