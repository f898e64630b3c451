//! How many of a route's requests may be asked again: a share of them, so that retries never multiply an overload.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

/// Retries that a quiet route may spend at once, and regains within ten seconds.
const RESERVE: f64 = 10.0;
const RESERVE_SECONDS: f64 = 10.0;
/// Most that a busy route saves up.
const SAVED_MAX: f64 = 100.0;

/// The budgets of all routes, each tenant's by itself. The names are the configuration's: there are no more of them
/// than it has held.
#[derive(Debug, Default)]
pub struct RetryBudgets {
    by_tenant: Mutex<HashMap<String, ByRoute>>,
}

type ByRoute = HashMap<String, Arc<RetryBudget>>;

impl RetryBudgets {
    /// What a tenant's route has left.
    pub fn of(&self, tenant: &str, route: &str, now: Instant) -> Arc<RetryBudget> {
        let mut by_tenant = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = by_tenant.get(tenant).and_then(|routes| routes.get(route)) {
            return Arc::clone(known);
        }
        let routes = by_tenant.entry(tenant.to_owned()).or_default();
        Arc::clone(routes.entry(route.to_owned()).or_insert_with(|| Arc::new(RetryBudget::new(now))))
    }
}

/// Tokens: each request brings its share of one, each retry takes one.
#[derive(Debug)]
pub struct RetryBudget {
    purse: Mutex<Purse>,
}

#[derive(Debug)]
struct Purse {
    tokens: f64,
    at: Instant,
}

impl RetryBudget {
    /// A budget with its reserve whole.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { purse: Mutex::new(Purse { tokens: RESERVE, at: now }) }
    }

    /// A request has come; `share` of a retry is earned.
    pub fn deposit(&self, share: f64) {
        let mut purse = self.purse.lock().unwrap_or_else(PoisonError::into_inner);
        purse.tokens = (purse.tokens + share).min(SAVED_MAX);
    }

    /// Takes a retry, if one is there.
    pub fn withdraw(&self, now: Instant) -> bool {
        let mut purse = self.purse.lock().unwrap_or_else(PoisonError::into_inner);
        let regained = now.saturating_duration_since(purse.at).as_secs_f64() * RESERVE / RESERVE_SECONDS;
        purse.at = now;
        // Time alone fills the reserve and no more.
        if purse.tokens < RESERVE {
            purse.tokens = (purse.tokens + regained).min(RESERVE);
        }
        let has_one = purse.tokens >= 1.0;
        if has_one {
            purse.tokens -= 1.0;
        }
        has_one
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_quiet_route_has_a_reserve_and_regains_it() {
        let start = Instant::now();
        let budget = RetryBudget::new(start);
        assert_eq!((0..20).filter(|_| budget.withdraw(start)).count(), 10);
        assert!(!budget.withdraw(start + Duration::from_millis(900)));
        assert!(budget.withdraw(start + Duration::from_millis(1900)));
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..20).filter(|_| budget.withdraw(later)).count(), 10);
    }

    #[test]
    fn a_busy_route_retries_its_share() {
        let start = Instant::now();
        let budget = RetryBudget::new(start);
        while budget.withdraw(start) {}
        let retried = (0..1000)
            .filter(|_| {
                budget.deposit(0.2);
                budget.withdraw(start)
            })
            .count();
        assert!((195..=200).contains(&retried), "{retried}");
    }
}
