//! Tenants of the store beside those of the file: each in force if it fits the configuration that is, and else left out.

use std::{collections::BTreeMap, sync::Arc};

use super::{Snapshot, Tenant, build, routes::Place};
use crate::{
    budget::Budgets,
    config::{Diagnostics, ManagedTenant},
    store::{StoredKey, StoredTenant},
    tenancy::Keyring,
};

/// A tenant of the store, as a configuration takes it.
#[derive(Debug, Clone)]
pub struct Managed {
    /// What is stored.
    pub stored: StoredTenant,
    /// The tenant where it is in force; or why it is not.
    pub state: Result<Arc<Tenant>, Arc<Misfit>>,
}

/// Why a configuration does not take a tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// The file has one of that name.
    #[error("the configuration's file has a tenant of this name: it is changed there")]
    OfFile,
    /// It is not valid.
    #[error("{}", .0.to_string().trim_end())]
    Invalid(Diagnostics),
}

impl Snapshot {
    /// The same with these tenants and keys in the place of those that the store had before. Keys of tenants that are not in force,
    /// and of projects that there are not, stand for nobody.
    #[must_use]
    pub fn with_stored(&self, tenants: &[StoredTenant], keys: &[StoredKey], budgets: &Budgets) -> Self {
        let managed: BTreeMap<String, Managed> =
            tenants.iter().map(|stored| (stored.name.clone(), self.managed_as(stored))).collect();
        let of_file = self.tenants.iter().filter(|(name, _)| self.is_of_file(name));
        let mut tenants: BTreeMap<_, _> =
            of_file.map(|(name, one)| (Arc::clone(name), Arc::clone(one))).collect();
        for tenant in managed.values().filter_map(|managed| managed.state.as_ref().ok()) {
            tenants.insert(Arc::clone(&tenant.name), Arc::clone(tenant));
        }
        let mut stored = Keyring::default();
        for StoredKey { tenant, key, .. } in keys {
            if let Some(tenant) = tenants.get(tenant.as_str())
                && key.project.as_ref().is_none_or(|project| tenant.config.projects.contains_key(project))
            {
                let project = key.project.as_deref().map(Arc::from);
                stored.add(key.digest, Arc::new(build::caller(tenant, (project, Some(key)), budgets)));
            }
        }
        let bearers = build::bearers(&tenants, budgets);
        Self { stored, bearers, tenants, managed, ..self.clone() }
    }

    /// A tenant that may be stored, as it would be in force; `file` is what findings call the text.
    ///
    /// # Errors
    /// When this configuration does not take it.
    pub fn fit(&self, name: &str, file: &str, text: &[u8]) -> Result<(ManagedTenant, Diagnostics), Misfit> {
        let (read, mut warnings) =
            self.ground.config.read_tenant(name, file, text).map_err(Misfit::Invalid)?;
        let (_, found) = self.built(name, &read)?;
        warnings.extend(found);
        Ok((read, warnings))
    }

    /// The tenant that was read, ready; its warnings come with it.
    ///
    /// # Errors
    /// As for [`Snapshot::fit`].
    pub fn built(&self, name: &str, read: &ManagedTenant) -> Result<(Tenant, Diagnostics), Misfit> {
        if self.is_of_file(name) {
            return Err(Misfit::OfFile);
        }
        let mut found = Diagnostics::default();
        let place = Place { source: &read.source, path: &[] };
        let tenant = self.ground.tenant(name, &read.config, place, &mut found);
        if found.has_errors() { Err(Misfit::Invalid(found)) } else { Ok((tenant, found)) }
    }

    /// The tenants of the store by name, whether they are in force or not.
    pub fn managed(&self) -> &BTreeMap<String, Managed> {
        &self.managed
    }

    /// Whether the configuration's file has a tenant of this name.
    #[must_use]
    pub fn is_of_file(&self, name: &str) -> bool {
        self.ground.config.tenants.contains_key(name)
    }

    /// Of what has not changed since, what was made of it before.
    fn managed_as(&self, stored: &StoredTenant) -> Managed {
        let before =
            self.managed.get(&stored.name).filter(|before| before.stored.definition == stored.definition);
        let state =
            before.map_or_else(|| self.state_of(stored).map_err(Arc::new), |before| before.state.clone());
        Managed { stored: stored.clone(), state }
    }

    fn state_of(&self, stored: &StoredTenant) -> Result<Arc<Tenant>, Misfit> {
        let StoredTenant { name, definition, .. } = stored;
        let read = self.ground.config.read_tenant(name, name, definition.as_bytes());
        let (read, _) = read.map_err(Misfit::Invalid)?;
        Ok(Arc::new(self.built(name, &read)?.0))
    }
}
