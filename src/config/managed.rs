//! Tenants that no configuration's file lists: read by the reader of those that it does list, with the same complaints.

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Input, Loaded};

    fn config() -> Config {
        let yaml = "models: {a: {}, x/b: {}}\nroutes: {auto: {models: [a, x/b]}, other: {models: [a]}}\ntenants: {f: {keys: [{key: k}], pool: [a]}}\n";
        let input = Input {
            name: "c.yaml",
            bytes: yaml.as_bytes(),
            directory: Path::new(""),
            environment: &|_| None,
        };
        let Loaded { config, .. } = Config::parse(&input).unwrap();
        config
    }

    #[test]
    fn yaml_and_its_json_read_the_same() {
        let yaml = "pool: ['x/*', a]   # all\nroutes: [auto]\nstrong_share: 0.250\nbudget: {usd: 200.10, per: month}\nlimits: {rpm: 1_000}\nprojects:\n  p: {budget: [{usd: \"5\", per: day}]}\n  q: {}\n";
        let (written, _) = config().read_tenant("t", "t.yaml", yaml.as_bytes()).unwrap();
        assert_eq!(
            written.definition,
            r#"{"pool":["x/*","a"],"routes":["auto"],"strong_share":0.250,"budget":{"usd":200.10,"per":"month"},"limits":{"rpm":"1_000"},"projects":{"p":{"budget":[{"usd":"5","per":"day"}]},"q":{}}}"#
        );
        let (again, _) = config().read_tenant("t", "t", written.definition.as_bytes()).unwrap();
        assert_eq!((again.config, again.definition), (written.config, written.definition));
    }

    #[test]
    fn json_may_be_laid_out_by_tabs() {
        let json = "{\n\t\"pool\": [\n\t\t\"a\"\n\t],\n\t\"budget\": {\"usd\": 1, \"per\": \"day\"}\n}\n";
        config().read_tenant("t", "t", json.as_bytes()).unwrap();
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_a_hint() {
        for (text, said) in [
            (r#"{"pool":["c"]}"#, "t:1:10: error: pool[0]: no model `c`"),
            (r#"{"pool":["a"],"default_rote":"auto"}"#, "did you mean `default_route`?"),
            (r#"{"pool":["a"],"routes":["none"]}"#, "routes[0]: no route `none`"),
            (
                r#"{"pool":["a"],"keys":[{"key":"x"}]}"#,
                "keys: only a tenant of the configuration's file has this; its keys are made beside it",
            ),
            (r#"{"pool":["a"],"open":true}"#, "open: only a tenant"),
            (r#"{"pool":["a"],"projects":{"p":{"keys":[]}}}"#, "projects.p.keys: only a tenant"),
            (r#"{"pool":["a"],"projects":{"a b":{}}}"#, "is no name"),
            (r#"{"pool":["${HOME}"]}"#, "HOME"),
            ("[]", "expects a mapping with `pool`"),
            ("null", "is empty; it needs `pool`"),
            ("", "is empty"),
            ("{", "not valid YAML"),
            ("{}", "lacks `pool`"),
        ] {
            let found = config().read_tenant("t", "t", text.as_bytes()).unwrap_err().to_string();
            assert!(found.contains(said), "{text}: {found}");
        }
    }

    #[test]
    fn many_tenants_in_a_file() {
        let (read, _) = config().read_tenants("many.yaml", b"a: {pool: [a]}\nb: {pool: [x/b]}\n").unwrap();
        assert_eq!(read.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        let found = config().read_tenants("many.yaml", b"a: {pool: [a]}\nb: {pool: [c]}\n").unwrap_err();
        assert!(found.to_string().starts_with("many.yaml:2:12: error: b.pool[0]: no model `c`"), "{found}");
    }
}
