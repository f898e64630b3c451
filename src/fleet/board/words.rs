//! What is said on the board, and what comes of it.

use std::{sync::Arc, time::SystemTime};

use crate::{
    budget::{AccountName, Told},
    config::Usd,
    telemetry::outcome::Limit,
    tenancy::limits,
};

/// Why nothing came of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum Trouble {
    /// Nobody answers.
    Away,
    /// This process is no member of the epoch, or there is no such epoch: it must join.
    Outside,
    /// The data of the epoch are lost in part.
    Lost,
    /// Others have not told yet what they have spent.
    Settling,
    /// What was spent before is to be looked up.
    Base,
}

/// An epoch that this process is a member of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::fleet) struct Epoch {
    pub(in crate::fleet) id: String,
    /// When it began, by the server's clock.
    pub(in crate::fleet) since: SystemTime,
}

/// What is known of an epoch when a process has said that it is there.
#[derive(Debug)]
pub(in crate::fleet) struct Heard {
    pub(in crate::fleet) epoch: Epoch,
    pub(in crate::fleet) is_member: bool,
    /// Processes that have not told yet what they have spent.
    pub(in crate::fleet) waiting: u64,
    /// Processes that are there.
    pub(in crate::fleet) live: u64,
    /// Processes that are there, or are waited for.
    pub(in crate::fleet) processes: u64,
}

/// An account, and how it stands in this process.
#[derive(Debug, Clone)]
pub(in crate::fleet) struct Entry {
    pub(in crate::fleet) name: AccountName,
    pub(in crate::fleet) told: Told,
    pub(in crate::fleet) limit: Usd,
    pub(in crate::fleet) lacks: Usd,
}

/// An account after that was told.
#[derive(Debug, Clone, Copy)]
pub(in crate::fleet) struct Granted {
    pub(in crate::fleet) granted: Usd,
    /// What others have spent, where that is known.
    pub(in crate::fleet) elsewhere: Option<Usd>,
    /// What is left to be granted.
    pub(in crate::fleet) left: Usd,
}

/// A limit, and what this process has of it.
#[derive(Debug)]
pub(in crate::fleet) struct LimitEntry {
    pub(in crate::fleet) tenant: Arc<str>,
    pub(in crate::fleet) limit: Limit,
    pub(in crate::fleet) allowed: u64,
    pub(in crate::fleet) told: limits::shared::Told,
    pub(in crate::fleet) lacks: u64,
}

/// A limit after that was told.
#[derive(Debug, Clone, Copy)]
pub(in crate::fleet) struct LimitGranted {
    pub(in crate::fleet) given: u64,
    pub(in crate::fleet) left: u64,
    /// What it lacks more than was left.
    pub(in crate::fleet) missing: u64,
}

/// What is done with accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::fleet) enum Deed {
    Join,
    Tell,
    Ask,
}
