//! Several gateways as one: budgets of which all of them spend, by what Redis keeps of them.
//!
//! Each gateway is granted a share of a budget before it spends of it, and gives back what it does not use; most requests ask nobody.
//! The ledger is the truth: whatever Redis has lost is made anew from it and from what every gateway knows of itself.

pub mod answers;
mod board;
mod limiting;
pub mod link;
mod tending;

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::{Mutex, MutexGuard};
use uuid::Uuid;

use self::{
    board::{AT_ONCE, Board, Deed, Entry, Epoch, Granted, Trouble},
    link::Link,
};
use crate::{
    budget::{Asked, Budgets, Hold, Lack, OverBudget, Reason, Shares, Told},
    config::{OnStoreLoss, Usd},
    ledger::{Heard, Ledger},
    tenancy::limits::{Limiters, shared::LimitShares},
};

/// How often this process says that it is there, and how it stands. What is not used for as long is given back.
const BEAT: Duration = Duration::from_secs(1);

/// How long a process may spend what it was granted after it was last heard of: less than after which others take it to be gone.
const VALID: Duration = Duration::from_secs(10);

/// After which a process is gone that neither the database nor Redis has heard of.
const GONE: Duration = Duration::from_secs(15);

/// How long a request waits for others to tell what they have spent, and how often it is looked.
const SETTLING_MAX: Duration = Duration::from_secs(2);
const SETTLING_PAUSE: Duration = Duration::from_millis(50);

/// How long the ledger's database may take, for whom others wait.
const LEDGER_MAX: Duration = Duration::from_secs(2);

/// How long a request waits for a connection.
const CONNECTION_MAX: Duration = Duration::from_millis(100);

/// How often what stands in the way of a question is cleared for it.
const ROUNDS_MAX: usize = 4;

/// What this process shares with others.
#[derive(Debug)]
pub struct Fleet {
    board: Board,
    link: Arc<Link>,
    /// Where all of them write what was spent; without it budgets are not shared.
    ledger: Option<Arc<Ledger>>,
    budgets: Budgets,
    limiters: Weak<Limiters>,
    on_store_loss: OnStoreLoss,
    heard: Heard,
    /// Whoever has it speaks for this process: it must not say two things at once of what it was granted.
    turn: Mutex<Turn>,
    /// Whoever has it looks up what was spent before.
    base: Mutex<()>,
}

/// What this process is.
#[derive(Debug, Default)]
struct Turn {
    /// A member of this epoch.
    member_of: Option<Epoch>,
    /// Processes that this epoch waits for.
    waiting: u64,
    /// Processes that were heard of a moment ago.
    processes: u64,
    /// When it was last found that something stands in everybody's way: others who have not told yet what they have spent.
    settling: Option<Instant>,
}

impl Fleet {
    /// One of those that connect so. Limits are shared from now on, and budgets, where all write one ledger.
    pub fn join(
        link: Arc<Link>,
        ledger: Option<Arc<Ledger>>,
        (budgets, limiters): (Budgets, &Arc<Limiters>),
        on_store_loss: OnStoreLoss,
    ) -> Arc<Self> {
        let me = ledger.as_ref().map_or_else(Uuid::now_v7, |ledger| ledger.instance());
        let board = Board::new(Arc::clone(&link), me.to_string());
        let has_ledger = ledger.is_some();
        let (turn, base) = (Mutex::default(), Mutex::default());
        let fleet = Arc::new(Self {
            board,
            link,
            ledger,
            budgets: budgets.clone(),
            limiters: Arc::downgrade(limiters),
            on_store_loss,
            heard: Heard::now(),
            turn,
            base,
        });
        let granter: Weak<dyn LimitShares> = Arc::downgrade(&fleet) as _;
        limiters.share(granter);
        if has_ledger {
            let shares: Weak<dyn Shares> = Arc::downgrade(&fleet) as _;
            budgets.share(shares);
        }
        fleet
    }

    /// Waits until this process may ask, and no longer than this.
    pub async fn ready(&self, at_most: Duration) {
        let ready = async {
            self.link.wait(at_most).await;
            while self.turn.lock().await.member_of.is_none() {
                tokio::time::sleep(SETTLING_PAUSE).await;
            }
        };
        if tokio::time::timeout(at_most, ready).await.is_err() {
            tracing::warn!("redis: this gateway begins without it");
        }
    }

    async fn ask_for(&self, hold: &Hold, more: Usd) -> Result<(), OverBudget> {
        let asked = Instant::now();
        let mut rounds = 0;
        loop {
            let mut turn = self.turn.lock().await;
            let now = SystemTime::now();
            let lacks = hold.lacks(more, now);
            // Somebody else has brought it by now.
            if lacks.is_empty() {
                return Ok(());
            }
            if let Some(place) = lacks.iter().position(|lack| lack.is_dry && self.are_valid()) {
                return Err(hold.purse().refuse(place, more, now));
            }
            let trouble = match self.grant(&mut turn, &lacks).await {
                Ok(None) => return Ok(()),
                Ok(Some(place)) => return Err(hold.purse().refuse(place, more, now)),
                Err(trouble) => trouble,
            };
            match trouble {
                Trouble::Settling if asked.elapsed() < SETTLING_MAX => {
                    turn.settling.get_or_insert_with(Instant::now);
                    drop(turn);
                    tokio::time::sleep(SETTLING_PAUSE).await;
                    continue;
                }
                Trouble::Outside | Trouble::Lost if rounds < ROUNDS_MAX => {
                    let _ = self.enter(&mut turn, trouble).await;
                }
                Trouble::Base if rounds < ROUNDS_MAX => {
                    let epoch = turn.member_of.clone();
                    turn.settling = Some(Instant::now());
                    drop(turn);
                    self.look_up(epoch).await;
                    self.turn.lock().await.settling = None;
                }
                // It may be that a connection was lost a moment ago.
                Trouble::Away if rounds == 0 => {
                    drop(turn);
                    self.link.wait(CONNECTION_MAX).await;
                }
                _ => return self.go_without(hold),
            }
            rounds += 1;
        }
    }

    /// Asks for all that is lacking; the place of the account that has not so much left, if one has not.
    async fn grant(&self, turn: &mut Turn, lacks: &[Lack]) -> Result<Option<usize>, Trouble> {
        // Not before it is known that this process was not taken to be gone.
        let epoch = turn.member_of.as_ref().filter(|_| self.are_valid()).ok_or(Trouble::Outside)?;
        // One asks for all who wait.
        if turn.settling.is_some_and(|at| at.elapsed() < SETTLING_PAUSE) {
            return Err(Trouble::Settling);
        }
        turn.settling = None;
        let entry = |lack: &Lack| Entry {
            name: lack.name.clone(),
            told: lack.told,
            limit: lack.limit,
            lacks: lack.lacks,
        };
        let entries: Vec<Entry> = lacks.iter().map(entry).collect();
        let (is_granted, granted) = self.board.accounts(epoch, Deed::Ask, &entries).await?;
        self.heard.again();
        let mut refused = None;
        for (place, (lack, now)) in lacks.iter().zip(granted).enumerate() {
            let Granted { granted, elsewhere, left } = now;
            lack.account.grant(lack.told.number, granted, elsewhere.unwrap_or_default());
            if !is_granted && lack.lacks > left {
                lack.account.is_dry_at(lack.told.number, left);
                refused.get_or_insert(place);
            }
        }
        Ok(refused)
    }

    /// Nobody can be asked.
    fn go_without(&self, hold: &Hold) -> Result<(), OverBudget> {
        let purse = hold.purse();
        match self.on_store_loss {
            OnStoreLoss::Allow(amount) if purse.lend(amount, SystemTime::now()) => Ok(()),
            OnStoreLoss::Allow(_) | OnStoreLoss::Refuse => Err(purse.over(Reason::Unknown, Some(BEAT))),
        }
    }

    /// Says that this process is there, and becomes a member of the epoch if it is none; begins one where there is none.
    async fn enter(&self, turn: &mut MutexGuard<'_, Turn>, trouble: Trouble) -> Result<(), Trouble> {
        let lost = turn.member_of.as_ref().filter(|_| trouble == Trouble::Lost).map(|epoch| epoch.id.clone());
        let mut heard = self.board.beat().await?;
        if heard.as_ref().is_none_or(|heard| Some(&heard.epoch.id) == lost.as_ref()) {
            self.begin(lost.as_deref()).await?;
            heard = self.board.beat().await?;
        }
        let heard = heard.ok_or(Trouble::Away)?;
        (turn.waiting, turn.processes) = (heard.waiting, heard.processes);
        if !heard.is_member || turn.member_of.as_ref() != Some(&heard.epoch) {
            turn.member_of = None;
            self.tell_anew(&heard.epoch).await?;
            self.board.enter(&heard.epoch).await?;
            self.tell_limits(&heard.epoch, true).await?;
            turn.waiting = turn.waiting.saturating_sub(1);
            tracing::info!(processes = heard.processes, "redis: budgets are shared");
            turn.member_of = Some(heard.epoch);
        }
        self.heard.again();
        Ok(())
    }

    async fn begin(&self, lost: Option<&str>) -> Result<(), Trouble> {
        let instances = self.instances().await?;
        let waited_for: Vec<String> = instances.iter().map(ToString::to_string).collect();
        tracing::warn!(
            processes = waited_for.len(),
            "redis: it has no data of ours, or has lost some: what was spent is told anew, and taken from the ledger"
        );
        self.board.begin(lost, &waited_for).await
    }

    /// Tells of every account what this process has spent and holds, and gives back the rest.
    async fn tell_anew(&self, epoch: &Epoch) -> Result<(), Trouble> {
        let now = SystemTime::now();
        let accounts = self.budgets.accounts();
        for some in accounts.chunks(AT_ONCE) {
            let entry = |(name, account): &(_, Arc<crate::budget::Account>)| {
                let name: &crate::budget::AccountName = name;
                Entry::of(name, account.anew(name.per.number(now)))
            };
            let entries: Vec<Entry> = some.iter().map(entry).collect();
            let (_, granted) = self.board.accounts(epoch, Deed::Join, &entries).await?;
            for ((_, account), (entry, granted)) in some.iter().zip(entries.iter().zip(granted)) {
                if let Some(elsewhere) = granted.elsewhere {
                    account.hear(entry.told.number, elsewhere);
                }
            }
        }
        Ok(())
    }

    /// The processes that the ledger's database has heard of lately.
    async fn instances(&self) -> Result<Vec<Uuid>, Trouble> {
        let instances = self.read(Ledger::instances).await?;
        Ok(instances.unwrap_or_default())
    }

    /// Reads the ledger beside everything else, where there is one.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Ledger) -> Result<T, crate::ledger::LedgerError> + Send + 'static,
    ) -> Result<Option<T>, Trouble> {
        let Some(ledger) = self.ledger.clone() else { return Ok(None) };
        let read = tokio_util::task::TaskTracker::new().spawn_blocking(move || read(&ledger));
        match tokio::time::timeout(LEDGER_MAX, read).await {
            Ok(Ok(Ok(read))) => Ok(Some(read)),
            Ok(Ok(Err(error))) => {
                tracing::warn!("redis: what was spent cannot be taken from the ledger: {error}");
                Err(Trouble::Away)
            }
            Ok(Err(_)) | Err(_) => Err(Trouble::Away),
        }
    }
}

impl Entry {
    /// Nothing is lacking.
    fn of(name: &crate::budget::AccountName, told: Told) -> Self {
        Self { name: name.clone(), told, limit: Usd::ZERO, lacks: Usd::ZERO }
    }
}

impl Shares for Fleet {
    fn are_valid(&self) -> bool {
        let by_database = self.ledger.as_ref().is_some_and(|ledger| ledger.heard().is_within(VALID));
        by_database || self.heard.is_within(VALID)
    }

    fn ask<'a>(&'a self, hold: &'a Hold, more: Usd) -> Asked<'a> {
        Box::pin(self.ask_for(hold, more))
    }
}
