//! Keys that are made and revoked while the gateway runs: kept in the ledger's database, beside those of the file.
//!
//! A key is shown once, when it is made, and kept as its digest. Whoever writes, this process or another, counts a version up; a
//! running gateway looks at it several times a second.

mod tenants;
#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use ring::rand::{SecureRandom, SystemRandom};
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};
use uuid::Uuid;

pub use self::tenants::{StoredTenant, Versions};
use crate::{
    budget::{BudgetRule, Period},
    config::{KeyConfig, KeyDigest, Usd},
    ledger::{LedgerError, open_database, row::milliseconds},
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
    path: PathBuf,
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
    /// The database.
    #[error(transparent)]
    Database(#[from] LedgerError),
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
    /// Opens the database in a file, which is made where there is none.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Ok(Self { connection: Mutex::new(open_database(path)?), path: path.to_owned() })
    }

    /// A number that grows with every change.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn version(&self) -> Result<i64, StoreError> {
        let version = "SELECT number FROM versions WHERE what = 'keys'";
        self.lock().query_row(version, [], |row| row.get(0)).map_err(|error| self.failed(error))
    }

    /// The keys that have not been revoked, in the order in which they were made.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn keys(&self) -> Result<Vec<StoredKey>, StoreError> {
        let connection = self.lock();
        let read = || {
            let mut statement = connection.prepare(
                "SELECT id, tenant, prefix, created_ms, digest, name, project, expires_ms, budgets FROM keys
                 WHERE revoked_ms IS NULL ORDER BY id",
            )?;
            statement.query_map([], stored)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Makes a key; the key itself, which is kept nowhere, comes with it.
    ///
    /// # Errors
    /// When its name is taken, or the database cannot be written.
    pub fn create(&self, new: NewKey) -> Result<(StoredKey, String), StoreError> {
        let secret = secret()?;
        let stored = made(new, &secret);
        self.change(|transaction| {
            let name = &stored.key.label;
            let taken = transaction
                .prepare("SELECT 1 FROM keys WHERE tenant = ?1 AND name = ?2 AND revoked_ms IS NULL AND (expires_ms IS NULL OR expires_ms > ?3)")?
                .exists(params![stored.tenant, name, milliseconds(SystemTime::now())])?;
            if taken {
                return Ok(Err(StoreError::Taken { tenant: stored.tenant.clone(), name: name.clone() }));
            }
            insert(transaction, &stored).map(Ok)
        })?;
        Ok((stored, secret))
    }

    /// Revokes a key for good.
    ///
    /// # Errors
    /// When there is none, or the database cannot be written.
    pub fn revoke(&self, id: &str) -> Result<(), StoreError> {
        self.change(|transaction| {
            let now = milliseconds(SystemTime::now());
            let revoke = "UPDATE keys SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms IS NULL";
            let revoked = transaction.execute(revoke, params![id, now])?;
            Ok(if revoked == 1 { Ok(()) } else { Err(StoreError::Unknown(id.to_owned())) })
        })
    }

    /// Makes a key in place of another, with its name, project, end and budgets. The other one ends after `overlap`.
    ///
    /// # Errors
    /// When there is none, or the database cannot be written.
    pub fn rotate(&self, id: &str, overlap: Duration) -> Result<(StoredKey, String), StoreError> {
        let secret = secret()?;
        let mut rotated = None;
        self.change(|transaction| {
            let old = transaction
                .query_row(
                    "SELECT id, tenant, prefix, created_ms, digest, name, project, expires_ms, budgets FROM keys
                     WHERE id = ?1 AND revoked_ms IS NULL",
                    [id],
                    stored,
                )
                .optional()?;
            let Some(old) = old else { return Ok(Err(StoreError::Unknown(id.to_owned()))) };
            let KeyConfig { label, project, expires, budgets, .. } = old.key;
            let new = NewKey { tenant: old.tenant, project, name: Some(label), expires, budgets };
            let stored = made(new, &secret);
            insert(transaction, &stored)?;
            let ends = milliseconds(SystemTime::now() + overlap);
            let end = "UPDATE keys SET expires_ms = min(ifnull(expires_ms, ?2), ?2) WHERE id = ?1";
            transaction.execute(end, params![id, ends])?;
            rotated = Some(stored);
            Ok(Ok(()))
        })?;
        rotated.map(|stored| (stored, secret)).ok_or_else(|| StoreError::Unknown(id.to_owned()))
    }

    /// All or nothing, and the version counted up.
    fn change(
        &self,
        change: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        let mut connection = self.lock();
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let changed = begun.and_then(|transaction| {
            if let Err(error) = change(&transaction)? {
                return Ok(Err(error));
            }
            transaction.execute("UPDATE versions SET number = number + 1 WHERE what = 'keys'", [])?;
            transaction.commit().map(Ok)
        });
        changed.map_err(|error| self.failed(error))?
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, source: rusqlite::Error) -> StoreError {
        LedgerError::Database { path: self.path.clone(), source }.into()
    }
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

fn insert(transaction: &rusqlite::Transaction<'_>, stored: &StoredKey) -> rusqlite::Result<()> {
    let StoredKey { id, tenant, prefix, created, key } = stored;
    transaction.execute(
        "INSERT INTO keys VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, NULL, ?9)",
        params![
            id,
            tenant,
            key.project,
            key.label,
            key.digest.as_bytes(),
            prefix,
            milliseconds(*created),
            key.expires.map(milliseconds),
            written(&key.budgets),
        ],
    )?;
    Ok(())
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredKey> {
    let digest: [u8; 32] = row.get(4)?;
    let time = |ms: i64| SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let key = KeyConfig {
        label: row.get(5)?,
        project: row.get(6)?,
        expires: row.get::<_, Option<i64>>(7)?.map(time),
        budgets: read(&row.get::<_, String>(8)?),
        ..KeyConfig::new(KeyDigest::from_bytes(digest))
    };
    Ok(StoredKey {
        id: row.get(0)?,
        tenant: row.get(1)?,
        prefix: row.get(2)?,
        created: time(row.get(3)?),
        key,
    })
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
