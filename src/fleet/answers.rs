//! Kept answers that all gateways give: each is where any of them can find it.
//!
//! Redis is a help and nothing to rely on: a slow or absent one has no answers, and what it takes is put there beside the request that it is
//! from. Must not know of requests, or whether an answer may be given.

use std::{
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{Cmd, RedisError};
use tokio::{sync::Semaphore, time::timeout};
use tokio_util::task::TaskTracker;

use super::link::{Link, Live, is_lost_by};
use crate::cache::{CacheRules, Kept, Key, stored};

/// How long a request waits for an answer that another gateway may have kept.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// The most KiB of answers on their way to Redis. Beyond it they are not put there.
const ON_THE_WAY_KIB_MAX: u32 = 64 << 10;

/// What names of answers begin with.
const PREFIX: &str = "pointsman:cache:";

/// The answers in Redis.
#[derive(Debug)]
pub struct Answers {
    link: Arc<Link>,
    tasks: TaskTracker,
    /// A request has waited in vain, and it is not known yet whether the server is there.
    is_in_doubt: AtomicBool,
    /// It was told that answers are not taken.
    is_told: AtomicBool,
    on_the_way: Arc<Semaphore>,
}

impl Answers {
    /// Those of the server that a link leads to.
    #[must_use]
    pub fn over(link: Arc<Link>) -> Arc<Self> {
        Arc::new(Self {
            link,
            tasks: TaskTracker::new(),
            is_in_doubt: AtomicBool::new(false),
            is_told: AtomicBool::new(false),
            on_the_way: Arc::new(Semaphore::new(ON_THE_WAY_KIB_MAX as usize)),
        })
    }

    /// The answer of that key, and for how much longer it may be given. Takes one round trip, and 50 ms at most.
    pub async fn get(self: &Arc<Self>, key: &Key, rules: &CacheRules) -> Option<(Kept, Duration)> {
        let live = self.link.connection().filter(|_| !self.is_in_doubt.load(Ordering::Acquire))?;
        // Not all of it, where it is longer than any answer that was put there by these rules.
        let command = command("GETRANGE", key, |command| command.arg(0).arg(stored::bytes_max(rules)));
        let mut connection = live.connection.clone();
        match timeout(WAIT_MAX, command.query_async::<Bytes>(&mut connection)).await {
            Ok(Ok(bytes)) if bytes.len() <= stored::bytes_max(rules) => stored::read(key, &bytes, rules),
            Ok(Ok(_)) => None,
            Ok(Err(error)) => {
                self.note(&live, &error);
                None
            }
            Err(_) => {
                self.doubt(live);
                None
            }
        }
    }

    /// Puts an answer there, in the background.
    pub fn keep(self: &Arc<Self>, key: Key, kept: &Arc<Kept>, rules: CacheRules) {
        let Some(live) = self.link.connection() else { return };
        let kib = u32::try_from(kept.body.len() >> 10).unwrap_or(u32::MAX).saturating_add(1);
        let Ok(place) = Arc::clone(&self.on_the_way).try_acquire_many_owned(kib) else { return };
        let (this, kept) = (Arc::clone(self), Arc::clone(kept));
        self.tasks.spawn(async move {
            let _place = place;
            let Some(bytes) = stored::write(&key, &kept, &rules) else { return };
            let ttl_ms = u64::try_from(rules.ttl.as_millis()).unwrap_or(u64::MAX);
            let command = command("SET", &key, |command| command.arg(bytes).arg("PX").arg(ttl_ms));
            match command.query_async::<()>(&mut live.connection.clone()).await {
                Ok(()) => this.is_told.store(false, Ordering::Relaxed),
                Err(error) => this.note(&live, &error),
            }
        });
    }

    /// Finds out whether the server is there at all. Until that is known nobody waits for it.
    fn doubt(self: &Arc<Self>, live: Live) {
        if self.is_in_doubt.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        self.tasks.spawn(async move {
            if let Err(error) = redis::cmd("PING").query_async::<()>(&mut live.connection.clone()).await {
                this.note(&live, &error);
            }
            this.is_in_doubt.store(false, Ordering::Release);
        });
    }

    /// What the server has against answers is told once, until it takes some again.
    fn note(&self, live: &Live, error: &RedisError) {
        if is_lost_by(error) {
            self.link.failed(live.generation);
        } else if !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::warn!("redis: kept answers are not shared: {error}");
        }
    }
}

/// A command for the answer of a key.
fn command(name: &str, key: &Key, with: impl FnOnce(&mut Cmd) -> &mut Cmd) -> Cmd {
    let mut digest = PREFIX.to_owned();
    for byte in key {
        // Nothing fails to be written into memory.
        let _ = write!(digest, "{byte:02x}");
    }
    let mut command = redis::cmd(name);
    with(command.arg(digest));
    command
}
