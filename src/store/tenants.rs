//! Tenants that are managed while the gateway runs: each a name and a definition, whose meaning others know.

use std::time::SystemTime;

use super::{KeyStore, StoreError, count_up};
use crate::{
    database::{Cells, DatabaseError, Value, rows},
    ledger::row::{milliseconds, moment},
};

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
        let mut versions = Versions::default();
        self.lock().session().query("SELECT what, number FROM versions", &[], &mut |mut cells| {
            match &*cells.text()? {
                "tenants" => versions.tenants = cells.integer()?,
                "keys" => versions.keys = cells.integer()?,
                _ => {}
            }
            Ok(())
        })?;
        Ok(versions)
    }

    /// The tenants, in the order of their names.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tenants(&self) -> Result<Vec<StoredTenant>, StoreError> {
        let all = "SELECT name, definition, created_ms, changed_ms FROM tenants";
        let mut all = rows(self.lock().session(), all, &[], stored)?;
        // Servers have orders of their own.
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The tenant of a name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn tenant(&self, name: &str) -> Result<Option<StoredTenant>, StoreError> {
        let one = "SELECT name, definition, created_ms, changed_ms FROM tenants WHERE name = $1";
        Ok(rows(self.lock().session(), one, &[name.into()], stored)?.pop())
    }

    /// Puts tenants in the place of those of the same names, all of them or none; for each, whether it is new.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn put_tenants(&self, tenants: &[(&str, &str)]) -> Result<Vec<bool>, StoreError> {
        self.change("tenants", |session| {
            let now = Value::from(milliseconds(SystemTime::now()));
            let insert = "INSERT INTO tenants VALUES ($1, $2, $3, $3) ON CONFLICT DO NOTHING";
            let update = "UPDATE tenants SET definition = $1, changed_ms = $2 WHERE name = $3";
            let put = |(name, definition): &(&str, &str)| {
                let (name, definition) = (Value::from(*name), Value::from(*definition));
                let is_new = session.execute(insert, &[name.clone(), definition.clone(), now.clone()])? == 1;
                if !is_new {
                    session.execute(update, &[definition, now.clone(), name])?;
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
        self.change("tenants", |session| {
            let deleted = session.execute("DELETE FROM tenants WHERE name = $1", &[name.into()])?;
            if deleted == 1 && and_keys {
                let revoke = "UPDATE keys SET revoked_ms = $1 WHERE tenant = $2 AND revoked_ms IS NULL";
                session.execute(revoke, &[milliseconds(SystemTime::now()).into(), name.into()])?;
                count_up(session, "keys")?;
            }
            Ok(deleted == 1)
        })
    }
}

fn stored(mut cells: Cells) -> Result<StoredTenant, DatabaseError> {
    Ok(StoredTenant {
        name: cells.text()?,
        definition: cells.text()?,
        created: moment(cells.integer()?),
        changed: moment(cells.integer()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Database, store::NewKey};

    #[test]
    fn tenants_are_put_read_and_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::Sqlite(folder.path().join("t.db"));
        let store = KeyStore::open(&database).unwrap();
        let before = store.versions().unwrap();
        assert_eq!(store.put_tenants(&[("b", "1"), ("a", "2")]).unwrap(), [true, true]);
        assert_eq!(store.put_tenants(&[("b", "3")]).unwrap(), [false]);
        let other = KeyStore::open(&database).unwrap();
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
        let store = KeyStore::open(&Database::Sqlite(folder.path().join("t.db"))).unwrap();
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
