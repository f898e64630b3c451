//! When the others last heard of this process.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use super::HEARD_MAX;

/// Where others hear of this process: whoever is silent everywhere for long is taken to be gone, and others spend what was granted to it.
///
/// What was granted may be spent only while that is sure. After a silence in which it may have happened it is not sure before somebody says
/// that it has not.
#[derive(Debug)]
pub struct Heard(Mutex<State>);

#[derive(Debug, Clone, Copy)]
struct State {
    /// When the latest word left that has arrived anywhere.
    last: Instant,
    /// It was silent for too long, and nobody has confirmed it since.
    has_lapsed: bool,
}

impl Heard {
    /// It was heard of now.
    #[must_use]
    pub fn now() -> Self {
        Self(Mutex::new(State { last: Instant::now(), has_lapsed: false }))
    }

    /// A word has arrived that left at this time.
    pub fn again(&self, sent: Instant) {
        let mut state = self.lock();
        state.has_lapsed |= sent.saturating_duration_since(state.last) > HEARD_MAX;
        state.last = state.last.max(sent);
    }

    /// As [`Heard::again`], and whoever takes silent processes to be gone has said that this one is not.
    pub fn confirm(&self, sent: Instant) {
        let mut state = self.lock();
        *state = State { last: state.last.max(sent), has_lapsed: false };
    }

    /// Nobody can have taken this process to be gone.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        let state = *self.lock();
        !state.has_lapsed && state.last.elapsed() <= HEARD_MAX
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_silence_is_not_made_good_by_the_next_word() {
        let heard = Heard::now();
        let begun = heard.lock().last;
        assert!(heard.is_sure());
        heard.again(begun + HEARD_MAX);
        assert!(heard.is_sure(), "just in time");
        heard.again(begun);
        assert_eq!(heard.lock().last, begun + HEARD_MAX, "a late answer is no news");
        heard.again(begun + HEARD_MAX * 2 + Duration::from_millis(1));
        assert!(!heard.is_sure(), "too late: others may have taken it to be gone");
        heard.again(begun + HEARD_MAX * 2 + Duration::from_millis(2));
        assert!(!heard.is_sure());
        heard.confirm(begun + HEARD_MAX * 2);
        assert!(heard.is_sure());
    }

    #[test]
    fn an_answer_says_when_its_question_left() {
        let Some(long_ago) = Instant::now().checked_sub(HEARD_MAX + Duration::from_secs(1)) else { return };
        let heard = Heard(Mutex::new(State { last: long_ago, has_lapsed: false }));
        heard.confirm(long_ago);
        assert!(!heard.is_sure(), "nobody has heard of it since");
    }
}
