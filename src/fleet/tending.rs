//! What a gateway of several does while it serves: it says that it is there and how it stands, and settles for those that are gone.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use super::{
    BEAT, Fleet, GONE, Turn,
    board::{AT_ONCE, Deed, Entry, Epoch, Trouble},
};
use crate::{
    budget::{Account, AccountName, Holder},
    config::Usd,
    ledger::{By, Spent, day},
};

/// How often all accounts are told, not only those that have changed, and it is looked whether others are gone.
const ROUNDS: u64 = 5;

impl Fleet {
    /// For as long as it is polled.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut changed = self.link.changed();
        for round in 0_u64.. {
            // A new connection may be to a server that knows nothing.
            tokio::select! {
                _ = ticks.tick() => {}
                _ = changed.changed() => {}
            }
            let is_full = round.is_multiple_of(ROUNDS);
            let mut turn = self.turn.lock().await;
            let _ = self.speak(&mut turn, is_full).await;
            let (epoch, waiting, processes) = (turn.member_of.clone(), turn.waiting, turn.processes);
            drop(turn);
            if let Some(epoch) = epoch.filter(|_| is_full || waiting > 0) {
                let _ = self.settle_gone(&epoch, processes).await;
            }
        }
    }

    /// Says that this process is there, and how it stands.
    async fn speak(
        &self,
        turn: &mut tokio::sync::MutexGuard<'_, Turn>,
        is_full: bool,
    ) -> Result<(), Trouble> {
        self.enter(turn, Trouble::Outside).await?;
        match self.tell(turn, is_full).await {
            Err(trouble @ (Trouble::Outside | Trouble::Lost)) => self.enter(turn, trouble).await,
            told => told,
        }
    }

    /// Tells how accounts stand: all of them, or those that have changed.
    async fn tell(&self, turn: &Turn, all: bool) -> Result<(), Trouble> {
        let epoch = turn.member_of.as_ref().ok_or(Trouble::Outside)?;
        self.tell_limits(epoch, false).await?;
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
                if let Some(elsewhere) = granted.elsewhere {
                    account.hear(entry.told.number, elsewhere);
                }
            }
        }
        Ok(())
    }

    /// Looks up what was spent of every account by those who are no members of the epoch.
    pub(super) async fn look_up(&self, epoch: Option<Epoch>) {
        let Some(epoch) = epoch else { return };
        let _one = self.base.lock().await;
        // Again, should somebody become a member meanwhile.
        for _ in 0..super::ROUNDS_MAX {
            match self.look_up_once(&epoch).await {
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            }
        }
    }

    async fn look_up_once(&self, epoch: &Epoch) -> Result<bool, Trouble> {
        let members = self.board.members().await?;
        let ids = members.iter().filter_map(|(id, _)| Uuid::parse_str(id).ok()).collect();
        let accounts = self.spent_by(By::AllBut(ids)).await?;
        self.board.base(epoch, members.len(), &accounts).await
    }

    /// What of each account was spent so, by the ledger.
    async fn spent_by(&self, by: By) -> Result<Vec<(AccountName, i64, Usd)>, Trouble> {
        let now = SystemTime::now();
        let since = move |name: &AccountName| name.per.start(now).map_or(i64::MIN, day);
        let names: Vec<AccountName> = self.budgets.accounts().into_iter().map(|(name, _)| name).collect();
        let Some(first) = names.iter().map(since).min() else { return Ok(Vec::new()) };
        let spent = self.read(move |ledger| ledger.spent_since(first, &by)).await?.unwrap_or_default();
        let sum = |name: AccountName| {
            let amount = sum_of(&spent, &name.holder, since(&name));
            let number = name.per.number(now);
            (name, number, amount)
        };
        Ok(names.into_iter().map(sum).collect())
    }

    /// What was granted to processes that are gone becomes what they have spent.
    async fn settle_gone(&self, epoch: &Epoch, processes: u64) -> Result<(), Trouble> {
        let members = self.board.members().await?;
        let open = |(id, state): (String, String)| matches!(&*state, "there" | "gone").then_some(id);
        let mut expected: Vec<String> = members.into_iter().filter_map(open).collect();
        expected.extend(self.board.waiting().await?);
        if u64::try_from(expected.len()).is_ok_and(|expected| expected <= processes) {
            return Ok(());
        }
        let there = self.instances().await?;
        let gone = expected.iter().filter_map(|id| Uuid::parse_str(id).ok()).filter(|id| !there.contains(id));
        for id in gone {
            let process = id.to_string();
            if self.board.gone(epoch, &process, GONE).await? {
                tracing::warn!(
                    process,
                    "redis: a gateway is gone; what was granted to it and it did not spend is free again"
                );
                let accounts = self.spent_by(By::One(id)).await?;
                self.board.settle(epoch, &process, &accounts).await?;
            }
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
