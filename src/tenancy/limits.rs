//! What a tenant may do: requests and tokens a minute, and requests at a time.
//!
//! Counts are kept by the tenant's name and outlive configurations; the limits come with each request. Everything is decided by
//! [`Limited`] and [`Lease`], which know neither HTTP nor the clock. Several processes may share limits; see [`shared`].

pub mod shared;
pub mod sharing;

use std::{
    collections::HashMap,
    num::NonZeroU64,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use self::shared::{LimitShares, Share};
use super::gcra::{Bucket, Level, Rate, Short, Taken};
use crate::{config::TenantLimits, telemetry::outcome::Limit};

/// When it is worth trying again for who has as many requests in flight as may be: nobody knows when the next one ends.
const CONCURRENCY_WAIT: Duration = Duration::from_secs(1);

/// What is counted of each tenant. The names are the configuration's: there are no more of them than it has held.
#[derive(Debug)]
pub struct Limiters {
    since: Instant,
    by_tenant: Mutex<HashMap<Arc<str>, Arc<Counts>>>,
    granter: OnceLock<Weak<dyn LimitShares>>,
}

#[derive(Debug)]
struct Counts {
    /// What the buckets' times count from.
    since: Instant,
    requests: Bucket,
    tokens: Bucket,
    in_flight: AtomicU64,
    /// What this process has of limits that it shares, by their places in [`Limit::ALL`].
    shares: [Share; 3],
}

/// A tenant's limits, and what is counted against them.
#[derive(Debug, Clone)]
pub struct Limited {
    limits: TenantLimits,
    counts: Arc<Counts>,
    tenant: Arc<str>,
    /// Who grants shares, where the limits are shared.
    granter: Option<Arc<dyn LimitShares>>,
}

/// What a request holds of its tenant's limits: its place among those in flight until it is dropped, and what it took.
#[derive(Debug)]
pub struct Lease {
    of: Limited,
    request: Option<Taken>,
    tokens: Option<Taken>,
    /// Where limits are shared, whether its place among those in flight was granted, or else taken alone.
    place: Option<bool>,
}

/// A limit that a request would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Which one.
    pub limit: Limit,
    /// How much it allows.
    pub allowed: u64,
    /// How much of that is left.
    pub remaining: u64,
    /// How much was asked for.
    pub requested: u64,
    /// When it is worth trying again; none where it would be in vain.
    pub wait: Option<Duration>,
}

/// A limit by the minute, and how its bucket stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How much it allows.
    pub allowed: u64,
    /// What is left of it.
    pub level: Level,
}

impl Limiters {
    /// Nothing is counted yet.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { since: now, by_tenant: Mutex::default(), granter: OnceLock::new() }
    }

    /// A tenant under these limits.
    pub fn of(&self, tenant: &Arc<str>, limits: TenantLimits) -> Limited {
        let mut by_tenant = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        let granter = self.granter.get().and_then(Weak::upgrade);
        if let Some(counts) = by_tenant.get(tenant) {
            return Limited { limits, counts: Arc::clone(counts), tenant: Arc::clone(tenant), granter };
        }
        let counts = Arc::new(Counts {
            since: self.since,
            requests: Bucket::default(),
            tokens: Bucket::default(),
            in_flight: AtomicU64::new(0),
            shares: Default::default(),
        });
        by_tenant.insert(Arc::clone(tenant), Arc::clone(&counts));
        Limited { limits, counts, tenant: Arc::clone(tenant), granter }
    }

    /// The requests in flight of every tenant that has had limits.
    #[must_use]
    pub fn in_flight(&self) -> Vec<(Arc<str>, u64)> {
        let by_tenant = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        let in_flight = |counts: &Counts| counts.in_flight.load(Ordering::Relaxed);
        by_tenant.iter().map(|(tenant, counts)| (Arc::clone(tenant), in_flight(counts))).collect()
    }
}

impl Counts {
    fn at(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.since).as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Limited {
    /// Lets a request in, for which nothing is taken of the tokens yet.
    ///
    /// # Errors
    /// With the limit that it would exceed; then it has taken nothing of the other.
    pub fn enter(&self, now: Instant) -> Result<Lease, Exceeded> {
        let most = self.limits.concurrency.map_or(u64::MAX, NonZeroU64::get);
        let another = |in_flight| (in_flight < most).then_some(in_flight + 1);
        if self.counts.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, another).is_err() {
            return Err(Exceeded::by_concurrency(most));
        }
        let mut lease = Lease { of: self.clone(), request: None, tokens: None, place: None };
        lease.request = self.take(Limit::Requests, self.limits.rpm, 1, now)?;
        Ok(lease)
    }

    /// How the limit on requests stands, if there is one.
    #[must_use]
    pub fn requests(&self, now: Instant) -> Option<Standing> {
        self.standing(self.limits.rpm, &self.counts.requests, now)
    }

    /// How the limit on tokens stands, if there is one.
    #[must_use]
    pub fn tokens(&self, now: Instant) -> Option<Standing> {
        self.standing(self.limits.tpm, &self.counts.tokens, now)
    }

    fn standing(&self, allowed: Option<NonZeroU64>, bucket: &Bucket, now: Instant) -> Option<Standing> {
        let allowed = allowed?;
        let level = match self.granter {
            None => bucket.level(Rate::per_minute(allowed), self.counts.at(now)),
            Some(_) => self.level_for_all(bucket, allowed, now),
        };
        Some(Standing { allowed: allowed.get(), level })
    }

    fn take(
        &self,
        limit: Limit,
        allowed: Option<NonZeroU64>,
        units: u64,
        now: Instant,
    ) -> Result<Option<Taken>, Exceeded> {
        let Some(allowed) = allowed else { return Ok(None) };
        let bucket = if limit == Limit::Tokens { &self.counts.tokens } else { &self.counts.requests };
        let (rate, at) = (Rate::per_minute(allowed), self.counts.at(now));
        bucket.take(rate, units, at).map(Some).map_err(|short| Exceeded {
            limit,
            allowed: allowed.get(),
            remaining: bucket.level(rate, at).remaining,
            requested: units,
            wait: match short {
                Short::For(wait) => Some(wait),
                Short::Ever => None,
            },
        })
    }
}

impl Lease {
    /// Takes the tokens that the request is expected to use.
    ///
    /// # Errors
    /// When there are not that many; then the request has taken nothing of the limit on requests either.
    pub fn reserve(&mut self, tokens: u64, now: Instant) -> Result<(), Exceeded> {
        match self.of.take(Limit::Tokens, self.of.limits.tpm, tokens, now) {
            Ok(taken) => self.tokens = taken,
            Err(exceeded) => {
                self.give_back(now);
                return Err(exceeded);
            }
        }
        Ok(())
    }

    /// Tokens were taken, and it was not said yet how many were used.
    #[must_use]
    pub fn has_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// So many tokens were used.
    pub fn settle(&mut self, tokens: u64, now: Instant) {
        if let (Some(taken), Some(tpm)) = (self.tokens.take(), self.of.limits.tpm) {
            let at = self.of.counts.at(now);
            let more = self.of.counts.tokens.settle(taken, Rate::per_minute(tpm), tokens, at);
            self.of.note(Limit::Tokens, more);
        }
    }

    /// The request was refused for another reason than its own: it does not count.
    pub fn give_back(&mut self, now: Instant) {
        if let (Some(taken), Some(rpm)) = (self.request.take(), self.of.limits.rpm) {
            let more =
                self.of.counts.requests.settle(taken, Rate::per_minute(rpm), 0, self.of.counts.at(now));
            self.of.note(Limit::Requests, more);
        }
    }
}

impl Exceeded {
    fn by_concurrency(allowed: u64) -> Self {
        let wait = Some(CONCURRENCY_WAIT);
        Self { limit: Limit::Concurrency, allowed, remaining: 0, requested: 1, wait }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.of.counts.in_flight.fetch_sub(1, Ordering::AcqRel);
        if let Some(was_granted) = self.place {
            self.of.leave(was_granted);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(rpm: u64, tpm: u64, concurrency: u64) -> TenantLimits {
        let [rpm, tpm, concurrency] = [rpm, tpm, concurrency].map(NonZeroU64::new);
        TenantLimits { rpm, tpm, concurrency }
    }

    fn limiters() -> (Limiters, Instant) {
        let now = Instant::now();
        (Limiters::new(now), now)
    }

    fn remaining(standing: Option<Standing>) -> u64 {
        standing.unwrap().level.remaining
    }

    #[test]
    fn each_limit_refuses_by_itself_and_takes_nothing_of_the_others() {
        let (limiters, now) = limiters();
        let limited = limiters.of(&"t".into(), limits(3, 100, 2));
        let first = limited.enter(now).unwrap();
        let mut second = limited.enter(now).unwrap();
        let refused = limited.enter(now).unwrap_err();
        assert_eq!(
            (refused.limit, refused.allowed, refused.wait),
            (Limit::Concurrency, 2, Some(CONCURRENCY_WAIT))
        );
        assert_eq!(remaining(limited.requests(now)), 1);
        let refused = second.reserve(200, now).unwrap_err();
        assert_eq!((refused.limit, refused.requested, refused.wait), (Limit::Tokens, 200, None));
        drop(second);
        assert_eq!((remaining(limited.requests(now)), remaining(limited.tokens(now))), (2, 100));
        drop(first);
        drop([limited.enter(now).unwrap(), limited.enter(now).unwrap()]);
        let refused = limited.enter(now).unwrap_err();
        assert_eq!((refused.limit, refused.wait), (Limit::Requests, Some(Duration::from_secs(20))));
        assert_eq!(limiters.in_flight(), [("t".into(), 0)]);
    }

    #[test]
    fn tokens_are_settled_by_what_was_used() {
        let (limiters, now) = limiters();
        let limited = limiters.of(&"t".into(), limits(0, 600, 0));
        let mut lease = limited.enter(now).unwrap();
        lease.reserve(500, now).unwrap();
        assert_eq!(remaining(limited.tokens(now)), 100);
        lease.settle(20, now);
        lease.settle(600, now);
        assert_eq!(remaining(limited.tokens(now)), 580, "settled once");
        let mut lease = limited.enter(now).unwrap();
        lease.reserve(10, now).unwrap();
        lease.settle(1180, now);
        assert_eq!(limited.tokens(now).unwrap().level.full_in, Duration::from_secs(120));
        assert_eq!(limited.requests(now), None);
    }

    #[test]
    fn counts_are_the_tenants_own_and_outlive_its_limits() {
        let (limiters, now) = limiters();
        let few = limits(2, 0, 1);
        let limited = limiters.of(&"a".into(), few);
        let held = limited.enter(now).unwrap();
        assert!(limiters.of(&"a".into(), few).enter(now).is_err());
        assert!(limiters.of(&"b".into(), few).enter(now).is_ok());
        let more = limiters.of(&"a".into(), limits(4, 0, 3));
        assert_eq!(remaining(more.requests(now)), 2, "half is left");
        let another = more.enter(now).unwrap();
        assert_eq!(limiters.of(&"a".into(), few).enter(now).unwrap_err().limit, Limit::Concurrency);
        drop((held, another));
        assert!(limiters.in_flight().iter().all(|(_, in_flight)| *in_flight == 0));
    }
}
