//! What a gateway may spend of its shares without Redis.
//!
//! Should it be gone, others count as spent what it has announced in Redis. While it cannot announce more there it says so in the ledger's
//! database first: then they count all that it was granted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Instant,
};

use tokio::{sync::Mutex, time::timeout};
use tokio_util::task::TaskTracker;

use super::{BEAT, LEDGER_MAX};
use crate::ledger::{Ledger, LedgerError};

/// Whether a process goes on without Redis, and who knows it.
#[derive(Debug, Default)]
pub(super) struct Apart {
    /// Others would count all that was granted to it.
    is_noted: AtomicBool,
    /// The number of the last note in the database, whether it is known to be there or not; and of the last that is known to be there no more.
    last: AtomicI64,
    forgotten: AtomicI64,
    /// When it was last tried in vain to write one. Whoever has it writes.
    failed: Mutex<Option<Instant>>,
}

/// What a process had noted that is back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Back {
    /// The last note, to be forgotten once all is announced.
    note: i64,
    was_noted: bool,
}

impl Apart {
    /// All that was granted may be spent.
    pub(super) fn is_noted(&self) -> bool {
        self.is_noted.load(Ordering::Acquire)
    }

    /// Has it noted, unless it is, or was tried a moment ago.
    pub(super) async fn note(&self, ledger: Option<&Arc<Ledger>>) {
        let mut failed = self.failed.lock().await;
        if self.is_noted() || failed.is_some_and(|at| at.elapsed() < BEAT) {
            return;
        }
        let number = self.last.load(Ordering::Acquire) + 1;
        // Should this be cut off, it may come there later.
        *failed = Some(Instant::now());
        let has_noted = ask(ledger, move |ledger| ledger.goes_apart(number)).await;
        self.last.store(number, Ordering::Release);
        *failed = (!has_noted).then(Instant::now);
        if has_noted {
            self.is_noted.store(true, Ordering::Release);
            tracing::info!(
                "redis: what was granted to this gateway is spent without it; others know by the ledger"
            );
        }
    }

    /// Redis is there: from now on this process keeps to what it has announced.
    pub(super) fn back(&self) -> Option<Back> {
        let note = self.last.load(Ordering::Acquire);
        let was_noted = self.is_noted.swap(false, Ordering::AcqRel);
        (note > self.forgotten.load(Ordering::Acquire)).then_some(Back { note, was_noted })
    }

    /// It was not there after all.
    pub(super) fn stays(&self, back: &Back) {
        self.is_noted.fetch_or(back.was_noted, Ordering::AcqRel);
    }

    /// Takes the notes up to this one away.
    pub(super) async fn forget(&self, Back { note, .. }: Back, ledger: Option<&Arc<Ledger>>) {
        let Some(id) = ledger.map(|ledger| ledger.instance()) else { return };
        if ask(ledger, move |ledger| ledger.is_together(id, note)).await {
            self.forgotten.fetch_max(note, Ordering::AcqRel);
        }
    }
}

async fn ask(
    ledger: Option<&Arc<Ledger>>,
    ask: impl FnOnce(&Ledger) -> Result<(), LedgerError> + Send + 'static,
) -> bool {
    let Some(ledger) = ledger.cloned() else { return false };
    let asked = TaskTracker::new().spawn_blocking(move || ask(&ledger));
    matches!(timeout(LEDGER_MAX, asked).await, Ok(Ok(Ok(()))))
}
