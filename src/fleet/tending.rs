//! What a gateway of several does while it serves: it says that it is there and how it stands, and settles for those that are gone.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant, SystemTime},
};

use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::{
    BEAT, Fleet, GONE, LookedUp, Turn,
    apart::Back,
    board::{AT_ONCE, Deed, Entry, Epoch, Trouble},
};
use crate::{
    budget::{Account, AccountName, Holder},
    config::Usd,
    ledger::{By, Spent, day},
    tenancy::limits::sharing::Telling,
};

/// How often all is told, not only what has changed, and it is looked whether others are gone.
const ROUND: Duration = Duration::from_secs(5);

/// How often what was spent before is looked up again, should others become members meanwhile.
const LOOKS_MAX: usize = 4;

/// What came of speaking.
struct Spoken {
    /// How it stands was heard, too.
    is_told: bool,
    /// It is to be looked whether others are gone, of so many that are there.
    look_for_gone: Option<(Epoch, u64)>,
    /// What was spent before this epoch, of which all are members by now, is still to be learned.
    of_new_epoch: Option<Epoch>,
    /// This process keeps to what it has announced again.
    together: Option<Back>,
}

impl Fleet {
    /// For as long as it is polled.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed = self.link.changed();
        let mut all_told: Option<Instant> = None;
        loop {
            // A new connection may be to a server that knows nothing.
            tokio::select! {
                _ = ticks.tick() => {}
                _ = changed.changed() => {}
                () = self.is_outside.notified() => {}
            }
            let is_full = all_told.is_none_or(|at| at.elapsed() >= ROUND);
            match self.speak(is_full).await {
                Ok(Spoken { is_told, look_for_gone, of_new_epoch, together }) => {
                    if is_full && is_told {
                        all_told = Some(Instant::now());
                    }
                    if let Some(back) = together {
                        self.apart.forget(back, self.ledger.as_ref()).await;
                    }
                    if let Some(epoch) = of_new_epoch {
                        self.learn(&epoch).await;
                    }
                    if let Some(among) = look_for_gone {
                        let _ = self.settle_gone(among).await;
                    }
                }
                Err(trouble) => {
                    if trouble == Trouble::Lost {
                        self.is_outside.notify_one();
                    }
                    self.turn.lock().await.has_failed = trouble != Trouble::Lost;
                    // Who cannot be heard of here is in the ledger's database.
                    if let Ok(there) = self.instances().await {
                        let there = u64::try_from(there.len()).unwrap_or(u64::MAX);
                        self.processes.store(there, Ordering::Relaxed);
                    }
                }
            }
        }
    }

    /// Says that this process is there, and how it stands.
    async fn speak(&self, is_full: bool) -> Result<Spoken, Trouble> {
        let mut turn = self.enter().await?;
        let back = self.apart.back();
        let told = self.tell(&turn, is_full || back.is_some()).await;
        let is_told = told.is_ok();
        let together = back.filter(|_| is_told);
        if let Some(back) = back.filter(|_| !is_told) {
            self.apart.stays(&back);
        }
        if let Err(trouble) = told {
            self.note(&mut turn, trouble);
        }
        let (is_due, live) = (is_full || turn.waiting > 0, turn.live);
        let look_for_gone = turn.member_of.clone().filter(|_| is_due).map(|epoch| (epoch, live));
        let is_settled = is_full && turn.waiting == 0 && self.ledger.is_some();
        let of_new_epoch =
            turn.member_of.clone().filter(|epoch| is_settled && turn.learned.as_ref() != Some(epoch));
        Ok(Spoken { is_told, look_for_gone, of_new_epoch, together })
    }

    /// Looks up what was spent before an epoch, though nobody asks: a budget that seemed to be used up in the epoch before refuses requests
    /// without a question.
    async fn learn(&self, epoch: &Epoch) {
        // Once a round, and without others waiting for it: beats go on.
        if self.look_up_once(epoch).await.unwrap_or(false) {
            let mut turn = self.turn.lock().await;
            let _ = self.tell(&turn, true).await;
            turn.learned = Some(epoch.clone());
        }
    }

    /// Tells how accounts stand: all of them, or those that have changed.
    async fn tell(&self, turn: &Turn, all: bool) -> Result<(), Trouble> {
        let epoch = turn.member_of.as_ref().ok_or(Trouble::Outside)?;
        self.tell_limits(epoch, if all { Telling::All } else { Telling::New }).await?;
        let now = SystemTime::now();
        let told = |(name, account): (AccountName, Arc<Account>)| {
            let told = account.tell(name.per.number(now), all)?;
            Some((Entry::of(&name, told), account))
        };
        let (entries, accounts): (Vec<Entry>, Vec<Arc<Account>>) =
            self.budgets.accounts().into_iter().filter_map(told).unzip();
        for (entries, accounts) in entries.chunks(AT_ONCE).zip(accounts.chunks(AT_ONCE)) {
            let (_, granted) = self.board.accounts(epoch, Deed::Tell, entries).await?;
            for ((entry, account), granted) in entries.iter().zip(accounts).zip(granted) {
                account.hear(entry.told, granted.elsewhere);
            }
        }
        Ok(())
    }

    /// Looks up what was spent of every account by those who are no members of the epoch; not where somebody else has done so meanwhile,
    /// or has tried in vain a moment ago.
    pub(super) async fn look_up(&self, epoch: &Epoch) -> Result<(), Trouble> {
        let asked = Instant::now();
        let mut looked_up = self.base.lock().await;
        let is_there = |at: Instant| at > asked || (!looked_up.is_known && at.elapsed() < BEAT);
        if !looked_up.at.is_some_and(is_there) {
            // In vain, should it be cut off.
            *looked_up = LookedUp { at: Some(asked), is_known: false };
            for _ in 0..LOOKS_MAX {
                looked_up.is_known = self.look_up_once(epoch).await.unwrap_or(false);
                looked_up.at = Some(Instant::now());
                if looked_up.is_known {
                    break;
                }
            }
        }
        if looked_up.is_known { Ok(()) } else { Err(Trouble::Away) }
    }

    async fn look_up_once(&self, epoch: &Epoch) -> Result<bool, Trouble> {
        let members = self.board.members().await?;
        let ids = members.iter().filter_map(|(id, _)| Uuid::parse_str(id).ok()).collect();
        let names = self.budgets.accounts().into_iter().map(|(name, _)| name).collect();
        let accounts = self.spent_by(By::AllBut(ids), names).await?;
        self.board.base(epoch, members.len(), &accounts).await
    }

    /// What of these accounts was spent so in the periods that are on, by the ledger.
    async fn spent_by(
        &self,
        by: By,
        names: Vec<AccountName>,
    ) -> Result<Vec<(AccountName, i64, Usd)>, Trouble> {
        let now = SystemTime::now();
        let since = move |name: &AccountName| name.per.start(now).map_or(i64::MIN, day);
        let Some(first) = names.iter().map(since).min() else { return Ok(Vec::new()) };
        let spent = self.read(move |ledger| ledger.spent_since(first, &by)).await?.unwrap_or_default();
        let sum = |name: AccountName| {
            let amount = sum_of(&spent, &name.holder, since(&name));
            let number = name.per.number(now);
            (name, number, amount)
        };
        Ok(names.into_iter().map(sum).collect())
    }

    /// What was granted to processes that are gone becomes what they have spent: of every account that anybody knows.
    async fn settle_gone(&self, (epoch, live): (Epoch, u64)) -> Result<(), Trouble> {
        let open =
            |(id, state): (String, String)| matches!(&*state, "joining" | "there" | "gone").then_some(id);
        let mut expected: BTreeSet<String> =
            self.board.members().await?.into_iter().filter_map(open).collect();
        expected.extend(self.board.waiting().await?);
        if u64::try_from(expected.len()).is_ok_and(|expected| expected <= live) {
            return Ok(());
        }
        let there = self.instances().await?;
        let gone = expected.iter().filter_map(|id| Uuid::parse_str(id).ok()).filter(|id| !there.contains(id));
        for id in gone {
            let process = id.to_string();
            if !self.board.gone(&epoch, &process, GONE).await? {
                continue;
            }
            // It may have come back meanwhile; then it tells itself how it stands.
            if self.instances().await?.contains(&id) {
                continue;
            }
            let accounts = self.spent_by(By::One(id), self.board.known(&epoch).await?).await?;
            let was_apart = self.read(move |ledger| ledger.is_apart(id)).await?.unwrap_or_default();
            tracing::warn!(
                process,
                was_apart,
                "redis: a gateway is gone; what was granted to it is free again, but for what it may have spent: all of it, if it went on without redis"
            );
            self.board.settle(&epoch, &process, (&accounts, was_apart)).await?;
            // Nobody asks for it again.
            let _ = self.read(move |ledger| ledger.is_together(id, i64::MAX)).await;
        }
        Ok(())
    }

    /// This process ends: what it was granted and has not spent is free again. Not where something is still held, which others will settle.
    pub async fn leave(&self) {
        let turn = self.turn.lock().await;
        let Some(epoch) = &turn.member_of else { return };
        let now = SystemTime::now();
        let told = |(name, account): (AccountName, Arc<Account>)| {
            let told = account.anew(name.per.number(now));
            (told.granted <= Usd::from_micros(told.spent.in_micros())).then_some((
                name,
                told.number,
                told.spent,
            ))
        };
        let accounts: Option<Vec<(AccountName, i64, Usd)>> =
            self.budgets.accounts().into_iter().map(told).collect();
        let Some(accounts) = accounts else { return };
        let left = tokio::time::timeout(Duration::from_secs(2), self.board.leave(epoch, &accounts)).await;
        if !matches!(left, Ok(Ok(()))) {
            tracing::warn!("redis: it could not be told that this gateway ends");
        }
    }
}

/// What a holder and its parts have spent on this day and since.
fn sum_of(spent: &[Spent], holder: &Holder, since: i64) -> Usd {
    let counts = |spent: &&Spent| spent.day >= since && holder.covers(&spent.by);
    spent.iter().filter(counts).fold(Usd::ZERO, |sum, spent| sum.plus(spent.amount))
}
