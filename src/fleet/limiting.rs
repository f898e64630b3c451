//! Limits that gateways share.

use std::{future::Future, pin::Pin, sync::Arc};

use tokio::time::{Instant, timeout};
use tokio_util::task::TaskTracker;

use super::{
    Fleet, Turn,
    board::{AT_ONCE, Epoch, LimitEntry, LimitGranted, Trouble},
};
use crate::tenancy::limits::{
    shared::{Answer, Lack, LimitShares},
    sharing::Telling,
};

/// How long a request waits for an answer, before this process keeps to its own part.
const ASKED_MAX: std::time::Duration = std::time::Duration::from_millis(500);

impl Fleet {
    async fn ask_for_limits(&self, lacks: &[Lack]) -> Answer {
        let mut turn = self.turn.lock().await;
        match self.grant_limits(&turn, lacks).await {
            Ok(answer) => answer,
            // Others have not told yet what they have used: it is soon over.
            Err(trouble) => {
                self.note(&mut turn, trouble);
                self.away()
            }
        }
    }

    fn away(&self) -> Answer {
        Answer::Away { processes: self.processes() }
    }

    async fn grant_limits(&self, turn: &Turn, lacks: &[Lack]) -> Result<Answer, Trouble> {
        let epoch = turn.member_of.as_ref().filter(|_| self.heard.is_sure()).ok_or(Trouble::Outside)?;
        let entry = |Lack { tenant, share, allowed, takes }: &Lack| {
            let (lacks, told) = share.lacks(*takes);
            LimitEntry { tenant: Arc::clone(tenant), limit: share.limit(), allowed: *allowed, told, lacks }
        };
        let entries: Vec<LimitEntry> = lacks.iter().map(entry).collect();
        // Somebody else has brought it by now.
        if entries.iter().all(|entry| entry.lacks == 0) {
            return Ok(Answer::Granted);
        }
        let (is_granted, granted) = self.board.limits(epoch, &entries).await?;
        let mut refused = 0;
        for (place, (lack, (entry, now))) in lacks.iter().zip(entries.iter().zip(&granted)).enumerate() {
            let LimitGranted { given, left, missing } = *now;
            lack.share.grant(entry.told, given, left);
            if !is_granted && missing > 0 {
                lack.share.is_dry(left, missing);
                refused = place;
            }
        }
        Ok(if is_granted { Answer::Granted } else { Answer::Refused { place: refused } })
    }

    /// Tells what was used of limits.
    pub(super) async fn tell_limits(&self, epoch: &Epoch, what: Telling) -> Result<(), Trouble> {
        let Some(limiters) = self.limiters.upgrade() else { return Ok(()) };
        let (mut entries, mut shares) = (Vec::new(), Vec::new());
        limiters.tell(what, Instant::now(), |tenant, told, share| {
            let (tenant, limit) = (Arc::clone(tenant), share.limit());
            entries.push(LimitEntry { tenant, limit, allowed: 0, told, lacks: 0 });
            shares.push(share);
        });
        for (entries, shares) in entries.chunks(AT_ONCE).zip(shares.chunks(AT_ONCE)) {
            let (_, granted) = self.board.limits(epoch, entries).await?;
            for (share, (entry, now)) in shares.iter().zip(entries.iter().zip(granted)) {
                share.grant(entry.told, 0, now.left);
            }
        }
        Ok(())
    }
}

impl LimitShares for Fleet {
    fn are_valid(&self) -> bool {
        self.heard.is_sure()
    }

    fn ask(self: Arc<Self>, lacks: Vec<Lack>) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let fleet = Arc::clone(&self);
        let asked = TaskTracker::new().spawn(async move {
            let answer = timeout(ASKED_MAX, fleet.ask_for_limits(&lacks)).await;
            answer.unwrap_or_else(|_| fleet.away())
        });
        Box::pin(async move { asked.await.unwrap_or_else(|_| self.away()) })
    }
}
