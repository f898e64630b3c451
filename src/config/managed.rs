//! Tenants that no configuration's file lists: read by the reader of those that it does list, with the same complaints.

#[cfg(test)]
mod tests;

use std::{cell::RefCell, path::Path, sync::Arc};

use super::{
    Config, Diagnostics, Source, TenantConfig,
    decode::{
        named,
        tenant::{self, KeysFrom, Names},
    },
    report::Report,
    value::{Reader, Value},
    yaml,
};

/// A tenant as it was written somewhere else than in the configuration's file.
#[derive(Debug, Clone, PartialEq)]
pub struct ManagedTenant {
    /// What it says.
    pub config: TenantConfig,
    /// The same as JSON, which reads as it.
    pub definition: String,
    /// Where each of its fields stands.
    pub source: Source,
}

/// What was read, and what is doubtful about it.
pub type Read<T> = Result<(T, Diagnostics), Diagnostics>;

impl Config {
    /// Reads one tenant, from JSON or YAML; `file` is what findings call the text.
    ///
    /// # Errors
    /// Everything that is wrong with it, against the models and routes of this configuration.
    pub fn read_tenant(&self, name: &str, file: &str, bytes: &[u8]) -> Read<ManagedTenant> {
        read(file, bytes, |root| self.managed(name, root))
    }

    /// Reads a mapping from names to tenants.
    ///
    /// # Errors
    /// As for [`Config::read_tenant`].
    pub fn read_tenants(&self, file: &str, bytes: &[u8]) -> Read<Vec<(String, ManagedTenant)>> {
        read(file, bytes, |root| {
            let entries = named(root, "tenant").into_iter();
            let tenant =
                |(name, value): (&str, Value<'_>)| Some((name.to_owned(), self.managed(name, &value)?));
            Some(entries.filter_map(tenant).collect())
        })
    }

    fn managed(&self, name: &str, value: &Value<'_>) -> Option<ManagedTenant> {
        let models = self.models.keys().map(String::as_str).collect();
        let names = Names::of(&self.models, &models, &self.routes, KeysFrom::Store);
        let config = tenant::managed(name, value, &names)?;
        let source = Source::new(value.reader.report.file(), value.outline());
        Some(ManagedTenant { config, definition: value.to_json(), source })
    }
}

fn read<T>(file: &str, bytes: &[u8], decode: impl FnOnce(&Value<'_>) -> Option<T>) -> Read<T> {
    let report = Report::new(Arc::from(file));
    let is_nothing = matches!(bytes.trim_ascii(), b"" | b"null" | b"~");
    let value = if is_nothing {
        report.whole_file("is empty".to_owned(), Some("it needs `pool` at least".to_owned()));
        None
    } else {
        // What comes from elsewhere has no business with this process's environment.
        let root = yaml::read(bytes, &|_| None, &report);
        root.and_then(|root| {
            let reader = Reader { report: &report, directory: Path::new(""), files: RefCell::default() };
            decode(&Value::root(&reader, &root))
        })
    };
    let found = report.into_diagnostics();
    match value {
        Some(value) if !found.has_errors() => Ok((value, found)),
        _ => Err(found),
    }
}
