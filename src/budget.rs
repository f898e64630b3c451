//! Budgets: what a call may cost is held before it is made, and what it did cost is booked when it is over, so that
//! requests in flight can never spend together what none could spend alone.
//!
//! Several processes may spend of one budget: then each spends what it was granted of it, and asks for more; see [`Shares`].
//!
//! Pure accounts over the time that they are given; they must not know requests, models or tokens.

mod account;
mod hold;
mod period;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    time::{Duration, SystemTime},
};

use self::account::Line;
pub use self::{
    account::{Account, AccountName, Told},
    hold::{Hold, Lack, Refused},
    period::Period,
};

use crate::config::Usd;

/// One budget: so much for every period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetRule {
    /// The most that may be spent.
    pub limit: Usd,
    /// In this time.
    pub per: Period,
}

/// Whose budget it is. Ordered from the whole to its parts: accounts are locked in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Holder {
    /// The tenant.
    pub tenant: Arc<str>,
    /// A project of the tenant's, where it is the project's.
    pub project: Option<Arc<str>>,
    /// A key of the tenant's, where it is the key's.
    pub key: Option<Arc<str>>,
}

/// The accounts of all holders. Kept by identity, so that a reload forgets nothing that was spent.
#[derive(Debug, Clone, Default)]
pub struct Budgets(Arc<Book>);

#[derive(Debug, Default)]
struct Book {
    accounts: Mutex<HashMap<AccountName, Arc<Account>>>,
    shares: OnceLock<Weak<dyn Shares>>,
}

/// Who grants this process its shares of budgets that others spend of, too.
pub trait Shares: fmt::Debug + Send + Sync {
    /// What of them may be spent now.
    fn reach(&self) -> Reach;

    /// Has a hold be so much `more`, and asks for what it lacks. Goes on whether it is polled or not: others may be waiting for it.
    ///
    /// # Errors
    /// When it is not to be had, or nobody can be asked.
    fn secure(self: Arc<Self>, hold: Arc<Hold>, more: Usd) -> Secured;
}

/// What of a share may be spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nothing more: this process may be taken to be gone.
    Nothing,
    /// What others would count as spent should it be gone.
    Announced,
    /// All of it: others know that they would have to count all.
    All,
}

/// A hold on its way.
pub type Secured = Pin<Box<dyn Future<Output = Result<(), OverBudget>> + Send>>;

/// The budgets that one caller's requests count against.
#[derive(Debug)]
pub struct Purse {
    lines: Vec<Line>,
    book: Arc<Book>,
}

/// How a budget stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is.
    pub holder: Holder,
    /// What it allows.
    pub rule: BudgetRule,
    /// Spent in the period that is on, as far as is known.
    pub spent: Usd,
    /// Held by this process for calls in flight.
    pub held: Usd,
}

/// Why an amount is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverBudget {
    /// What is known of it.
    pub reason: Reason,
    /// Whose budget it would exceed.
    pub of: Scope,
    /// The period of that budget.
    pub per: Period,
    /// When it may be otherwise; never where that is not known.
    pub retry_after: Option<Duration>,
}

/// What is known of a budget that does not allow an amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It would be exceeded.
    Exceeded,
    /// Nothing: others spend of it, too, and cannot be asked.
    Unknown,
}

/// What a budget is for, in words for the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The tenant.
    Tenant,
    /// A project.
    Project,
    /// A key.
    Key,
}

impl Scope {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Project => "project",
            Self::Key => "key",
        }
    }
}

impl Reason {
    /// The codes of errors that say so, each of them.
    pub const CODES: [&str; 2] = [Self::Exceeded.code(), Self::Unknown.code()];

    const fn code(self) -> &'static str {
        match self {
            Self::Exceeded => "budget_exceeded",
            Self::Unknown => "budget_unavailable",
        }
    }
}

impl OverBudget {
    /// The code of errors that say so.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        self.reason.code()
    }

    /// It is known that it would be exceeded.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.reason == Reason::Exceeded
    }

    /// The type of errors that say so.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.reason {
            Reason::Exceeded => "insufficient_quota",
            Reason::Unknown => "server_error",
        }
    }
}

impl fmt::Display for OverBudget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.per {
            Period::Day => "daily ",
            Period::Month => "monthly ",
            Period::Total => "",
        };
        let why = match self.reason {
            Reason::Exceeded => "does not allow this request",
            Reason::Unknown => "cannot be checked at the moment",
        };
        write!(formatter, "the {period}budget of your {} {why}", self.of.name())
    }
}

impl Holder {
    /// The tenant itself.
    #[must_use]
    pub fn tenant(tenant: &Arc<str>) -> Self {
        Self { tenant: Arc::clone(tenant), project: None, key: None }
    }

    /// Whether what another spends counts for this one, as a part of it or itself.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let covers = |this: &Option<Arc<str>>, other: &Option<Arc<str>>| this.is_none() || this == other;
        self.tenant == other.tenant && covers(&self.project, &other.project) && covers(&self.key, &other.key)
    }

    /// What the budget is for.
    #[must_use]
    pub fn scope(&self) -> Scope {
        match (&self.project, &self.key) {
            (_, Some(_)) => Scope::Key,
            (Some(_), None) => Scope::Project,
            (None, None) => Scope::Tenant,
        }
    }
}

impl Budgets {
    /// The purse of a caller with these budgets; `None` where there are none.
    #[must_use]
    pub fn purse(&self, budgets: impl IntoIterator<Item = (Holder, BudgetRule)>) -> Option<Arc<Purse>> {
        let mut accounts = self.lock();
        let open = |(holder, rule): (Holder, BudgetRule)| {
            let name = AccountName { holder: holder.clone(), per: rule.per };
            let account = Arc::clone(accounts.entry(name).or_default());
            if self.0.shares.get().is_some() {
                account.share();
            }
            Line { holder, rule, account }
        };
        let mut lines: Vec<Line> = budgets.into_iter().map(open).collect();
        lines.sort_by(|a, b| (&a.holder, a.rule.per).cmp(&(&b.holder, b.rule.per)));
        (!lines.is_empty()).then(|| Arc::new(Purse { lines, book: Arc::clone(&self.0) }))
    }

    /// Others spend of the same budgets from now on; before anything is held.
    pub fn share(&self, shares: Weak<dyn Shares>) {
        let accounts = self.lock();
        let _ = self.0.shares.set(shares);
        accounts.values().for_each(|account| account.share());
    }

    /// Every account.
    #[must_use]
    pub fn accounts(&self) -> Vec<(AccountName, Arc<Account>)> {
        self.lock().iter().map(|(name, account)| (name.clone(), Arc::clone(account))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<AccountName, Arc<Account>>> {
        self.0.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Purse {
    /// Holds an amount in every budget, or in none.
    ///
    /// # Errors
    /// When one of them does not allow it, or a share is too small.
    pub fn hold(self: &Arc<Self>, amount: Usd, now: SystemTime) -> Result<Hold, Refused> {
        let hold = Hold::of(self);
        hold.extend(amount, now)?;
        Ok(hold)
    }

    /// As [`Purse::hold`], and waits for larger shares where that is needed.
    ///
    /// # Errors
    /// When a budget does not allow it, or it cannot be known whether it does.
    pub async fn secure(self: &Arc<Self>, amount: Usd) -> Result<Arc<Hold>, OverBudget> {
        /// Whoever does not wait for it any more does not need it.
        struct Unheld(Option<Arc<Hold>>);
        impl Drop for Unheld {
            fn drop(&mut self) {
                self.0.iter().for_each(|hold| hold.settle(Usd::ZERO));
            }
        }
        let hold = Arc::new(Hold::of(self));
        let mut unheld = Unheld(Some(Arc::clone(&hold)));
        hold.secure(amount).await?;
        unheld.0 = None;
        Ok(hold)
    }

    /// Who grants shares of it; nobody, where no other process spends of it.
    fn shares(&self) -> Option<Arc<dyn Shares>> {
        self.book.shares.get().and_then(Weak::upgrade)
    }

    fn reach(&self) -> Reach {
        let reach =
            |shares: &Weak<dyn Shares>| shares.upgrade().map_or(Reach::Nothing, |shares| shares.reach());
        self.book.shares.get().map_or(Reach::All, reach)
    }

    /// Nobody can be asked: so much may be spent of each budget beyond what is granted.
    pub fn lend(&self, amount: Usd, now: SystemTime) {
        self.lines.iter().for_each(|line| line.account.lend(line.number(now), amount));
    }

    /// A refusal by the budget of the largest holder.
    #[must_use]
    pub fn over(&self, reason: Reason, retry_after: Option<Duration>) -> OverBudget {
        let first = self.lines.first().map(|line| (line.holder.scope(), line.rule.per));
        let (of, per) = first.unwrap_or((Scope::Tenant, Period::Total));
        OverBudget { reason, of, per, retry_after }
    }

    /// A refusal by the budget at this place, which would be `lacks` beyond what it allows.
    #[must_use]
    pub fn refuse(&self, place: usize, wanted: Usd, now: SystemTime) -> OverBudget {
        match self.lines.get(place) {
            Some(line) => line.refuse(&line.account.at(line.number(now)), wanted, now),
            None => self.over(Reason::Exceeded, None),
        }
    }

    /// A budget of it has less than a tenth left.
    #[must_use]
    pub fn is_low(&self, now: SystemTime) -> bool {
        self.lines.iter().any(|line| {
            let left = line.account.at(line.number(now)).left(line.rule.limit);
            left.pico().saturating_mul(10) < line.rule.limit.pico()
        })
    }

    /// How each budget stands.
    #[must_use]
    pub fn standing(&self, now: SystemTime) -> Vec<Standing> {
        let one = |line: &Line| {
            let balance = *line.account.at(line.number(now));
            Standing {
                holder: line.holder.clone(),
                rule: line.rule,
                spent: balance.spent.plus(balance.elsewhere),
                held: balance.held,
            }
        };
        self.lines.iter().map(one).collect()
    }

    /// Each account of which it is not known what was spent before, with the beginning of its period.
    pub fn unknown(&self, now: SystemTime) -> impl Iterator<Item = Option<SystemTime>> {
        let is_unknown = move |line: &&Line| !line.account.at(line.number(now)).is_known;
        self.lines.iter().filter(is_unknown).map(move |line| line.rule.per.start(now))
    }

    /// Books what was spent before, where that is not known; `spent` tells it for a holder since a time, all parts of the holder
    /// together: by others, and by this process.
    pub fn book(&self, now: SystemTime, spent: impl Fn(&Holder, Option<SystemTime>) -> [Usd; 2]) {
        for line in &self.lines {
            let mut balance = line.account.at(line.number(now));
            if !balance.is_known {
                balance.is_known = true;
                let [by_others, by_this] = spent(&line.holder, line.rule.per.start(now));
                balance.elsewhere = balance.elsewhere.plus(by_others);
                balance.spent = balance.spent.plus(by_this);
            }
        }
    }
}
