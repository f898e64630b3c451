//! What one holder has spent and holds in the period that is on.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use super::{BudgetRule, Holder, OverBudget, Period, Reach, Reason};
use crate::config::Usd;

/// How long calls in flight take to free what they hold, as far as anybody is told.
pub(super) const IN_FLIGHT: Duration = Duration::from_secs(1);

/// How long it is not asked again for what was not to be had.
const DRY: Duration = Duration::from_millis(200);

/// What one holder has spent in the period that is on.
#[derive(Debug, Default)]
pub struct Account(Mutex<Balance>);

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Balance {
    /// The number of the period; see [`Period::number`].
    pub(super) period: i64,
    /// By this process.
    pub(super) spent: Usd,
    /// What the calls in flight may still cost.
    pub(super) held: Usd,
    /// What others have spent, and this process's predecessors.
    pub(super) elsewhere: Usd,
    /// What was spent before this process began is in it.
    pub(super) is_known: bool,
    /// Where several processes spend of the budget: what this one may.
    pub(super) share: Option<Share>,
}

/// What of a budget was granted to this process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Share {
    /// In the period, with what of it is spent by now.
    granted: Usd,
    /// What of that the others count as spent should this process be gone, so that it spends no more before it has told them.
    announced: Usd,
    /// What may be spent beyond it while nobody can be asked; what of that is used counts as granted once it is told.
    lent: Usd,
    /// What was lent since more was granted the last time.
    borrowed: Usd,
    /// The most that was spent and held since it was looked at; none where nobody held any of it.
    peak: Option<Usd>,
    /// What was spent and held when it was looked at.
    before: Usd,
    /// What the others were told.
    told: Option<Told>,
    /// When more than this was not to be had.
    dry: Option<(Instant, Usd)>,
}

/// How a shared account stands in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// The number of the period.
    pub number: i64,
    /// What was granted to this process in it.
    pub granted: Usd,
    /// What of that is spent at most before others are told of more.
    pub announced: Usd,
    /// What of that is spent.
    pub spent: Usd,
}

impl Balance {
    /// At the time of this period. Time that goes back is not followed.
    fn turn_to(&mut self, period: i64) {
        if period > self.period {
            let share = self.share.map(|_| Share::default());
            *self = Self { period, is_known: self.is_known, share, ..Self::default() };
        }
    }

    pub(super) fn left(&self, limit: Usd) -> Usd {
        limit.less(self.elsewhere).less(self.used())
    }

    /// Spent or held by this process.
    fn used(&self) -> Usd {
        self.spent.plus(self.held)
    }

    /// What of `wanted` was not granted to this process; none where it may hold all of it without asking. Of a share that is not valid
    /// nothing is left but what was lent: what it did not use may be another's by now.
    pub(super) fn lacks(&mut self, wanted: Usd, reach: Reach) -> Option<Usd> {
        let used = self.used();
        let share = self.share.as_mut().filter(|_| wanted > Usd::ZERO)?;
        if reach == Reach::Nothing {
            share.granted = share.granted.min(used);
        }
        let wanted = used.plus(wanted);
        let free = if reach == Reach::All { share.granted } else { share.granted.min(share.announced) };
        (wanted > free.plus(share.lent)).then(|| wanted.less(share.granted.plus(share.lent)))
    }

    /// It was asked for as much a moment ago, in vain.
    pub(super) fn is_dry(&self, lacks: Usd) -> bool {
        let dry = self.share.and_then(|share| share.dry);
        dry.is_some_and(|(at, left)| lacks > left && at.elapsed() < DRY)
    }

    pub(super) fn hold(&mut self, more: Usd) {
        self.held = self.held.plus(more);
        let used = self.used();
        if let Some(share) = &mut self.share {
            share.peak = share.peak.max(Some(used));
        }
    }

    /// What was used beyond what was granted counts as granted.
    pub(super) fn told(&self) -> Told {
        let share = self.share.unwrap_or_default();
        let used = Usd::from_micros(self.used().in_micros());
        Told {
            number: self.period,
            granted: share.granted.max(used),
            announced: share.announced.min(share.granted).max(used),
            spent: self.spent,
        }
    }
}

impl Share {
    /// So much is known to be granted, and to be spent at most: what was used of what was lent is among it.
    fn told_as(&mut self, granted: Usd, announced: Usd) {
        self.lent = self.lent.less(granted.less(self.granted));
        (self.granted, self.announced) = (granted, announced);
    }

    /// What is to be announced: twice as much more as was used in the time before.
    fn ahead_of(&self, used: Usd) -> Usd {
        let more = self.peak.map_or(Usd::ZERO, |peak| peak.less(self.before));
        self.granted.min(Usd::from_micros(used.plus(more).plus(more).in_micros()))
    }
}

impl Account {
    /// How it stands in the period of this number.
    pub(super) fn at(&self, period: i64) -> MutexGuard<'_, Balance> {
        let mut balance = self.lock();
        balance.turn_to(period);
        balance
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Balance> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Others spend of it from now on: nothing is granted yet.
    pub(super) fn share(&self) {
        self.lock().share.get_or_insert_default();
    }

    /// Nothing is granted beyond what is spent and held: that is all that may be said of it to who knows nothing.
    pub fn anew(&self, period: i64) -> Told {
        let mut balance = self.at(period);
        let used = Usd::from_micros(balance.used().in_micros());
        if let Some(share) = &mut balance.share {
            share.told_as(used, used);
            (share.told, share.dry) = (None, None);
        }
        balance.told()
    }

    /// What is to be told of it: all of it, or only what is new. What nobody has used for a while is given back, and what was announced
    /// and is not likely to be used before the next time is taken back.
    pub fn tell(&self, period: i64, all: bool) -> Option<Told> {
        let mut balance = self.at(period);
        let used = Usd::from_micros(balance.used().in_micros());
        let share = balance.share.as_mut()?;
        if share.peak.is_none() {
            share.granted = share.granted.min(used);
        }
        let announced = share.ahead_of(used);
        (share.before, share.peak) = (used, None);
        // No more than before, until it is known that the others were told.
        share.announced = share.announced.min(announced);
        let told = Told { announced: announced.max(used), ..balance.told() };
        let share = balance.share.as_mut()?;
        let is_new = share.told.replace(told) != Some(told) || share.lent != Usd::ZERO;
        (all || is_new).then_some(told)
    }

    /// It was asked for more than was `told`: now so much is granted, all that was before among it, and so much is spent by others. Whether
    /// it `is_more` is told, too: then all of it is announced.
    pub fn grant(&self, told: Told, granted: Usd, elsewhere: Usd, is_more: bool) {
        let mut balance = self.lock();
        if balance.period == told.number
            && let Some(share) = &mut balance.share
        {
            share.told_as(granted, if is_more { granted } else { told.announced });
            if is_more {
                (share.lent, share.borrowed) = (Usd::ZERO, Usd::ZERO);
            }
            share.dry = None;
            balance.elsewhere = elsewhere;
        }
    }

    /// It was told how it stands. Others have spent so much, where that is known.
    pub fn hear(&self, told: Told, elsewhere: Option<Usd>) {
        let mut balance = self.lock();
        if balance.period == told.number {
            if let Some(share) = &mut balance.share {
                share.told_as(told.granted, told.announced);
            }
            balance.elsewhere = elsewhere.unwrap_or(balance.elsewhere);
        }
    }

    /// No more than this is left to be granted now.
    pub fn is_dry_at(&self, period: i64, left: Usd) {
        let mut balance = self.lock();
        if balance.period == period
            && let Some(share) = &mut balance.share
        {
            share.dry = Some((Instant::now(), left));
        }
    }

    /// Nobody can be asked: so much may be spent beyond what is granted, until more is.
    pub(super) fn lend(&self, period: i64, amount: Usd) {
        if let Some(share) = &mut self.at(period).share {
            let more = amount.less(share.borrowed);
            (share.lent, share.borrowed) = (share.lent.plus(more), share.borrowed.plus(more));
        }
    }
}

/// A budget that a caller's requests count against.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) holder: Holder,
    pub(super) rule: BudgetRule,
    pub(super) account: Arc<Account>,
}

impl Line {
    pub(super) fn number(&self, now: SystemTime) -> i64 {
        self.rule.per.number(now)
    }

    pub(super) fn refuse(&self, balance: &Balance, wanted: Usd, now: SystemTime) -> OverBudget {
        let is_spent = wanted > self.rule.limit.less(balance.elsewhere).less(balance.spent);
        let retry_after = if wanted > self.rule.limit {
            None
        } else if is_spent {
            self.rule.per.until_next(now)
        } else {
            Some(IN_FLIGHT)
        };
        self.over(Reason::Exceeded, retry_after)
    }

    pub(super) fn over(&self, reason: Reason, retry_after: Option<Duration>) -> OverBudget {
        OverBudget { reason, of: self.holder.scope(), per: self.rule.per, retry_after }
    }
}

/// A shared account, as all who share it call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName {
    /// Whose it is.
    pub holder: Holder,
    /// For which periods.
    pub per: Period,
}
