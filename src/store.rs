//! Keys that are made and revoked while the gateway runs: kept in the ledger's database, beside those of the file.
//!
//! A key is shown once, when it is made, and kept as its digest. Whoever writes, this process or another, counts a version up; a
//! running gateway looks at it several times a second.

mod tenants;
#[cfg(test)]
mod tests;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

pub use self::tenants::{StoredTenant, Versions};
use crate::{
    budget::{BudgetRule, Period},
    config::{Database, KeyConfig, KeyDigest, Usd},
    database::{Cells, Connection, DatabaseError, OpenError, Session, Value, rows},
    ledger::{
        LedgerError,
        row::{milliseconds, moment},
    },
};

/// What keys of ours begin with, so that people and secret scanners know them.
const KEY_PREFIX: &str = "pm-";
/// Characters of a key that may be seen.
const SHOWN_CHARS: usize = 11;
/// Of these, 43 hold 256 bits.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const RANDOM_CHARS: usize = 43;

/// The keys in a database.
#[derive(Debug)]
pub struct KeyStore {
    connection: Mutex<Connection>,
}

/// What a new key is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewKey {
    /// The tenant that it stands for.
    pub tenant: String,
    /// The tenant's project.
    pub project: Option<String>,
    /// What it is called; by its visible characters when absent.
    pub name: Option<String>,
    /// It is of no use from then on.
    pub expires: Option<SystemTime>,
    /// What it may spend; one for each period at most.
    pub budgets: Vec<BudgetRule>,
}

/// A key that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// What it is revoked and rotated by.
    pub id: String,
    /// The tenant that it stands for.
    pub tenant: String,
    /// Its visible characters.
    pub prefix: String,
    /// When it was made.
    pub created: SystemTime,
    /// What there is beyond that.
    pub key: KeyConfig,
}

/// Why keys cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database does not do what it is asked.
    #[error("the database cannot be used: {0}")]
    Database(#[from] DatabaseError),
    /// The ledger beside them.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The tenant has a key of that name.
    #[error(
        "tenant `{tenant}` has a key named `{name}` already: revoke or rotate that one, or give another name"
    )]
    Taken {
        /// The tenant.
        tenant: String,
        /// The name.
        name: String,
    },
    /// There is no such key, or it has been revoked.
    #[error("there is no key `{0}`, or it has been revoked")]
    Unknown(String),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers for a key")]
    Random,
}

impl KeyStore {
    /// Opens a database. Every use of it waits for it.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(database: &Database) -> Result<Self, StoreError> {
        Ok(Self { connection: Mutex::new(Connection::open(database)?) })
    }

    /// The keys that have not been revoked, in the order in which they were made.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let all = format!("SELECT {COLUMNS} FROM keys WHERE revoked_ms IS NULL ORDER BY id");
        Ok(rows(self.lock().session(), &all, &[], stored)?)
    }

    /// Makes a key; the key itself, which is kept nowhere, comes with it.
    ///
    /// # Errors
    /// When its name is taken, or the database cannot be written.
    pub fn create(&self, new: NewKey) -> Result<(StoredKey, String), StoreError> {
        let secret = secret()?;
        let stored = made(new, &secret);
        self.change("keys", |session| {
            let name = &stored.key.label;
            let taken = "SELECT id FROM keys WHERE tenant = $1 AND name = $2 AND revoked_ms IS NULL AND (expires_ms IS NULL OR expires_ms > $3)";
            let now = milliseconds(SystemTime::now());
            let values = [Value::from(&stored.tenant), name.into(), now.into()];
            if !rows(session, taken, &values, |mut cells| cells.text())?.is_empty() {
                return Err(StoreError::Taken { tenant: stored.tenant.clone(), name: name.clone() });
            }
            insert(session, &stored)
        })?;
        Ok((stored, secret))
    }

    /// Revokes a key for good.
    ///
    /// # Errors
    /// When there is none, or the database cannot be written.
    pub fn revoke(&self, id: &str) -> Result<(), StoreError> {
        self.change("keys", |session| {
            let revoke = "UPDATE keys SET revoked_ms = $1 WHERE id = $2 AND revoked_ms IS NULL";
            match session.execute(revoke, &[milliseconds(SystemTime::now()).into(), id.into()])? {
                0 => Err(StoreError::Unknown(id.to_owned())),
                _ => Ok(()),
            }
        })
    }

    /// Makes a key in place of another, with its name, project, end and budgets. The other one ends after `overlap`.
    ///
    /// # Errors
    /// When there is none, or the database cannot be written.
    pub fn rotate(&self, id: &str, overlap: Duration) -> Result<(StoredKey, String), StoreError> {
        let secret = secret()?;
        let stored = self.change("keys", |session| {
            let one = format!("SELECT {COLUMNS} FROM keys WHERE id = $1 AND revoked_ms IS NULL");
            let Some(old) = rows(session, &one, &[id.into()], stored)?.pop() else {
                return Err(StoreError::Unknown(id.to_owned()));
            };
            let KeyConfig { label, project, expires, budgets, .. } = old.key;
            let new = NewKey { tenant: old.tenant, project, name: Some(label), expires, budgets };
            let stored = made(new, &secret);
            insert(session, &stored)?;
            let ends = milliseconds(SystemTime::now() + overlap);
            let end = "UPDATE keys SET expires_ms = CASE WHEN expires_ms < $1 THEN expires_ms ELSE $1 END WHERE id = $2";
            session.execute(end, &[ends.into(), id.into()])?;
            Ok(stored)
        })?;
        Ok((stored, secret))
    }

    /// Changes `what`, `keys` or `tenants`: all or nothing, its version counted up, and one change after the other.
    fn change<T>(
        &self,
        what: &str,
        change: impl FnOnce(&mut dyn Session) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.lock().transaction(|session| {
            count_up(session, what)?;
            change(session)
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn count_up(session: &mut dyn Session, what: &str) -> Result<(), StoreError> {
    session.execute("UPDATE versions SET number = number + 1 WHERE what = $1", &[what.into()])?;
    Ok(())
}

/// A key that nobody can guess.
fn secret() -> Result<String, StoreError> {
    let random = SystemRandom::new();
    let mut secret = KEY_PREFIX.to_owned();
    while secret.len() < KEY_PREFIX.len() + RANDOM_CHARS {
        let mut bytes = [0; 64];
        random.fill(&mut bytes).map_err(|_| StoreError::Random)?;
        // Each character as likely as any other: bytes beyond the last whole alphabet are left out.
        let fitting =
            bytes.iter().filter(|&&byte| byte < 248).filter_map(|byte| ALPHABET.get(usize::from(byte % 62)));
        secret.extend(fitting.map(|&byte| char::from(byte)));
    }
    secret.truncate(KEY_PREFIX.len() + RANDOM_CHARS);
    Ok(secret)
}

fn made(new: NewKey, secret: &str) -> StoredKey {
    let prefix: String = secret.chars().take(SHOWN_CHARS).collect();
    let NewKey { tenant, project, name, expires, budgets } = new;
    let label = name.unwrap_or_else(|| prefix.clone());
    let key = KeyConfig { label, project, expires, budgets, ..KeyConfig::new(KeyDigest::of(secret)) };
    StoredKey { id: Uuid::now_v7().simple().to_string(), tenant, prefix, created: SystemTime::now(), key }
}

/// What [`stored`] reads.
const COLUMNS: &str = "id, tenant, prefix, created_ms, digest, name, project, expires_ms, budgets";

fn insert(session: &mut dyn Session, stored: &StoredKey) -> Result<(), StoreError> {
    let StoredKey { id, tenant, prefix, created, key } = stored;
    let insert = format!("INSERT INTO keys ({COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
    session.execute(
        &insert,
        &[
            id.into(),
            tenant.into(),
            prefix.into(),
            milliseconds(*created).into(),
            Value::Bytes(key.digest.as_bytes().to_vec()),
            (&key.label).into(),
            key.project.as_ref().into(),
            key.expires.map(milliseconds).into(),
            Value::Text(written(&key.budgets)),
        ],
    )?;
    Ok(())
}

fn stored(mut cells: Cells) -> Result<StoredKey, DatabaseError> {
    let (id, tenant, prefix, created) =
        (cells.text()?, cells.text()?, cells.text()?, moment(cells.integer()?));
    let digest: [u8; 32] = cells.bytes()?.try_into().map_err(|_| DatabaseError::Shape)?;
    let key = KeyConfig {
        label: cells.text()?,
        project: cells.optional_text()?,
        expires: cells.optional_integer()?.map(moment),
        budgets: read(&cells.text()?),
        ..KeyConfig::new(KeyDigest::from_bytes(digest))
    };
    Ok(StoredKey { id, tenant, prefix, created, key })
}

/// `5.00/day,100.00/month`.
fn written(budgets: &[BudgetRule]) -> String {
    let one = |rule: &BudgetRule| format!("{}/{}", rule.limit, rule.per.name());
    budgets.iter().map(one).collect::<Vec<_>>().join(",")
}

fn read(budgets: &str) -> Vec<BudgetRule> {
    budgets.split(',').filter_map(read_budget).collect()
}

/// Reads a budget such as `5/day`.
#[must_use]
pub fn read_budget(text: &str) -> Option<BudgetRule> {
    let (usd, per) = text.trim().split_once('/')?;
    let per = Period::ALL.into_iter().find(|known| known.name() == per)?;
    Some(BudgetRule { limit: Usd::parse(usd).ok()?, per })
}
