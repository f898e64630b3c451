//! What the database brings: tenants and keys that are managed meanwhile, and what was spent before.

use std::{
    sync::{Arc, PoisonError},
    time::SystemTime,
};

use super::App;
use crate::{
    config::Usd,
    ledger::{self, By, Spent},
    snapshot::Snapshot,
    store::StoreError,
};

impl App {
    /// Puts the tenants and keys of the database in force, if they have changed.
    ///
    /// # Errors
    /// When it cannot be read: those in force stay.
    pub fn refresh_stored(&self) -> Result<(), StoreError> {
        let Some(store) = self.store.get() else { return Ok(()) };
        let versions = store.versions()?;
        let mut in_force = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        if versions == *in_force {
            return Ok(());
        }
        let snapshot = self.snapshot.load().with_stored(&store.tenants()?, &store.keys()?, &self.budgets);
        self.book_before(&snapshot)?;
        let have_tenants_changed = versions.tenants != in_force.tenants;
        // Keys may have budgets of their own.
        self.seed(&snapshot);
        if have_tenants_changed {
            self.tell_left_out(&snapshot);
        }
        snapshot.go_on_from(&self.snapshot.load());
        self.snapshot.store(Arc::new(snapshot));
        *in_force = versions;
        if have_tenants_changed {
            // Pools may hold models that nobody had before.
            self.start_checks();
        }
        Ok(())
    }

    /// Logs which tenants of the database are not in force with a snapshot that is to be, where that is news.
    pub(crate) fn tell_left_out(&self, snapshot: &Snapshot) {
        let before = self.snapshot.load();
        for (name, managed) in snapshot.managed() {
            let Err(why) = &managed.state else { continue };
            let known = before.managed().get(name).and_then(|managed| managed.state.as_ref().err());
            if known != Some(why) {
                tracing::error!("tenant {name} of the database is not in force: {why}");
            }
        }
    }

    /// Books what the ledger knows to have been spent, in the accounts that know nothing of it yet.
    pub(crate) fn book_before(&self, snapshot: &Snapshot) -> Result<(), StoreError> {
        let Some(ledger) = self.books.ledger() else { return Ok(()) };
        let now = SystemTime::now();
        let day = |start: Option<SystemTime>| start.map_or(i64::MIN, ledger::day);
        let purses = || snapshot.callers().filter_map(|caller| caller.purse.as_ref());
        let Some(since) = purses().flat_map(|purse| purse.unknown(now)).map(day).min() else { return Ok(()) };
        let me = ledger.instance();
        // Where others share the budgets, each tells what it has spent itself.
        let are_shared = self.fleet.get().is_some() && ledger.database().file().is_none();
        let (by_others, by_this) = if are_shared {
            (ledger.spent_since(since, &By::AllBut(vec![me]))?, ledger.spent_since(since, &By::One(me))?)
        } else {
            (ledger.spent_since(since, &By::AllButHeldBy(me))?, Vec::new())
        };
        for purse in purses() {
            purse.book(now, |holder, start| {
                [&by_others, &by_this].map(|spent| {
                    let counts = |spent: &&Spent| spent.day >= day(start) && holder.covers(&spent.by);
                    spent.iter().filter(counts).fold(Usd::ZERO, |sum, spent| sum.plus(spent.amount))
                })
            });
        }
        Ok(())
    }
}
