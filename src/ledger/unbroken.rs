//! Since when the database has taken this process's word without a break.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A database that answers is asked about once a second: after so long without an answer it was away. One that has crashed fails sooner.
const GAP_MAX: Duration = Duration::from_secs(3);

/// How long what is given to the database may be on its way before it is taken to be away.
const BUSY_MAX: Duration = Duration::from_millis(500);

/// Whether rows have reached the database all the time. Where they have, what another process has left there is all that it did, but for its last
/// moments; else rows of its own may never have come there.
#[derive(Debug)]
pub struct Unbroken(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    /// None while it is away.
    since: Option<Instant>,
    answered: Instant,
    /// Since when it is waited for.
    asked: Option<Instant>,
}

impl Unbroken {
    /// It has answered just now.
    #[must_use]
    pub fn now() -> Self {
        let now = Instant::now();
        Self(Mutex::new(State { since: Some(now), answered: now, asked: None }))
    }

    /// It is asked.
    pub(super) fn asks(&self) {
        self.lock().asked.get_or_insert_with(Instant::now);
    }

    /// It has answered what it was asked, or has failed.
    pub(super) fn heard(&self, has_answered: bool) {
        let mut state = self.lock();
        let now = Instant::now();
        state.asked = None;
        if !has_answered {
            state.since = None;
            return;
        }
        let is_broken = now.saturating_duration_since(state.answered) > GAP_MAX;
        state.since = Some(state.since.filter(|_| !is_broken).unwrap_or(now));
        state.answered = now;
    }

    /// How long it has been there; none where it was away a moment ago.
    #[must_use]
    pub fn for_how_long(&self) -> Option<Duration> {
        let state = *self.lock();
        state.since.filter(|_| state.answered.elapsed() <= GAP_MAX).map(|since| since.elapsed())
    }

    /// It is waited for longer than it takes where all is well.
    #[must_use]
    pub fn is_waited_for(&self) -> bool {
        self.lock().asked.is_some_and(|asked| asked.elapsed() > BUSY_MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So much earlier.
    fn aged(unbroken: &Unbroken, by: Duration) {
        let mut state = unbroken.lock();
        let earlier = |at: Instant| at.checked_sub(by).unwrap();
        *state = State {
            since: state.since.map(earlier),
            answered: earlier(state.answered),
            asked: state.asked.map(earlier),
        };
    }

    #[test]
    fn a_late_answer_begins_anew_as_a_failure_does() {
        let unbroken = Unbroken::now();
        aged(&unbroken, Duration::from_secs(1));
        unbroken.heard(true);
        assert!(unbroken.for_how_long().unwrap() >= Duration::from_secs(1));
        aged(&unbroken, GAP_MAX + Duration::from_secs(1));
        assert_eq!(unbroken.for_how_long(), None, "nobody has asked for too long");
        unbroken.heard(true);
        assert!(unbroken.for_how_long().unwrap() < Duration::from_secs(1), "it may have been away");
        unbroken.heard(false);
        assert_eq!(unbroken.for_how_long(), None);
        unbroken.heard(true);
        assert!(unbroken.for_how_long().unwrap() < Duration::from_secs(1));
    }

    #[test]
    fn what_takes_long_is_waited_for() {
        let unbroken = Unbroken::now();
        unbroken.asks();
        assert!(!unbroken.is_waited_for());
        aged(&unbroken, Duration::from_secs(1));
        unbroken.asks();
        assert!(unbroken.is_waited_for(), "asked again it is still the first question");
        unbroken.heard(false);
        assert!(!unbroken.is_waited_for());
    }
}
