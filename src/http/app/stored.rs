//! What the database brings: keys that are made and revoked meanwhile, and what was spent before.

use std::{
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use super::App;
use crate::{
    config::Usd,
    ledger::{self, Spent},
    snapshot::Snapshot,
    store::StoreError,
};

impl App {
    /// Puts the keys of the database in force, if they have changed.
    ///
    /// # Errors
    /// When it cannot be read: those in force stay.
    pub fn refresh_keys(&self) -> Result<(), StoreError> {
        let Some(store) = self.store.get() else { return Ok(()) };
        let version = store.version()?;
        let mut in_force = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if version == *in_force {
            return Ok(());
        }
        let snapshot = self.snapshot.load().with_keys(&store.keys()?, &self.budgets);
        self.book_before(&snapshot)?;
        self.snapshot.store(Arc::new(snapshot));
        *in_force = version;
        Ok(())
    }

    /// Books what the ledger knows to have been spent, in the accounts that know nothing of it yet.
    pub(crate) fn book_before(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let Some(ledger) = self.books.ledger() else { return Ok(()) };
        let now = SystemTime::now();
        let day = |start: Option<SystemTime>| start.map_or(i64::MIN, ledger::day);
        let purses = || snapshot.callers().filter_map(|caller| caller.purse.as_ref());
        let Some(since) = purses().flat_map(|purse| purse.unknown(now)).map(day).min() else { return Ok(()) };
        let spent = ledger.spent_since(since)?;
        for purse in purses() {
            purse.book(now, |holder, start| {
                let counts = |spent: &&Spent| spent.day >= day(start) && holder.covers(&spent.by);
                spent.iter().filter(counts).fold(Usd::ZERO, |sum, spent| sum.plus(spent.amount))
            });
        }
        Ok(())
    }
}
