//! Tenants that are managed while the gateway runs: each a name and a definition, whose meaning others know.

use std::time::{Duration, SystemTime};

use rusqlite::{OptionalExtension, Row, Transaction, TransactionBehavior, params};

use super::{KeyStore, StoreError};
use crate::ledger::row::milliseconds;

/// A tenant that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredTenant {
    /// Its name.
    pub name: String,
    /// What a configuration's file would say of it, but for its keys; in JSON.
    pub definition: String,
    /// When it was made.
    pub created: SystemTime,
    /// When it was last put.
    pub changed: SystemTime,
}

/// Numbers that grow with every change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Versions {
    /// Of tenants.
    pub tenants: i64,
    /// Of keys.
    pub keys: i64,
}

impl KeyStore {
    /// The versions of what there is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn versions(&self) -> Result<Versions, StoreError> {
        let tenants = "SELECT number FROM versions WHERE what = 'tenants'";
        let tenants = self.lock().query_row(tenants, [], |row| row.get(0));
        Ok(Versions { tenants: tenants.map_err(|error| self.failed(error))?, keys: self.version()? })
    }

    /// The tenants, in the order of their names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tenants(&self) -> Result<Vec<StoredTenant>, StoreError> {
        let connection = self.lock();
        let read = || {
            let mut statement = connection
                .prepare("SELECT name, definition, created_ms, changed_ms FROM tenants ORDER BY name")?;
            statement.query_map([], stored)?.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(|error| self.failed(error))
    }

    /// The tenant of a name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tenant(&self, name: &str) -> Result<Option<StoredTenant>, StoreError> {
        let get = "SELECT name, definition, created_ms, changed_ms FROM tenants WHERE name = ?1";
        self.lock().query_row(get, [name], stored).optional().map_err(|error| self.failed(error))
    }

    /// Puts tenants in the place of those of the same names, all of them or none; for each, whether it is new.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put_tenants(&self, tenants: &[(&str, &str)]) -> Result<Vec<bool>, StoreError> {
        self.change_tenants(|transaction| {
            let now = milliseconds(SystemTime::now());
            let mut insert = transaction.prepare("INSERT OR IGNORE INTO tenants VALUES (?1, ?2, ?3, ?3)")?;
            let mut update =
                transaction.prepare("UPDATE tenants SET definition = ?2, changed_ms = ?3 WHERE name = ?1")?;
            let put = |(name, definition): &(&str, &str)| {
                let is_new = insert.execute(params![name, definition, now])? == 1;
                if !is_new {
                    update.execute(params![name, definition, now])?;
                }
                Ok(is_new)
            };
            tenants.iter().map(put).collect()
        })
    }

    /// Deletes a tenant; whether there was one. `and_keys` revokes its keys with it, so that they stand for nobody who gets its
    /// name later.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn delete_tenant(&self, name: &str, and_keys: bool) -> Result<bool, StoreError> {
        self.change_tenants(|transaction| {
            let deleted = transaction.execute("DELETE FROM tenants WHERE name = ?1", [name])?;
            if deleted == 1 && and_keys {
                let revoke = "UPDATE keys SET revoked_ms = ?2 WHERE tenant = ?1 AND revoked_ms IS NULL";
                transaction.execute(revoke, params![name, milliseconds(SystemTime::now())])?;
                transaction.execute("UPDATE versions SET number = number + 1 WHERE what = 'keys'", [])?;
            }
            Ok(deleted == 1)
        })
    }

    /// All or nothing, and the version counted up.
    fn change_tenants<T>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let mut connection = self.lock();
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate);
        let changed = begun.and_then(|transaction| {
            let changed = change(&transaction)?;
            transaction.execute("UPDATE versions SET number = number + 1 WHERE what = 'tenants'", [])?;
            transaction.commit().map(|()| changed)
        });
        changed.map_err(|error| self.failed(error))
    }
}

fn stored(row: &Row<'_>) -> rusqlite::Result<StoredTenant> {
    let time = |ms: i64| SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    Ok(StoredTenant {
        name: row.get(0)?,
        definition: row.get(1)?,
        created: time(row.get(2)?),
        changed: time(row.get(3)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::NewKey;

    #[test]
    fn tenants_are_put_read_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let store = KeyStore::open(&path).unwrap();
        let before = store.versions().unwrap();
        assert_eq!(store.put_tenants(&[("b", "1"), ("a", "2")]).unwrap(), [true, true]);
        assert_eq!(store.put_tenants(&[("b", "3")]).unwrap(), [false]);
        let other = KeyStore::open(&path).unwrap();
        let all = other.tenants().unwrap();
        let seen: Vec<_> = all.iter().map(|one| (one.name.as_str(), one.definition.as_str())).collect();
        assert_eq!(seen, [("a", "2"), ("b", "3")]);
        assert!(all.iter().all(|one| one.created <= one.changed));
        assert_eq!(other.tenant("b").unwrap().as_ref(), all.last());
        assert_eq!(other.tenant("c").unwrap(), None);
        let after = other.versions().unwrap();
        assert_eq!(after, Versions { tenants: before.tenants + 2, keys: before.keys });
    }

    #[test]
    fn keys_end_with_their_tenant() {
        let folder = tempfile::tempdir().unwrap();
        let store = KeyStore::open(&folder.path().join("t.db")).unwrap();
        for name in ["a", "b"] {
            store.put_tenants(&[(name, "{}")]).unwrap();
            store.create(NewKey { tenant: name.to_owned(), ..NewKey::default() }).unwrap();
        }
        let before = store.versions().unwrap();
        assert!(store.delete_tenant("a", true).unwrap());
        assert!(!store.delete_tenant("a", true).unwrap());
        assert!(store.delete_tenant("b", false).unwrap());
        let left = store.keys().unwrap();
        assert_eq!(left.iter().map(|key| key.tenant.as_str()).collect::<Vec<_>>(), ["b"]);
        assert_eq!(store.versions().unwrap().keys, before.keys + 1);
    }
}
