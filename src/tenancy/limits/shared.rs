//! Limits that several processes share: each takes of what it was granted, and asks for more.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    super::gcra::{Bucket, CAPACITY, Rate, Short},
    sharing::ShareOf,
};
use crate::telemetry::outcome::Limit;

/// How long it is not asked again for what was not to be had, at most.
const DRY_MAX: Duration = Duration::from_millis(500);
/// As long as it is worth the while.
const DRY_MIN: Duration = Duration::from_millis(5);

/// Who grants this process its shares of limits.
pub trait LimitShares: fmt::Debug + Send + Sync {
    /// What was granted may be taken. Not when this process may be taken to be gone.
    fn are_valid(&self) -> bool;

    /// Asks for what is lacking of limits of one tenant: all of it, or nothing. Goes on whether it is polled or not: others may be waiting
    /// for it.
    fn ask(self: Arc<Self>, lacks: Vec<Lack>) -> Pin<Box<dyn Future<Output = Answer> + Send>>;
}

/// What a request lacks of a limit.
#[derive(Debug)]
pub struct Lack {
    /// Whose it is.
    pub tenant: Arc<str>,
    /// The limit, and what this process has of it.
    pub share: ShareOf,
    /// How much it allows.
    pub allowed: u64,
    /// Requests in flight, or the time in nanoseconds in which what the request takes comes back.
    pub takes: u64,
}

/// What came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// All is granted.
    Granted,
    /// One limit has not so much left.
    Refused {
        /// Which of those that were asked for.
        place: usize,
    },
    /// Nobody can be asked: so many processes, this one among them, keep to a part of the limit each.
    Away {
        /// As far as is known.
        processes: u64,
    },
}

/// What one process has of one limit.
#[derive(Debug, Default)]
pub struct Share(Mutex<State>);

/// Times are nanoseconds in which so much comes back; of a limit on requests in flight all of it are requests.
#[derive(Debug, Default)]
pub struct State {
    /// Granted and not taken; below zero where more was used than was taken.
    have: i64,
    /// Taken since that was told; of requests in flight, those that are.
    used: i64,
    /// What is left for all, when that was last heard.
    left: Option<(i64, Instant)>,
    /// What others know to be held; see [`Told`].
    heard: u64,
    /// Something was taken since that was looked at.
    is_used: bool,
    dry: Option<Dry>,
    /// What this process keeps to while it can ask nobody.
    alone: Option<Bucket>,
}

/// It was asked for more than there was.
#[derive(Debug, Clone, Copy)]
struct Dry {
    /// When that was.
    at: Instant,
    /// When there may be as much.
    until: Instant,
    /// What there was.
    left: u64,
}

/// What is told of a share: microseconds, or requests in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Granted and not taken.
    pub held: u64,
    /// Taken since that was told; below zero where some was given back.
    pub used: i64,
}

/// The nanoseconds, or requests in flight, that others count as one.
fn unit(limit: Limit) -> u64 {
    if limit == Limit::Concurrency { 1 } else { 1000 }
}

impl Share {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is lacking for `takes`, and what is to be told.
    #[must_use]
    pub fn lacks(&self, limit: Limit, takes: u64) -> (u64, Told) {
        let state = self.lock();
        let lacks = i64::try_from(takes).unwrap_or(i64::MAX).saturating_sub(state.have).max(0);
        (u64::try_from(lacks).unwrap_or(0).div_ceil(unit(limit)), state.told(limit))
    }

    /// What is to be told now and then: all of it, or only what is new. What nobody has used for a while is given back.
    pub fn tell(&self, limit: Limit, all: bool) -> Option<Told> {
        let mut state = self.lock();
        if !std::mem::take(&mut state.is_used) {
            state.have = state.have.min(0);
        }
        let told = state.told(limit);
        let was_told = Told { held: state.heard, used: 0 };
        (told != was_told || (all && told.held > 0)).then_some(told)
    }

    /// Nothing is granted, and so many nanoseconds were used of a limit by the minute: that is all that may be said to who knows
    /// nothing.
    pub fn anew(&self, limit: Limit, used: u64) -> Told {
        let mut state = self.lock();
        let used = match limit {
            Limit::Concurrency => state.used,
            Limit::Requests | Limit::Tokens => i64::try_from(used).unwrap_or(i64::MAX),
        };
        *state = State { used, ..State::default() };
        state.told(limit)
    }

    /// That was told, and so much is granted; so much is left for all.
    pub fn grant(&self, limit: Limit, told: Told, (given, left): (u64, u64)) {
        let unit = unit(limit);
        let scaled = |units: u64| i64::try_from(units.saturating_mul(unit)).unwrap_or(i64::MAX);
        let mut state = self.lock();
        let unit = i64::try_from(unit).unwrap_or(1);
        state.used = state.used.saturating_sub(told.used.saturating_mul(unit));
        state.have = state.have.saturating_add(scaled(given));
        state.heard = told.held.saturating_add(given);
        state.left = Some((scaled(left), Instant::now()));
        (state.dry, state.alone) = (None, None);
    }

    /// Only so much is left and so much is missing: it is not asked again for more than is left before that may have come.
    pub fn is_dry(&self, limit: Limit, (left, missing): (u64, u64)) {
        let wait = match limit {
            Limit::Concurrency => DRY_MIN,
            Limit::Requests | Limit::Tokens => Duration::from_micros(missing),
        };
        let until = Instant::now() + wait.max(DRY_MIN);
        self.lock().dry = Some(Dry { until, left: left.saturating_mul(unit(limit)), at: Instant::now() });
    }
}

impl State {
    fn told(&self, limit: Limit) -> Told {
        if limit == Limit::Concurrency {
            let held = self.have.saturating_add(self.used).max(0);
            return Told { held: u64::try_from(held).unwrap_or(0), used: 0 };
        }
        let unit = unit(limit);
        let held = u64::try_from(self.have.max(0)).unwrap_or(0).div_ceil(unit);
        let unit = i64::try_from(unit).unwrap_or(1);
        Told { held, used: self.used.div_euclid(unit) + i64::from(self.used.rem_euclid(unit) > 0) }
    }

    /// Whether so much is there.
    pub(super) fn has(&self, takes: u64) -> bool {
        self.have >= i64::try_from(takes).unwrap_or(i64::MAX)
    }

    /// It was asked for as much a moment ago, in vain: how long it is worth waiting.
    pub(super) fn dry(&self, takes: u64) -> Option<Duration> {
        let lacks = i64::try_from(takes).unwrap_or(i64::MAX).saturating_sub(self.have);
        let Dry { until, left, at } = self.dry?;
        let wait = until.saturating_duration_since(Instant::now());
        let is_dry = !wait.is_zero() && at.elapsed() < DRY_MAX;
        (is_dry && lacks > i64::try_from(left).unwrap_or(i64::MAX)).then_some(wait)
    }

    /// Takes so much, whether it is there or not; below zero, gives it back.
    pub(super) fn take(&mut self, takes: i64) {
        // What is used beyond it is owed by all, which is told: it is not lacking here as well.
        self.have = self.have.saturating_sub(takes).max(0);
        self.used = self.used.saturating_add(takes);
        self.is_used |= takes > 0;
    }

    /// Uses so much that was not granted; below zero, it is used no more.
    pub(super) fn use_beyond(&mut self, takes: i64) {
        self.used = self.used.saturating_add(takes);
    }

    /// Takes so much of this process's part, which is what it keeps to while it can ask nobody, and which is as empty as what was used
    /// of the whole makes it: by all, as far as is known, or as much by each as this process has `used`.
    ///
    /// # Errors
    /// When there is not so much.
    pub(super) fn take_alone(
        &mut self,
        (rate, units): (Rate, u64),
        (used, processes): (Duration, u64),
        now: u64,
    ) -> Result<(), Short> {
        let part = rate.part(processes);
        let by_all = if self.left.is_some() { self.level() } else { Duration::ZERO };
        let alone = self.alone.get_or_insert_with(|| {
            let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            let used = nanoseconds(used).saturating_mul(processes).max(nanoseconds(by_all));
            Bucket::full_in(used.min(CAPACITY), now)
        });
        alone.take(part, units, now).map(drop)
    }

    /// What of the whole could be taken now, and how long it takes to be full, as far as is known.
    pub(super) fn level(&self) -> Duration {
        let left = self.left.map_or(i64::MAX, |(left, at)| {
            left.saturating_add(i64::try_from(at.elapsed().as_nanos()).unwrap_or(i64::MAX))
        });
        let there = u64::try_from(left.saturating_add(self.have).max(0)).unwrap_or(0);
        Duration::from_nanos(CAPACITY.saturating_sub(there))
    }
}
