//! Several gateways as one: budgets of which all of them spend, by what Redis keeps of them.
//!
//! Each gateway is granted a share of a budget before it spends of it, and gives back what it does not use; most requests ask nobody.
//! The ledger is the truth: whatever Redis has lost is made anew from it and from what every gateway knows of itself.

pub mod answers;
mod apart;
mod board;
mod limiting;
pub mod link;
mod names;
mod tending;

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{Mutex, MutexGuard, Notify},
    time::timeout,
};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::{
    apart::Apart,
    board::{AT_ONCE, Board, Deed, Entry, Epoch, Granted, Trouble},
    link::Link,
};
use crate::{
    budget::{Budgets, Hold, Lack, OverBudget, Reach, Reason, Refused, Secured, Shares, Told},
    config::{OnStoreLoss, Usd},
    ledger::{Heard, Ledger},
    tenancy::limits::{Limiters, shared::LimitShares, sharing::Telling},
};

/// How often this process says that it is there, and how it stands. What is not used for as long is given back.
const BEAT: Duration = Duration::from_secs(1);

/// After which a process is gone that neither the database nor Redis has heard of.
const GONE: Duration = Duration::from_secs(15);

/// How long a request waits at most, for others to tell what they have spent among other things, and how often it is looked.
const ASKED_MAX: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(50);

/// How long the ledger's database may take: less than a request waits.
const LEDGER_MAX: Duration = Duration::from_millis(1500);

/// How long a request waits for a connection.
const CONNECTION_MAX: Duration = Duration::from_millis(100);

/// What this process shares with others.
#[derive(Debug)]
pub struct Fleet {
    board: Board,
    link: Arc<Link>,
    /// Where all of them write what was spent; without it budgets are not shared.
    ledger: Option<Arc<Ledger>>,
    budgets: Budgets,
    limiters: Weak<Limiters>,
    on_store_loss: ArcSwap<OnStoreLoss>,
    /// It was told that the ledger cannot be read.
    is_told: AtomicBool,
    heard: Arc<Heard>,
    apart: Apart,
    /// Those that were there a moment ago, or are waited for.
    processes: AtomicU64,
    /// Whoever has it speaks for this process: it must not say two things at once of what it was granted. Nobody may wait for the
    /// ledger meanwhile, nor have it where it depends on others whether it is polled.
    turn: Mutex<Turn>,
    /// Whoever has it looks up what was spent before.
    base: Mutex<LookedUp>,
    /// Wakes what makes this process a member again.
    is_outside: Notify,
}

/// What this process is.
#[derive(Debug, Default)]
struct Turn {
    /// A member of this epoch.
    member_of: Option<Epoch>,
    /// The epoch of which it knows what was spent before.
    learned: Option<Epoch>,
    /// The epoch whose data were found to be lost in part.
    lost: Option<String>,
    /// Processes that the epoch waits for.
    waiting: u64,
    /// Processes that were heard of a moment ago.
    live: u64,
    /// When it was last found that something stands in everybody's way: others who have not told yet what they have spent, or that what was
    /// spent before is being looked up.
    settling: Option<Instant>,
    /// When that was tried last this process could not become a member.
    has_failed: bool,
}

/// How what was spent before was looked up last.
#[derive(Debug, Default)]
struct LookedUp {
    at: Option<Instant>,
    is_known: bool,
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
        tracing::info!(process = %me, "redis: others know this gateway by the id of its process");
        let board = Board::new(Arc::clone(&link), me.to_string());
        let has_ledger = ledger.is_some();
        let heard =
            ledger.as_ref().map_or_else(|| Arc::new(Heard::now()), |ledger| Arc::clone(ledger.heard()));
        let fleet = Arc::new(Self {
            board,
            link,
            ledger,
            budgets: budgets.clone(),
            limiters: Arc::downgrade(limiters),
            on_store_loss: ArcSwap::from_pointee(on_store_loss),
            is_told: AtomicBool::new(false),
            heard,
            apart: Apart::default(),
            processes: AtomicU64::new(1),
            turn: Mutex::default(),
            base: Mutex::default(),
            is_outside: Notify::new(),
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
                tokio::time::sleep(PAUSE).await;
            }
        };
        if timeout(at_most, ready).await.is_err() {
            tracing::warn!(
                on_store_loss = ?**self.on_store_loss.load(),
                "redis: this gateway begins without it: budgets are as `on_store_loss` says, and of limits it keeps to its part"
            );
        }
    }

    /// What becomes of requests with a budget while Redis is away, from now on.
    pub fn on_store_loss(&self, on_store_loss: OnStoreLoss) {
        self.on_store_loss.store(Arc::new(on_store_loss));
    }

    /// Those that are there, this one among them.
    fn processes(&self) -> u64 {
        self.processes.load(Ordering::Relaxed).max(1)
    }

    /// Asks for what a hold lacks, until it is held or is known not to be had.
    async fn secure_all(&self, hold: &Hold, more: Usd) -> Result<(), OverBudget> {
        let mut has_waited = false;
        loop {
            let mut turn = self.turn.lock().await;
            let now = SystemTime::now();
            // Somebody else may have brought it by now.
            match hold.extend(more, now) {
                Ok(()) => return Ok(()),
                Err(Refused::Over(over_budget)) => return Err(over_budget),
                Err(Refused::Short) => {}
            }
            let trouble = match self.grant(&mut turn, &hold.lacks(more, now)).await {
                Ok(None) => continue,
                Ok(Some(place)) => return Err(hold.purse().refuse(place, more, now)),
                Err(trouble) => self.note(&mut turn, trouble),
            };
            let epoch = turn.member_of.clone();
            drop(turn);
            match (trouble, epoch) {
                (Trouble::Settling | Trouble::Outside | Trouble::Lost, _) => {
                    tokio::time::sleep(PAUSE).await;
                }
                (Trouble::Base, Some(epoch)) if self.look_up(&epoch).await.is_ok() => {
                    self.turn.lock().await.settling = None;
                }
                // It may be that a connection was lost a moment ago.
                (Trouble::Away, _) if !std::mem::replace(&mut has_waited, true) => {
                    self.link.wait(CONNECTION_MAX).await;
                }
                _ => {
                    self.apart.note(self.ledger.as_ref()).await;
                    return self.go_without(hold, more);
                }
            }
        }
    }

    /// Something stands in the way of a question: whoever clears it is woken. Where that is tried in vain nobody waits for it.
    fn note(&self, turn: &mut Turn, trouble: Trouble) -> Trouble {
        match trouble {
            Trouble::Settling => turn.settling = turn.settling.or_else(|| Some(Instant::now())),
            // Whoever looks it up does so for all.
            Trouble::Base => turn.settling = Some(Instant::now()),
            Trouble::Lost => turn.lost = turn.member_of.take().map(|epoch| epoch.id),
            Trouble::Outside | Trouble::Away => {}
        }
        if !matches!(trouble, Trouble::Outside | Trouble::Lost) {
            return trouble;
        }
        if turn.has_failed {
            return Trouble::Away;
        }
        self.is_outside.notify_one();
        trouble
    }

    /// Asks for all that is lacking; the place of the account that has not so much left, if one has not.
    async fn grant(&self, turn: &mut Turn, lacks: &[Lack]) -> Result<Option<usize>, Trouble> {
        // Not before it is known that this process was not taken to be gone.
        let epoch = turn.member_of.as_ref().filter(|_| self.heard.is_sure()).ok_or(Trouble::Outside)?;
        // One asks for all who wait.
        if turn.settling.is_some_and(|at| at.elapsed() < PAUSE) {
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
        let mut refused = None;
        for (place, (lack, now)) in lacks.iter().zip(granted).enumerate() {
            let Granted { granted, elsewhere, left } = now;
            lack.account.grant(lack.told, granted, elsewhere.unwrap_or_default(), is_granted);
            if !is_granted && lack.lacks > left {
                lack.account.is_dry_at(lack.told.number, left);
                refused.get_or_insert(place);
            }
        }
        Ok(refused)
    }

    /// Nobody can be asked.
    fn go_without(&self, hold: &Hold, more: Usd) -> Result<(), OverBudget> {
        let (purse, now) = (hold.purse(), SystemTime::now());
        if let OnStoreLoss::Allow(amount) = **self.on_store_loss.load() {
            purse.lend(amount, now);
        }
        match hold.extend(more, now) {
            Ok(()) => Ok(()),
            Err(Refused::Over(over_budget)) => Err(over_budget),
            Err(Refused::Short) => Err(purse.over(Reason::Unknown, Some(BEAT))),
        }
    }

    /// Says that this process is there, and becomes a member of the epoch if it is none; begins one where there is none.
    async fn enter(&self) -> Result<MutexGuard<'_, Turn>, Trouble> {
        let mut turn = self.turn.lock().await;
        let mut sent = Instant::now();
        let mut heard = self.board.beat().await?;
        let is_lost = |heard: &board::Heard, lost: &Option<String>| Some(&heard.epoch.id) == lost.as_ref();
        if heard.as_ref().is_none_or(|heard| is_lost(heard, &turn.lost)) {
            turn.member_of = None;
            let lost = turn.lost.clone();
            drop(turn);
            self.begin(lost.as_deref()).await?;
            turn = self.turn.lock().await;
            sent = Instant::now();
            heard = self.board.beat().await?;
        }
        let heard = heard.filter(|heard| !is_lost(heard, &turn.lost)).ok_or(Trouble::Away)?;
        (turn.waiting, turn.live) = (heard.waiting, heard.live);
        self.processes.store(heard.processes, Ordering::Relaxed);
        if !heard.is_member || turn.member_of.as_ref() != Some(&heard.epoch) {
            turn.member_of = None;
            if let Err(trouble) = self.join_epoch(&heard.epoch).await {
                turn.lost = (trouble == Trouble::Lost).then_some(heard.epoch.id);
                return Err(trouble);
            }
            turn.waiting = turn.waiting.saturating_sub(1);
            tracing::info!(processes = heard.processes, "redis: budgets are shared");
            turn.member_of = Some(heard.epoch);
        }
        (turn.lost, turn.has_failed) = (None, false);
        self.heard.confirm(sent);
        Ok(turn)
    }

    /// Tells all that is known, and becomes a member.
    async fn join_epoch(&self, epoch: &Epoch) -> Result<(), Trouble> {
        self.tell_anew(epoch).await?;
        self.board.enter(epoch).await?;
        self.tell_limits(epoch, Telling::Anew).await
    }

    async fn begin(&self, lost: Option<&str>) -> Result<(), Trouble> {
        let instances = self.instances().await?;
        let waited_for: Vec<String> = instances.iter().map(ToString::to_string).collect();
        tracing::warn!(
            processes = waited_for.len(),
            "redis: it is new, was started anew, or has lost some of our data: what was spent is told anew, and taken from the ledger"
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
                account.hear(entry.told, granted.elsewhere);
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
        let read = TaskTracker::new().spawn_blocking(move || read(&ledger));
        match timeout(LEDGER_MAX, read).await {
            Ok(Ok(Ok(read))) => {
                self.is_told.store(false, Ordering::Relaxed);
                Ok(Some(read))
            }
            Ok(Ok(Err(error))) => {
                if !self.is_told.swap(true, Ordering::Relaxed) {
                    tracing::warn!("redis: what was spent cannot be taken from the ledger: {error}");
                }
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
    fn reach(&self) -> Reach {
        match (self.heard.is_sure(), self.apart.is_noted()) {
            (false, _) => Reach::Nothing,
            (true, false) => Reach::Announced,
            (true, true) => Reach::All,
        }
    }

    fn secure(self: Arc<Self>, hold: Arc<Hold>, more: Usd) -> Secured {
        let (fleet, held) = (Arc::clone(&self), Arc::clone(&hold));
        let secured = TaskTracker::new().spawn(async move {
            let secured = timeout(ASKED_MAX, fleet.secure_all(&held, more)).await;
            secured.unwrap_or_else(|_| fleet.go_without(&held, more))
        });
        Box::pin(async move { secured.await.unwrap_or_else(|_| self.go_without(&hold, more)) })
    }
}
