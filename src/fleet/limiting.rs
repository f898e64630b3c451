//! Limits that gateways share.

use std::{future::Future, pin::Pin};

use tokio::time::Instant;

use super::{
    Fleet, Turn,
    board::{AT_ONCE, Epoch, LimitEntry, Trouble},
};
use crate::tenancy::limits::shared::{Answer, Lack, LimitShares};

impl Fleet {
    async fn ask_for_limits(&self, lacks: &[Lack<'_>]) -> Answer {
        let mut turn = self.turn.lock().await;
        // Again, should this process be no member, or not any more.
        for _ in 0..2 {
            match self.grant_limits(&turn, lacks).await {
                Ok(answer) => return answer,
                Err(Trouble::Outside) => {
                    if self.enter(&mut turn, Trouble::Outside).await.is_err() {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        Answer::Away { processes: turn.processes.max(1) }
    }

    async fn grant_limits(&self, turn: &Turn, lacks: &[Lack<'_>]) -> Result<Answer, Trouble> {
        let epoch = turn.member_of.as_ref().ok_or(Trouble::Outside)?;
        let mut entries = Vec::with_capacity(lacks.len());
        for Lack { tenant, limit, allowed, share, takes } in lacks {
            let (lacks, told) = share.lacks(*limit, *takes);
            entries.push(LimitEntry { tenant, limit: *limit, allowed: *allowed, told, lacks });
        }
        // Somebody else has brought it by now.
        if entries.iter().all(|entry| entry.lacks == 0) {
            return Ok(Answer::Granted);
        }
        let (is_granted, granted) = self.board.limits(epoch, &entries).await?;
        self.heard.again();
        let mut refused = 0;
        for (place, (lack, (entry, now))) in lacks.iter().zip(entries.iter().zip(&granted)).enumerate() {
            lack.share.grant(lack.limit, entry.told, (now.given, now.left));
            if !is_granted && now.missing > 0 {
                lack.share.is_dry(lack.limit, (now.left, now.missing));
                refused = place;
            }
        }
        Ok(if is_granted { Answer::Granted } else { Answer::Refused { place: refused } })
    }

    /// Tells what was used of limits, and gives back what was not; or, to a server that knows nothing, all that is known.
    pub(super) async fn tell_limits(&self, epoch: &Epoch, anew: bool) -> Result<(), Trouble> {
        let Some(limiters) = self.limiters.upgrade() else { return Ok(()) };
        let mut told = Vec::new();
        limiters.tell(anew, Instant::now(), |tenant, limit, each, share| {
            told.push((tenant.clone(), limit, each, share));
        });
        for some in told.chunks(AT_ONCE) {
            let mut entries = Vec::with_capacity(some.len());
            for (tenant, limit, told, _) in some {
                entries.push(LimitEntry { tenant, limit: *limit, allowed: 0, told: *told, lacks: 0 });
            }
            let (_, granted) = self.board.limits(epoch, &entries).await?;
            for ((_, _, told, share), now) in some.iter().zip(granted) {
                share.heard(*told, now.left);
            }
        }
        Ok(())
    }
}

impl LimitShares for Fleet {
    fn ask<'a>(&'a self, lacks: &'a [Lack<'a>]) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(self.ask_for_limits(lacks))
    }
}
