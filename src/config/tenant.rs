//! Who may call, with which keys, and which models they may reach.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroU64,
    time::SystemTime,
};

use sha2::{Digest, Sha256};

use super::route::Selection;
use crate::budget::BudgetRule;

/// One entry of `tenants`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TenantConfig {
    /// Its own keys and those of its projects, no two of one name; empty only when `open`.
    pub keys: Vec<KeyConfig>,
    /// For development: requests without a key, or with one that no tenant has, belong to it. At most one tenant is.
    pub open: bool,
    /// Names of `models` it may use: at least one, no two equal.
    pub pool: Vec<String>,
    /// The name in `routes` that `auto` stands for.
    pub default_route: String,
    /// Names in `routes` that it may use, the default route among them (key `routes`); all where the file does not say.
    pub allowed_routes: Option<BTreeSet<String>>,
    /// What chooses among scored models for it, in place of its routes' own rules.
    pub selection: Option<Selection>,
    /// The pool's model that answers when a router fails.
    pub default_model: Option<String>,
    /// What all its keys may spend together; one for each period at most.
    pub budgets: Vec<BudgetRule>,
    /// What the keys of each project may spend together.
    pub projects: BTreeMap<String, Vec<BudgetRule>>,
    /// How much it may do; at least one limit, where there are any.
    pub limits: Option<TenantLimits>,
    /// What is written down with each of its requests, by name.
    pub tags: BTreeMap<String, String>,
    /// What is asked is written down, too.
    pub keep_prompts: bool,
}

/// How much a tenant may do, under the key `limits`. What is absent has no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Requests a minute.
    pub rpm: Option<NonZeroU64>,
    /// Tokens a minute, of prompts and answers together.
    pub tpm: Option<NonZeroU64>,
    /// Requests in flight, streams until their end.
    pub concurrency: Option<NonZeroU64>,
}

/// A key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyConfig {
    /// What it is known by.
    pub digest: KeyDigest,
    /// What metrics, logs and the ledger call it: its `name`, or else the beginning of its digest.
    pub label: String,
    /// The project that it belongs to.
    pub project: Option<String>,
    /// It is of no use from then on.
    pub expires: Option<SystemTime>,
    /// What it may spend; one for each period at most.
    pub budgets: Vec<BudgetRule>,
}

impl KeyConfig {
    /// A key without a name, an end or a budget.
    #[must_use]
    pub fn new(digest: KeyDigest) -> Self {
        Self { digest, label: digest.short(), project: None, expires: None, budgets: Vec::new() }
    }
}

/// SHA-256 of a key. Compare in constant time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// The digest of a key as clients send it.
    #[must_use]
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Reads `sha256:` and 64 hexadecimal digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("sha256:")?.as_bytes();
        let mut digest = [0; 32];
        if digits.len() != 2 * digest.len() {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair.iter().try_fold(0, |high, &digit| {
                let low = char::from(digit).to_digit(16)?;
                u8::try_from(u32::from(high) * 16 + low).ok()
            })?;
        }
        Some(Self(digest))
    }

    /// From the 32 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Its beginning: enough to tell two keys apart.
    #[must_use]
    pub fn short(&self) -> String {
        let [first, second, third, fourth, ..] = self.0;
        format!("sha256:{first:02x}{second:02x}{third:02x}{fourth:02x}")
    }
}

impl fmt::Debug for KeyDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "KeyDigest({}…)", self.short())
    }
}
