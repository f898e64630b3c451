//! Budgets: what a call may cost is held before it is made, and what it did cost is booked when it is over, so that
//! requests in flight can never spend together what none could spend alone.
//!
//! Pure accounts over the time that they are given; they must not know requests, models or tokens.

mod period;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

pub use period::Period;

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
pub struct Budgets(Arc<Mutex<Accounts>>);

type Accounts = HashMap<(Holder, Period), Arc<Account>>;

/// What one holder has spent in the period that is on.
#[derive(Debug, Default)]
struct Account(Mutex<Balance>);

#[derive(Debug, Clone, Copy, Default)]
struct Balance {
    /// The number of the period; see [`Period::number`].
    period: i64,
    spent: Usd,
    /// What the calls in flight may still cost.
    held: Usd,
    /// What was spent before this process began is in it.
    is_known: bool,
}

impl Balance {
    /// At the time of this period. Time that goes back is not followed.
    fn turn_to(&mut self, period: i64) {
        if period > self.period {
            *self = Self { period, is_known: self.is_known, ..Self::default() };
        }
    }

    fn left(&self, limit: Usd) -> Usd {
        limit.less(self.spent).less(self.held)
    }
}

/// The budgets that one caller's requests count against.
#[derive(Debug)]
pub struct Purse(Vec<Line>);

#[derive(Debug)]
struct Line {
    holder: Holder,
    rule: BudgetRule,
    account: Arc<Account>,
}

/// How a budget stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whose it is.
    pub holder: Holder,
    /// What it allows.
    pub rule: BudgetRule,
    /// Spent in the period that is on.
    pub spent: Usd,
    /// Held for calls in flight.
    pub held: Usd,
}

/// Why an amount is not to be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverBudget {
    /// Whose budget it would exceed.
    pub of: Scope,
    /// The period of that budget.
    pub per: Period,
    /// When it may be otherwise; never where that is not known.
    pub retry_after: Option<Duration>,
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

impl OverBudget {
    /// The code of errors that say so.
    pub const CODE: &'static str = "budget_exceeded";
}

impl fmt::Display for OverBudget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let period = match self.per {
            Period::Day => "daily ",
            Period::Month => "monthly ",
            Period::Total => "",
        };
        write!(formatter, "the {period}budget of your {} does not allow this request", self.of.name())
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

/// How long calls in flight take to free what they hold, as far as anybody is told.
const IN_FLIGHT: Duration = Duration::from_secs(1);

impl Budgets {
    /// The purse of a caller with these budgets; `None` where there are none.
    #[must_use]
    pub fn purse(&self, budgets: impl IntoIterator<Item = (Holder, BudgetRule)>) -> Option<Arc<Purse>> {
        let mut accounts = self.lock();
        let open = |(holder, rule): (Holder, BudgetRule)| {
            let account = Arc::clone(accounts.entry((holder.clone(), rule.per)).or_default());
            Line { holder, rule, account }
        };
        let mut lines: Vec<Line> = budgets.into_iter().map(open).collect();
        lines.sort_by(|a, b| (&a.holder, a.rule.per).cmp(&(&b.holder, b.rule.per)));
        (!lines.is_empty()).then(|| Arc::new(Purse(lines)))
    }

    fn lock(&self) -> MutexGuard<'_, Accounts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Account {
    fn at(&self, period: i64) -> MutexGuard<'_, Balance> {
        let mut balance = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        balance.turn_to(period);
        balance
    }
}

impl Purse {
    /// Holds an amount in every budget, or in none.
    ///
    /// # Errors
    /// When one of them does not allow it.
    pub fn hold(self: &Arc<Self>, amount: Usd, now: SystemTime) -> Result<Hold, OverBudget> {
        let hold = Hold {
            purse: Arc::clone(self),
            state: Mutex::new(Held {
                amount: Usd::ZERO,
                periods: vec![i64::MIN; self.0.len()],
                is_open: true,
            }),
        };
        hold.extend(amount, now)?;
        Ok(hold)
    }

    /// A budget of it has less than a tenth left.
    #[must_use]
    pub fn is_low(&self, now: SystemTime) -> bool {
        self.0.iter().any(|line| {
            let left = line.account.at(line.rule.per.number(now)).left(line.rule.limit);
            left.pico().saturating_mul(10) < line.rule.limit.pico()
        })
    }

    /// How each budget stands.
    #[must_use]
    pub fn standing(&self, now: SystemTime) -> Vec<Standing> {
        let one = |line: &Line| {
            let balance = *line.account.at(line.rule.per.number(now));
            Standing {
                holder: line.holder.clone(),
                rule: line.rule,
                spent: balance.spent,
                held: balance.held,
            }
        };
        self.0.iter().map(one).collect()
    }

    /// Each account of which it is not known what was spent before, with the beginning of its period.
    pub fn unknown(&self, now: SystemTime) -> impl Iterator<Item = Option<SystemTime>> {
        let is_unknown = move |line: &&Line| !line.account.at(line.rule.per.number(now)).is_known;
        self.0.iter().filter(is_unknown).map(move |line| line.rule.per.start(now))
    }

    /// Books what was spent before, where that is not known; `spent` tells it for a holder since a time, all parts of the holder
    /// together.
    pub fn book(&self, now: SystemTime, spent: impl Fn(&Holder, Option<SystemTime>) -> Usd) {
        for line in &self.0 {
            let mut balance = line.account.at(line.rule.per.number(now));
            if !balance.is_known {
                balance.is_known = true;
                balance.spent = balance.spent.plus(spent(&line.holder, line.rule.per.start(now)));
            }
        }
    }
}

/// An amount held for a call. Dropped without having been settled, it counts as spent: money is not given back by accident.
#[derive(Debug)]
pub struct Hold {
    purse: Arc<Purse>,
    state: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    amount: Usd,
    /// For each budget the period that the amount is held in: what is not of the one that is on is no matter there.
    periods: Vec<i64>,
    is_open: bool,
}

impl Hold {
    /// The amount.
    #[must_use]
    pub fn amount(&self) -> Usd {
        self.lock().amount
    }

    /// Holds `more` beside what is held, in every budget or in none.
    ///
    /// # Errors
    /// When a budget does not allow it.
    pub fn extend(&self, more: Usd, now: SystemTime) -> Result<(), OverBudget> {
        let mut state = self.lock();
        let Held { amount, periods, .. } = &mut *state;
        let lines = &self.purse.0;
        // All at once, in the order that everybody keeps.
        let mut balances: Vec<_> =
            lines.iter().map(|line| line.account.at(line.rule.per.number(now))).collect();
        let wanted =
            |balance: &Balance, period: i64| if period == balance.period { more } else { amount.plus(more) };
        for ((line, balance), period) in lines.iter().zip(&balances).zip(&*periods) {
            let wanted = wanted(balance, *period);
            if wanted > balance.left(line.rule.limit) {
                return Err(line.refuse(balance, wanted, now));
            }
        }
        for (balance, period) in balances.iter_mut().zip(&mut *periods) {
            balance.held = balance.held.plus(wanted(balance, *period));
            *period = balance.period;
        }
        *amount = amount.plus(more);
        Ok(())
    }

    /// The call is over and has cost so much; what else was held is free again. Only the first time counts.
    pub fn settle(&self, cost: Usd) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.is_open, false) {
            return;
        }
        for (line, period) in self.purse.0.iter().zip(&state.periods) {
            let mut balance = line.account.0.lock().unwrap_or_else(PoisonError::into_inner);
            if balance.period == *period {
                balance.held = balance.held.less(state.amount);
                balance.spent = balance.spent.plus(cost);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.settle(self.amount());
    }
}

impl Line {
    fn refuse(&self, balance: &Balance, wanted: Usd, now: SystemTime) -> OverBudget {
        let is_spent = wanted > self.rule.limit.less(balance.spent);
        let retry_after = if wanted > self.rule.limit {
            None
        } else if is_spent {
            self.rule.per.until_next(now)
        } else {
            Some(IN_FLIGHT)
        };
        OverBudget { of: self.holder.scope(), per: self.rule.per, retry_after }
    }
}
