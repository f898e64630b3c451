//! Requests under limits that several processes share.

use std::{
    num::NonZeroU64,
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    Counts, Exceeded, Lease, Limited, Limiters,
    shared::{Answer, Lack, LimitShares, Share, Told},
};
use crate::{
    telemetry::outcome::Limit,
    tenancy::gcra::{Bucket, CAPACITY, Level, Rate, Short, Taken},
};

/// How often a share is asked for that others use up meanwhile.
const ASKED_MAX: usize = 16;

/// What a request takes of a limit.
#[derive(Debug, Clone, Copy)]
struct Want {
    limit: Limit,
    allowed: NonZeroU64,
    units: u64,
}

impl Want {
    /// In nanoseconds in which so much comes back, or requests in flight.
    fn takes(&self) -> u64 {
        match self.limit {
            Limit::Concurrency => self.units,
            Limit::Requests | Limit::Tokens => Rate::per_minute(self.allowed).cost(self.units),
        }
    }
}

impl Limiters {
    /// Limits are shared from now on.
    pub fn share(&self, granter: Weak<dyn LimitShares>) {
        let _ = self.granter.set(granter);
    }

    /// What is to be told of every share.
    pub fn tell(&self, what: Telling, now: Instant, mut each: impl FnMut(&Arc<str>, Told, ShareOf)) {
        let by_tenant = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        for (tenant, counts) in &*by_tenant {
            for (limit, share) in Limit::ALL.into_iter().zip(&counts.shares) {
                let told = match what {
                    Telling::New => share.tell(limit, false),
                    Telling::All => share.tell(limit, true),
                    Telling::Anew => {
                        Some(counts.anew(limit, share, now)).filter(|told| *told != Told { held: 0, used: 0 })
                    }
                };
                if let Some(told) = told {
                    each(tenant, told, ShareOf(Arc::clone(counts), limit));
                }
            }
        }
    }
}

/// What is told of shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// What has changed.
    New,
    /// Whatever is held, too.
    All,
    /// All that is known, to who knows nothing.
    Anew,
}

/// The share of a tenant's limit.
#[derive(Debug)]
pub struct ShareOf(Arc<Counts>, Limit);

impl ShareOf {
    /// The limit.
    #[must_use]
    pub fn limit(&self) -> Limit {
        self.1
    }

    /// What is lacking for `takes`, and what is to be told.
    #[must_use]
    pub fn lacks(&self, takes: u64) -> (u64, Told) {
        self.0.share(self.1).lacks(self.1, takes)
    }

    /// That was told, and so much is granted; so much is left for all.
    pub fn grant(&self, told: Told, given: u64, left: u64) {
        self.0.share(self.1).grant(self.1, told, (given, left));
    }

    /// Only so much is left and so much is missing: it is not asked again for more than is left before that may have come.
    pub fn is_dry(&self, left: u64, missing: u64) {
        self.0.share(self.1).is_dry(self.1, (left, missing));
    }
}

impl Counts {
    fn share(&self, limit: Limit) -> &Share {
        let [requests, tokens, concurrency] = &self.shares;
        match limit {
            Limit::Requests => requests,
            Limit::Tokens => tokens,
            Limit::Concurrency => concurrency,
        }
    }

    fn bucket(&self, limit: Limit) -> &Bucket {
        if limit == Limit::Tokens { &self.tokens } else { &self.requests }
    }

    fn anew(&self, limit: Limit, share: &Share, now: Instant) -> Told {
        let level = self.bucket(limit).level(Rate::per_minute(NonZeroU64::MIN), self.at(now));
        share.anew(limit, u64::try_from(level.full_in.as_nanos()).unwrap_or(u64::MAX))
    }
}

impl Limited {
    /// As [`Limited::enter`], and asks others where the limits are shared.
    ///
    /// # Errors
    /// With the limit that it would exceed; then it has taken nothing of the other.
    pub async fn admit(&self, now: Instant) -> Result<Lease, Exceeded> {
        let Some(granter) = &self.granter else { return self.enter(now) };
        let want = |limit, allowed: Option<NonZeroU64>| Some(Want { limit, allowed: allowed?, units: 1 });
        let wanted: Vec<Want> =
            [want(Limit::Concurrency, self.limits.concurrency), want(Limit::Requests, self.limits.rpm)]
                .into_iter()
                .flatten()
                .collect();
        let was_granted = self.take_shared(granter, &wanted, now).await?;
        // Whoever was not granted a place has taken one of this process's part.
        if was_granted || self.limits.concurrency.is_none() {
            self.counts.in_flight.fetch_add(1, Ordering::AcqRel);
        }
        let mut lease = Lease { of: self.clone(), request: None, tokens: None, place: None };
        lease.place = self.limits.concurrency.map(|_| was_granted);
        lease.request = self.limits.rpm.map(|rpm| self.force(Limit::Requests, rpm, 1, now));
        Ok(lease)
    }

    fn force(&self, limit: Limit, allowed: NonZeroU64, units: u64, now: Instant) -> Taken {
        self.counts.bucket(limit).force(Rate::per_minute(allowed), units, self.counts.at(now))
    }

    /// Takes all of it or nothing; whether it was granted, or taken of this process's part while nobody could be asked.
    async fn take_shared(
        &self,
        granter: &Arc<dyn LimitShares>,
        wanted: &[Want],
        now: Instant,
    ) -> Result<bool, Exceeded> {
        for want in wanted {
            if want.limit != Limit::Concurrency && want.takes() > CAPACITY {
                return Err(self.exceeded(want, None));
            }
        }
        for _ in 0..ASKED_MAX {
            if granter.are_valid() && self.take_granted(wanted)? {
                return Ok(true);
            }
            let lack = |want: &Want| Lack {
                tenant: Arc::clone(&self.tenant),
                share: ShareOf(Arc::clone(&self.counts), want.limit),
                allowed: want.allowed.get(),
                takes: want.takes(),
            };
            match Arc::clone(granter).ask(wanted.iter().map(lack).collect()).await {
                // What is not to be had is not asked for again, for a while.
                Answer::Granted | Answer::Refused { .. } => {}
                Answer::Away { processes } => {
                    self.take_alone(wanted, processes, now)?;
                    return Ok(false);
                }
            }
        }
        let first = wanted.first().map(|want| self.exceeded(want, Some(super::CONCURRENCY_WAIT)));
        first.map_or(Ok(true), Err)
    }

    /// Whether all of it was there.
    fn take_granted(&self, wanted: &[Want]) -> Result<bool, Exceeded> {
        let mut shares: Vec<_> =
            wanted.iter().map(|want| (want, self.counts.share(want.limit).lock())).collect();
        let mut has_all = true;
        for (want, share) in &shares {
            if !share.has(want.takes()) {
                has_all = false;
                if let Some(wait) = share.dry(want.takes()) {
                    let wait = if want.limit == Limit::Concurrency { super::CONCURRENCY_WAIT } else { wait };
                    let (want, remaining) = (**want, share.level());
                    drop(shares);
                    return Err(self.exceeded_at(&want, Some(wait), remaining));
                }
            }
        }
        if has_all {
            for (want, share) in &mut shares {
                share.take(i64::try_from(want.takes()).unwrap_or(i64::MAX));
            }
        }
        Ok(has_all)
    }

    /// Takes it of this process's part of each limit.
    fn take_alone(&self, wanted: &[Want], processes: u64, now: Instant) -> Result<(), Exceeded> {
        let at = self.counts.at(now);
        for want in wanted {
            let takes = i64::try_from(want.takes()).unwrap_or(i64::MAX);
            if want.limit == Limit::Concurrency {
                let part = (want.allowed.get() / processes.max(1)).max(1);
                let another = |in_flight| (in_flight < part).then_some(in_flight + 1);
                if self.counts.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, another).is_err() {
                    return Err(Exceeded::by_concurrency(want.allowed.get()));
                }
                self.counts.share(want.limit).lock().use_beyond(takes);
                continue;
            }
            let rate = Rate::per_minute(want.allowed);
            let used = self.counts.bucket(want.limit).level(rate, at).full_in;
            let mut share = self.counts.share(want.limit).lock();
            let taken = share.take_alone((rate, want.units), (used, processes), at);
            if taken.is_ok() {
                share.use_beyond(takes);
            }
            drop(share);
            if let Err(short) = taken {
                if wanted.iter().any(|want| want.limit == Limit::Concurrency) && want.limit == Limit::Requests
                {
                    self.counts.share(Limit::Concurrency).lock().use_beyond(-1);
                    self.counts.in_flight.fetch_sub(1, Ordering::AcqRel);
                }
                let wait = match short {
                    Short::For(wait) => wait,
                    Short::Ever => Duration::from_secs(60),
                };
                return Err(self.exceeded(want, Some(wait)));
            }
        }
        Ok(())
    }

    fn exceeded(&self, want: &Want, wait: Option<Duration>) -> Exceeded {
        let level = self.counts.share(want.limit).lock().level();
        self.exceeded_at(want, wait, level)
    }

    fn exceeded_at(&self, want: &Want, wait: Option<Duration>, level: Duration) -> Exceeded {
        if want.limit == Limit::Concurrency {
            return Exceeded::by_concurrency(want.allowed.get());
        }
        Exceeded {
            limit: want.limit,
            allowed: want.allowed.get(),
            remaining: remaining(want.allowed, level),
            requested: want.units,
            wait,
        }
    }

    /// Takes the tokens that a request is expected to use.
    pub(super) async fn take_tokens(&self, tokens: u64, now: Instant) -> Result<Option<Taken>, Exceeded> {
        let (Some(granter), Some(tpm)) = (&self.granter, self.limits.tpm) else {
            return self.take(Limit::Tokens, self.limits.tpm, tokens, now);
        };
        let want = Want { limit: Limit::Tokens, allowed: tpm, units: tokens };
        self.take_shared(granter, &[want], now).await?;
        Ok(Some(self.force(Limit::Tokens, tpm, tokens, now)))
    }

    /// So much more was used of a limit than was taken, or, below zero, less.
    pub(super) fn note(&self, limit: Limit, more: i64) {
        if self.granter.is_some() && more != 0 {
            self.counts.share(limit).lock().take(more);
        }
    }

    /// A request has ended that had a place among those in flight.
    pub(super) fn leave(&self, was_granted: bool) {
        let mut share = self.counts.share(Limit::Concurrency).lock();
        if was_granted { share.take(-1) } else { share.use_beyond(-1) }
    }

    /// How the limit stands for all who share it, as far as is known.
    pub(super) fn level_for_all(&self, bucket: &Bucket, allowed: NonZeroU64, now: Instant) -> Level {
        let limit =
            if std::ptr::eq(bucket, &raw const self.counts.tokens) { Limit::Tokens } else { Limit::Requests };
        let own = bucket.level(Rate::per_minute(allowed), self.counts.at(now)).full_in;
        let full_in = self.counts.share(limit).lock().level().max(own);
        Level { remaining: remaining(allowed, full_in), full_in }
    }
}

impl Lease {
    /// As [`Lease::reserve`], and asks others where the limits are shared.
    ///
    /// # Errors
    /// When there are not that many; then the request has taken nothing of the limit on requests either.
    pub async fn reserve_shared(&mut self, tokens: u64, now: Instant) -> Result<(), Exceeded> {
        match self.of.take_tokens(tokens, now).await {
            Ok(taken) => self.tokens = taken,
            Err(exceeded) => {
                self.give_back(now);
                return Err(exceeded);
            }
        }
        Ok(())
    }
}

/// What could be taken of a bucket that is full after this time.
fn remaining(allowed: NonZeroU64, full_in: Duration) -> u64 {
    let full_in = u64::try_from(full_in.as_nanos()).unwrap_or(u64::MAX);
    Rate::per_minute(allowed).units(CAPACITY.saturating_sub(full_in))
}
