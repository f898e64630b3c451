//! What gateways tell each other in Redis: names, scripts and replies.
//!
//! All of it is of one *epoch*: it begins when a server has none of our data, and every gateway that may have spent is heard before anything
//! is granted in it. Whatever a script changes it changes as a whole.

mod words;

use std::{
    collections::HashMap,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use redis::{FromRedisValue, RedisError, Script, ScriptInvocation, Value};

pub(super) use self::words::{Deed, Entry, Epoch, Granted, Heard, LimitEntry, LimitGranted, Trouble};
use super::{
    link::{Link, Live, is_lost_by},
    names::{MICROS_MAX, keep_seconds, key, label, micros, read_label},
};
use crate::{budget::AccountName, config::Usd, telemetry::outcome::Limit, tenancy::gcra};

const EPOCH: &str = "pointsman:epoch";
const MEMBERS: &str = "pointsman:members";
const WAITING: &str = "pointsman:waiting";
const LIVE: &str = "pointsman:live";
const NOTES: &str = "pointsman:notes";

/// Accounts that one script is given.
pub(super) const AT_ONCE: usize = 500;

macro_rules! script {
    ($name:ident, $file:literal) => {
        static $name: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!($file)));
    };
}

script!(BEAT, "scripts/beat.lua");
script!(BEGIN, "scripts/begin.lua");
script!(ENTER, "scripts/enter.lua");
script!(ACCOUNTS, "scripts/accounts.lua");
script!(LIMITS, "scripts/limits.lua");
script!(BASE, "scripts/base.lua");
script!(GONE, "scripts/gone.lua");
script!(SETTLE, "scripts/settle.lua");
script!(LEAVE, "scripts/leave.lua");

/// Where gateways tell each other, for one of them.
#[derive(Debug)]
pub(super) struct Board {
    link: Arc<Link>,
    /// This process.
    me: String,
    /// What it has said so far: what arrives after something later is not heard.
    said: AtomicU64,
    /// It was told that the server refuses scripts.
    is_told: AtomicBool,
}

impl Board {
    pub(super) fn new(link: Arc<Link>, me: String) -> Self {
        Self { link, me, said: AtomicU64::new(0), is_told: AtomicBool::new(false) }
    }

    /// A connection; none while there is no server.
    pub(super) fn live(&self) -> Result<Live, Trouble> {
        self.link.connection().ok_or(Trouble::Away)
    }

    async fn call<T: FromRedisValue>(&self, invocation: &ScriptInvocation<'_>) -> Result<T, Trouble> {
        let mut connection = self.live()?.connection;
        let called =
            invocation.invoke_async::<T>(&mut connection).await.map_err(|error| self.away(&error))?;
        self.is_told.store(false, Ordering::Relaxed);
        Ok(called)
    }

    /// What a server has against a script is not for those who asked, and told once, until it takes some again.
    fn away(&self, error: &RedisError) -> Trouble {
        if !is_lost_by(error) && !self.is_told.swap(true, Ordering::Relaxed) {
            tracing::error!(
                "redis: it refuses what budgets and limits need, so they are as without it; has it memory left, and may this user run scripts? {error}"
            );
        }
        Trouble::Away
    }

    /// The place of what this process says next. Two must not be on their way at once.
    fn next(&self) -> u64 {
        self.said.fetch_add(1, Ordering::Relaxed)
    }

    /// This process is there; none where the server has no data of an epoch.
    pub(super) async fn beat(&self) -> Result<Option<Heard>, Trouble> {
        let run = self.live()?.run_id;
        let mut beat = BEAT.key(EPOCH);
        beat.key(MEMBERS).key(WAITING).key(LIVE).arg(&*run).arg(&self.me);
        let reply: Vec<String> = self.call(&beat).await?;
        let [id, since, state, waiting, live, processes] = reply.as_slice() else { return Ok(None) };
        let number = |text: &str| text.parse::<u64>().unwrap_or(0);
        Ok(Some(Heard {
            epoch: Epoch {
                id: id.clone(),
                since: SystemTime::UNIX_EPOCH + Duration::from_secs(number(since)),
            },
            is_member: state == "there",
            waiting: number(waiting),
            live: number(live),
            processes: number(processes),
        }))
    }

    /// Begins an epoch in which nobody is granted anything before all of `waited_for` are members; unless there is one by now,
    /// other than the one that is `lost`.
    pub(super) async fn begin(&self, lost: Option<&str>, waited_for: &[String]) -> Result<(), Trouble> {
        let run = self.live()?.run_id;
        let mut begin = BEGIN.key(EPOCH);
        begin.key(MEMBERS).key(WAITING).key(LIVE).key(NOTES);
        begin.arg(&*run).arg(uuid::Uuid::now_v7().to_string()).arg(lost.unwrap_or_default()).arg(waited_for);
        self.call::<Value>(&begin).await.map(drop)
    }

    /// All is told: this process is a member.
    pub(super) async fn enter(&self, epoch: &Epoch) -> Result<(), Trouble> {
        let mut enter = ENTER.key(EPOCH);
        enter.key(MEMBERS).key(WAITING).key(NOTES).arg(&epoch.id).arg(&self.me).arg(self.next());
        if self.call(&enter).await? { Ok(()) } else { Err(Trouble::Outside) }
    }

    /// Tells how accounts stand, at most [`AT_ONCE`] of them, and asks for what they lack. Whether that is granted, all of it; and how
    /// they stand then.
    pub(super) async fn accounts(
        &self,
        epoch: &Epoch,
        deed: Deed,
        entries: &[Entry],
    ) -> Result<(bool, Vec<Granted>), Trouble> {
        let now = SystemTime::now();
        let mut accounts = ACCOUNTS.key(EPOCH);
        accounts.key(MEMBERS).key(WAITING).key(LIVE).key(NOTES);
        accounts.arg(&epoch.id).arg(&self.me).arg(self.next()).arg(match deed {
            Deed::Join => "join",
            Deed::Tell => "tell",
            Deed::Ask => "ask",
        });
        for Entry { name, told, limit, lacks } in entries {
            accounts.key(key(epoch, name, told.number)).arg(keep_seconds(name.per, now));
            accounts.arg(micros(told.granted)).arg(micros(told.announced)).arg(micros(told.spent));
            // What is below the smallest unit is not to be had.
            let limit = u64::try_from(limit.pico() / 1_000_000).unwrap_or(u64::MAX).min(MICROS_MAX);
            accounts.arg(limit).arg(micros(*lacks));
            accounts.arg(u8::from(name.per.start(now).is_some_and(|start| start > epoch.since)));
            accounts.arg(label(name)).arg(told.number);
        }
        let (state, numbers): (String, Vec<i64>) = self.call(&accounts).await?;
        let granted = |numbers: &[i64]| {
            let amount = |number: &i64| u64::try_from(*number).ok().map(Usd::from_micros);
            match numbers {
                [granted, elsewhere, left] => Granted {
                    granted: amount(granted).unwrap_or_default(),
                    elsewhere: amount(elsewhere),
                    left: amount(left).unwrap_or_default(),
                },
                _ => Granted { granted: Usd::ZERO, elsewhere: None, left: Usd::ZERO },
            }
        };
        let granted: Vec<Granted> = numbers.chunks_exact(3).map(granted).collect();
        match state.as_str() {
            "ok" if granted.len() == entries.len() => Ok((true, granted)),
            "refused" if granted.len() == entries.len() => Ok((false, granted)),
            "lost" => Err(Trouble::Lost),
            "settling" => Err(Trouble::Settling),
            "base" => Err(Trouble::Base),
            _ => Err(Trouble::Outside),
        }
    }

    /// Tells what was used of limits, at most [`AT_ONCE`] of them, and asks for what is lacking. Whether that is granted, all of it; and
    /// how they stand then.
    pub(super) async fn limits(
        &self,
        epoch: &Epoch,
        entries: &[LimitEntry],
    ) -> Result<(bool, Vec<LimitGranted>), Trouble> {
        let mut limits = LIMITS.key(EPOCH);
        limits.key(MEMBERS).key(WAITING).key(LIVE).key(NOTES);
        limits.arg(&epoch.id).arg(&self.me).arg(self.next());
        for LimitEntry { tenant, limit, allowed, told, lacks } in entries {
            let (kind, capacity) = match limit {
                Limit::Concurrency => ("count", *allowed),
                Limit::Requests | Limit::Tokens => ("rate", gcra::CAPACITY / 1000),
            };
            let tenant = utf8_percent_encode(tenant, NON_ALPHANUMERIC);
            limits.key(format!("pointsman:{}:limit:{}:tenant={tenant}", epoch.id, limit.label()));
            limits.arg(kind).arg(told.held).arg(told.used).arg(capacity.min(MICROS_MAX)).arg(lacks);
        }
        let (state, numbers): (String, Vec<u64>) = self.call(&limits).await?;
        let granted = |numbers: &[u64]| match *numbers {
            [given, left, missing] => LimitGranted { given, left, missing },
            _ => LimitGranted { given: 0, left: 0, missing: 0 },
        };
        let granted: Vec<LimitGranted> = numbers.chunks_exact(3).map(granted).collect();
        match state.as_str() {
            "ok" if granted.len() == entries.len() => Ok((true, granted)),
            "refused" if granted.len() == entries.len() => Ok((false, granted)),
            "settling" => Err(Trouble::Settling),
            _ => Err(Trouble::Outside),
        }
    }

    /// The accounts that anybody knows, of the periods that are on.
    pub(super) async fn known(&self, epoch: &Epoch) -> Result<Vec<AccountName>, Trouble> {
        let mut connection = self.live()?.connection;
        let notes: HashMap<String, String> = redis::cmd("HGETALL")
            .arg(NOTES)
            .query_async(&mut connection)
            .await
            .map_err(|error| self.away(&error))?;
        if notes.get("epoch") != Some(&epoch.id) {
            return Err(Trouble::Outside);
        }
        let now = SystemTime::now();
        let known = |(field, number): (&String, &String)| {
            let name = read_label(field.strip_prefix('a')?)?;
            (name.per.number(now).to_string() == *number).then_some(name)
        };
        Ok(notes.iter().filter_map(known).collect())
    }

    /// All who are or were members.
    pub(super) async fn members(&self) -> Result<Vec<(String, String)>, Trouble> {
        let mut connection = self.live()?.connection;
        redis::cmd("HGETALL")
            .arg(MEMBERS)
            .query_async(&mut connection)
            .await
            .map_err(|error| self.away(&error))
    }

    /// Those who have not told what they have spent.
    pub(super) async fn waiting(&self) -> Result<Vec<String>, Trouble> {
        let mut connection = self.live()?.connection;
        redis::cmd("SMEMBERS")
            .arg(WAITING)
            .query_async(&mut connection)
            .await
            .map_err(|error| self.away(&error))
    }

    /// What nobody of so many members has spent of these accounts; whether there are still as many.
    pub(super) async fn base(
        &self,
        epoch: &Epoch,
        members: usize,
        accounts: &[(AccountName, i64, Usd)],
    ) -> Result<bool, Trouble> {
        let now = SystemTime::now();
        for some in accounts.chunks(AT_ONCE) {
            let mut base = BASE.key(EPOCH);
            base.key(MEMBERS).key(NOTES).arg(&epoch.id).arg(members);
            for (name, number, spent) in some {
                base.key(key(epoch, name, *number)).arg(keep_seconds(name.per, now)).arg(micros(*spent));
                base.arg(label(name)).arg(number);
            }
            if !self.call::<bool>(&base).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A process has been silent for so long: whether what it was granted is to be settled.
    pub(super) async fn gone(
        &self,
        epoch: &Epoch,
        process: &str,
        silence: Duration,
    ) -> Result<bool, Trouble> {
        let mut gone = GONE.key(EPOCH);
        gone.key(MEMBERS).key(WAITING).key(LIVE).arg(&epoch.id).arg(process).arg(silence.as_secs());
        self.call(&gone).await
    }

    /// What a process that is gone has spent of these accounts, all that there are, as far as the ledger knows; all that it was granted
    /// may be spent, if it `was_apart`.
    pub(super) async fn settle(
        &self,
        epoch: &Epoch,
        process: &str,
        (accounts, was_apart): (&[(AccountName, i64, Usd)], bool),
    ) -> Result<(), Trouble> {
        self.close(&SETTLE, &[LIVE], epoch, (process, &|| u64::from(was_apart)), accounts).await
    }

    /// This process ends, and has spent so much of these accounts, all that there are.
    pub(super) async fn leave(
        &self,
        epoch: &Epoch,
        accounts: &[(AccountName, i64, Usd)],
    ) -> Result<(), Trouble> {
        self.close(&LEAVE, &[WAITING, LIVE, NOTES], epoch, (&self.me, &|| self.next()), accounts).await
    }

    async fn close(
        &self,
        script: &Script,
        more_keys: &[&str],
        epoch: &Epoch,
        (process, word): (&str, &(dyn Fn() -> u64 + Sync)),
        accounts: &[(AccountName, i64, Usd)],
    ) -> Result<(), Trouble> {
        let mut left = accounts;
        loop {
            let (some, others) = left.split_at(left.len().min(AT_ONCE));
            let mut close = script.key(EPOCH);
            close.key(MEMBERS).key(more_keys).arg(&epoch.id).arg(process).arg(u8::from(others.is_empty()));
            close.arg(word());
            for (name, number, spent) in some {
                close.key(key(epoch, name, *number)).arg(micros(*spent));
            }
            self.call::<Value>(&close).await?;
            if others.is_empty() {
                return Ok(());
            }
            left = others;
        }
    }
}
