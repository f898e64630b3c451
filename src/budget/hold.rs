//! Money held for one call.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use super::{
    OverBudget, Purse, Reach, Reason,
    account::{Account, AccountName, IN_FLIGHT, Told},
};
use crate::config::Usd;

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

/// Why an amount is not held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// A budget does not allow it.
    Over(OverBudget),
    /// This process has too small a share of a budget: more may be had by [`Hold::secure`].
    Short,
}

/// What a hold lacks of a shared account.
#[derive(Debug)]
pub struct Lack {
    /// Whose.
    pub name: AccountName,
    /// The account.
    pub account: Arc<Account>,
    /// How it stands.
    pub told: Told,
    /// What the budget allows.
    pub limit: Usd,
    /// What is lacking; nothing, where this account has enough and another has not, or where it was not announced.
    pub lacks: Usd,
}

impl Hold {
    pub(super) fn of(purse: &Arc<Purse>) -> Self {
        let periods = vec![i64::MIN; purse.lines.len()];
        let state = Mutex::new(Held { amount: Usd::ZERO, periods, is_open: true });
        Self { purse: Arc::clone(purse), state }
    }

    /// The budgets that it is of.
    #[must_use]
    pub fn purse(&self) -> &Arc<Purse> {
        &self.purse
    }

    /// The amount.
    #[must_use]
    pub fn amount(&self) -> Usd {
        self.lock().amount
    }

    /// Holds `more` beside what is held, in every budget or in none. Of a call that is over nothing is held any more.
    ///
    /// # Errors
    /// When a budget does not allow it, or a share is too small.
    pub fn extend(&self, more: Usd, now: SystemTime) -> Result<(), Refused> {
        let mut state = self.lock();
        let Held { amount, periods, is_open } = &mut *state;
        if !*is_open {
            return Ok(());
        }
        let lines = &self.purse.lines;
        // All at once, in the order that everybody keeps. Only then it is asked what may be spent: nobody tells meanwhile how they stand.
        let mut balances: Vec<_> = lines.iter().map(|line| line.account.at(line.number(now))).collect();
        let reach = self.purse.reach();
        let mut is_short = false;
        for ((line, balance), period) in lines.iter().zip(&mut balances).zip(&*periods) {
            let wanted = if *period == balance.period { more } else { amount.plus(more) };
            let lacks = balance.lacks(wanted, reach);
            let is_dry = reach != Reach::Nothing && balance.is_dry(lacks.unwrap_or_default());
            if wanted > balance.left(line.rule.limit) || is_dry {
                return Err(Refused::Over(line.refuse(balance, wanted, now)));
            }
            is_short |= lacks.is_some();
        }
        if is_short {
            return Err(Refused::Short);
        }
        for (balance, period) in balances.iter_mut().zip(&mut *periods) {
            let wanted = if *period == balance.period { more } else { amount.plus(more) };
            balance.hold(wanted);
            *period = balance.period;
        }
        *amount = amount.plus(more);
        Ok(())
    }

    /// Holds `more`, and waits for larger shares where that is needed.
    ///
    /// # Errors
    /// When a budget does not allow it, or it cannot be known whether it does.
    pub async fn secure(self: &Arc<Self>, more: Usd) -> Result<(), OverBudget> {
        match (self.extend(more, SystemTime::now()), self.purse.shares()) {
            (Ok(()), _) => Ok(()),
            (Err(Refused::Over(over_budget)), _) => Err(over_budget),
            (Err(Refused::Short), Some(shares)) => shares.secure(Arc::clone(self), more).await,
            (Err(Refused::Short), None) => Err(self.purse.over(Reason::Unknown, Some(IN_FLIGHT))),
        }
    }

    /// What it lacks of each account to be `more`; nothing at all where it lacks nothing, or is over.
    #[must_use]
    pub fn lacks(&self, more: Usd, now: SystemTime) -> Vec<Lack> {
        let state = self.lock();
        if !state.is_open {
            return Vec::new();
        }
        let reach = self.purse.reach();
        let mut is_short = false;
        let lack = |(line, period): (&super::account::Line, &i64)| {
            let mut balance = line.account.at(line.number(now));
            let wanted = if *period == balance.period { more } else { state.amount.plus(more) };
            let lacks = balance.lacks(wanted, reach);
            is_short |= lacks.is_some();
            Lack {
                name: AccountName { holder: line.holder.clone(), per: line.rule.per },
                account: Arc::clone(&line.account),
                told: balance.told(),
                limit: line.rule.limit,
                lacks: lacks.unwrap_or_default(),
            }
        };
        let lacks: Vec<Lack> = self.purse.lines.iter().zip(&state.periods).map(lack).collect();
        if is_short { lacks } else { Vec::new() }
    }

    /// The call is over and has cost so much; what else was held is free again. Only the first time counts.
    pub fn settle(&self, cost: Usd) {
        let mut state = self.lock();
        if !std::mem::replace(&mut state.is_open, false) {
            return;
        }
        for (line, period) in self.purse.lines.iter().zip(&state.periods) {
            let mut balance = line.account.lock();
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
