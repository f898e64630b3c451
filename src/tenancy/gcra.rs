//! The generic cell rate algorithm: so much a minute on average, and at most a minute's worth at once.
//!
//! A bucket is kept as the time at which it is full again (the theoretical arrival time of ITU-T I.371, annex A), so nothing needs
//! to run for it to fill. What is taken is a stretch of that time, whatever the rate: a change of the rate changes what an empty
//! part of the bucket is worth, and fills none of it. Times are nanoseconds since a beginning that is the caller's to choose.

use std::{
    num::NonZeroU64,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How long an empty bucket takes to fill: a minute's worth is what it holds.
pub const CAPACITY: u64 = 60_000_000_000;

/// The longest that a bucket takes to fill, however much more than foreseen was used: what an upstream reports may be nonsense, and
/// must not shut a tenant out for good.
const DEBT_MAX: u64 = 60 * CAPACITY;

/// Units a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate(NonZeroU64);

/// A bucket that fills at some rate.
#[derive(Debug, Default)]
pub struct Bucket(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// In the past, where it is full.
    full_at: u64,
    /// All the time that was ever given back.
    returned: u64,
}

/// What was taken: a stretch of the time that the bucket takes to fill.
#[derive(Debug, PartialEq, Eq)]
pub struct Taken {
    /// How long it is.
    cost: u64,
    /// When it has come back by itself.
    ends_at: u64,
    /// [`State::returned`] at the time.
    returned: u64,
}

/// Why nothing was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// There is enough after this time, unless somebody else takes it.
    For(Duration),
    /// It is more than the bucket holds.
    Ever,
}

/// How a bucket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level {
    /// The most that could be taken now.
    pub remaining: u64,
    /// How long it takes to be full, if nothing is taken.
    pub full_in: Duration,
}

impl Rate {
    /// So many units a minute.
    #[must_use]
    pub const fn per_minute(units: NonZeroU64) -> Self {
        Self(units)
    }

    /// One of so many equal parts of it, at least one unit a minute.
    #[must_use]
    pub fn part(self, parts: u64) -> Self {
        Self(NonZeroU64::new(self.0.get() / parts.max(1)).unwrap_or(NonZeroU64::MIN))
    }

    /// How long so many units take to come back, rounded up, in nanoseconds.
    #[must_use]
    pub fn cost(self, units: u64) -> u64 {
        let cost = (u128::from(units) * u128::from(CAPACITY)).div_ceil(u128::from(self.0.get()));
        u64::try_from(cost).unwrap_or(u64::MAX)
    }

    /// How many whole units come back within `time` nanoseconds.
    #[must_use]
    pub fn units(self, time: u64) -> u64 {
        let units = u128::from(time) * u128::from(self.0.get()) / u128::from(CAPACITY);
        u64::try_from(units).unwrap_or(u64::MAX)
    }
}

impl Bucket {
    /// Takes so many units, if they are there.
    ///
    /// # Errors
    /// When they are not.
    pub fn take(&self, rate: Rate, units: u64, now: u64) -> Result<Taken, Short> {
        let cost = rate.cost(units);
        if cost > CAPACITY {
            return Err(Short::Ever);
        }
        let mut state = self.state();
        let ends_at = state.full_at.max(now).saturating_add(cost);
        let excess = ends_at.saturating_sub(now.saturating_add(CAPACITY));
        if excess > 0 {
            return Err(Short::For(Duration::from_nanos(excess)));
        }
        state.full_at = ends_at;
        Ok(Taken { cost, ends_at, returned: state.returned })
    }

    /// One that is full after so much time.
    #[must_use]
    pub fn full_in(time: u64, now: u64) -> Self {
        Self(Mutex::new(State { full_at: now.saturating_add(time), returned: 0 }))
    }

    /// Takes so many units, there or not.
    pub fn force(&self, rate: Rate, units: u64, now: u64) -> Taken {
        let cost = rate.cost(units);
        let mut state = self.state();
        let ends_at = state.full_at.max(now).saturating_add(cost).min(now.saturating_add(DEBT_MAX));
        state.full_at = ends_at;
        Taken { cost, ends_at, returned: state.returned }
    }

    /// So many units were used of what was taken, at the rate at which it was. The rest is given back, as far as it has not come back by
    /// itself; what was used beyond it is taken now, there or not.
    ///
    /// A stretch that is given back moves all that follow it, so that they end sooner than they say. Which of those that were
    /// given back since lay before this one is not known: all are taken to. That may give back too little, never too much.
    ///
    /// By how much more than was taken was used, or below zero, how much is given back, in nanoseconds.
    #[expect(clippy::needless_pass_by_value, reason = "it can be settled once")]
    pub fn settle(&self, taken: Taken, rate: Rate, units: u64, now: u64) -> i64 {
        let used = rate.cost(units);
        let mut state = self.state();
        if let Some(more) = used.checked_sub(taken.cost) {
            let full_at = state.full_at.max(now).saturating_add(more);
            state.full_at = state.full_at.max(full_at.min(now.saturating_add(DEBT_MAX)));
            return i64::try_from(more.min(DEBT_MAX)).unwrap_or(i64::MAX);
        }
        let moved = state.returned.saturating_sub(taken.returned);
        let left = taken.ends_at.saturating_sub(moved).saturating_sub(now);
        let back = taken.cost.saturating_sub(used).min(left);
        state.full_at = state.full_at.saturating_sub(back);
        state.returned = state.returned.saturating_add(back);
        i64::try_from(back).map_or(i64::MIN, |back| -back)
    }

    /// How it stands.
    #[must_use]
    pub fn level(&self, rate: Rate, now: u64) -> Level {
        let full_in = self.state().full_at.saturating_sub(now);
        Level {
            remaining: rate.units(CAPACITY.saturating_sub(full_in)),
            full_in: Duration::from_nanos(full_in),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
