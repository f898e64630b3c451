//! What is known of each upstream's condition. Kept by identity for the life of the process: a reload forgets nothing.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{
    breaker::{Breaker, BreakerRules, Pass, Position, Verdict},
    latencies::Latencies,
};

/// An upstream that asks for a longer pause than this is asked again after it all the same.
const COOLING_MAX: Duration = Duration::from_secs(60);

/// How a model's addresses are checked (key `health_check`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckRules {
    /// The path on the address's host, from its root.
    pub path: String,
    /// Between two checks.
    pub interval: Duration,
    /// For an answer's head with a status of success.
    pub timeout: Duration,
}

/// The condition of one upstream.
#[derive(Debug, Default)]
pub struct Health {
    state: Mutex<State>,
    /// Calls let pass and not over.
    in_flight: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    breaker: Breaker,
    /// Checks say that it is down.
    is_down: bool,
    /// It asked to be left alone until then.
    cooling_until: Option<Instant>,
    /// To the first content of a stream, and to a whole answer.
    first_tokens: Latencies,
    answers: Latencies,
}

/// Why an upstream is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftAlone {
    /// It failed too often; it is probed from then on.
    Open {
        /// When.
        until: Instant,
    },
    /// It asked to be left alone until then.
    Cooling {
        /// When.
        until: Instant,
    },
}

impl Health {
    /// Lets a call pass.
    ///
    /// # Errors
    /// When the upstream is to be left alone.
    pub fn admit(self: &Arc<Self>, rules: &BreakerRules, now: Instant) -> Result<Admission, LeftAlone> {
        let mut state = self.lock();
        if let Some(until) = state.cooling_until.filter(|until| rules.shared_pause && now < *until) {
            return Err(LeftAlone::Cooling { until });
        }
        if state.is_down {
            return Err(LeftAlone::Open { until: now + rules.open_for });
        }
        let pass = state.breaker.admit(rules, now).map_err(|until| LeftAlone::Open { until })?;
        let is_probe = state.breaker.position(now) == Position::HalfOpen;
        drop(state);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Ok(Admission { health: Arc::clone(self), rules: *rules, pass: Some(pass), is_probe })
    }

    /// The upstream asks to be left alone for so long.
    pub fn cool(&self, now: Instant, pause: Duration) {
        let until = now + pause.min(COOLING_MAX);
        let mut state = self.lock();
        state.cooling_until = state.cooling_until.max(Some(until));
    }

    /// Calls let pass and not over.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// A stream began, or a whole answer came, after so long.
    pub fn answered(&self, is_stream: bool, took: Duration) {
        let mut state = self.lock();
        let State { first_tokens, answers, .. } = &mut *state;
        if is_stream { first_tokens } else { answers }.note(took);
    }

    /// The time that 95 of 100 of its streams begin, or answers come, within.
    #[must_use]
    pub fn p95(&self, is_stream: bool) -> Option<Duration> {
        let state = self.lock();
        if is_stream { &state.first_tokens } else { &state.answers }.p95()
    }

    /// Says what checks find; what they had found before.
    pub fn set_down(&self, is_down: bool) -> bool {
        std::mem::replace(&mut self.lock().is_down, is_down)
    }

    /// How its breaker stands; open while checks say that it is down.
    #[must_use]
    pub fn position(&self, now: Instant) -> Position {
        let state = self.lock();
        if state.is_down { Position::Open } else { state.breaker.position(now) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call that was let pass. Dropped without a verdict, it gave none.
#[derive(Debug)]
pub struct Admission {
    health: Arc<Health>,
    rules: BreakerRules,
    pass: Option<Pass>,
    is_probe: bool,
}

impl Admission {
    /// The answer has begun: enough to know of an upstream that is being tried, whose answer may take minutes.
    pub fn begun(&mut self, now: Instant) {
        if self.is_probe {
            self.give(now, Verdict::Success);
        }
    }

    /// The call is over.
    pub fn settle(mut self, now: Instant, verdict: Verdict) {
        self.give(now, verdict);
    }

    /// The condition of the upstream that is called.
    #[must_use]
    pub fn health(&self) -> &Arc<Health> {
        &self.health
    }

    fn give(&mut self, now: Instant, verdict: Verdict) {
        if let Some(pass) = self.pass.take() {
            self.health.lock().breaker.settle(&self.rules, now, pass, verdict);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.give(Instant::now(), Verdict::Neither);
        self.health.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The conditions of all upstreams.
#[derive(Debug, Default)]
pub struct Healths {
    known: Mutex<HashMap<String, Arc<Health>>>,
}

impl Healths {
    /// The condition of the upstream of that identity.
    pub fn of(&self, identity: &str) -> Arc<Health> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(known.entry(identity.to_owned()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_left_alone_for_as_long_as_it_asks() {
        let health = Arc::new(Health::default());
        let (rules, now) = (BreakerRules { shared_pause: true, ..BreakerRules::default() }, Instant::now());
        health.cool(now, Duration::from_secs(7));
        health.cool(now, Duration::from_secs(3));
        let until = now + Duration::from_secs(7);
        assert_eq!(health.admit(&rules, now).unwrap_err(), LeftAlone::Cooling { until });
        assert!(health.admit(&rules, until).is_ok());
        health.cool(now, Duration::from_secs(86_400));
        assert!(health.admit(&rules, now + COOLING_MAX).is_ok());
        assert!(health.admit(&BreakerRules::default(), now).is_ok(), "where the pause is not for all");
    }

    #[test]
    fn a_probe_that_is_dropped_makes_room_for_the_next() {
        let health = Arc::new(Health::default());
        let rules = BreakerRules { failures: 1, ..BreakerRules::default() };
        let now = Instant::now();
        health.admit(&rules, now).unwrap().settle(now, Verdict::Failure);
        assert_eq!(health.position(now), Position::Open);
        let later = now + rules.open_for;
        drop(health.admit(&rules, later).unwrap());
        let mut probe = health.admit(&rules, later).unwrap();
        assert!(health.admit(&rules, later).is_err());
        probe.begun(later);
        assert_eq!(health.position(later), Position::Closed);
    }

    #[test]
    fn one_identity_has_one_condition() {
        let healths = Healths::default();
        assert!(Arc::ptr_eq(&healths.of("a"), &healths.of("a")));
        assert!(!Arc::ptr_eq(&healths.of("a"), &healths.of("b")));
    }
}
