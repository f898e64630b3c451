use proptest::prelude::*;

use super::*;
use crate::config::{Input, Loaded};

/// Scalars as people write them, right and wrong.
fn scalar() -> impl Strategy<Value = String> {
    const WRITTEN: &[&str] = &[
        "1",
        "0.250",
        ".5",
        "+1",
        "1_000",
        "1e2",
        "0x10",
        "true",
        "~",
        "null",
        "''",
        "'1'",
        "\"\\u0061\"",
        "a",
        "'*'",
        "x/*",
        "auto",
        "other",
        "day",
        "'a: b'",
        "\"\\n\"",
        "é",
        "&k a",
        "*k",
        "!t a",
        "|\n  a",
        "-",
    ];
    prop_oneof![8 => proptest::sample::select(WRITTEN).prop_map(str::to_owned), 1 => "\\PC{0,6}"]
}

fn definition() -> impl Strategy<Value = String> {
    let one = scalar().boxed();
    let list = proptest::collection::vec(scalar(), 0..3).prop_map(|items| format!("[{}]", items.join(", ")));
    let budget = (scalar(), scalar()).prop_map(|(usd, per)| format!("{{usd: {usd}, per: {per}}}")).boxed();
    let project =
        (scalar(), budget.clone()).prop_map(|(name, budget)| format!("{{{name}: {{budget: {budget}}}}}"));
    let limits = scalar().prop_map(|rpm| format!("{{rpm: {rpm}}}"));
    let value = prop_oneof![one, list.boxed(), budget, project.boxed(), limits.boxed()];
    const KEYS: &[&str] =
        &["pool", "routes", "default_route", "strong_share", "budget", "projects", "limits", "default_model"];
    let key = proptest::sample::select(KEYS);
    let fields = proptest::collection::vec((key, value), 0..4);
    fields.prop_map(|fields| {
        let rest: String = fields.into_iter().map(|(key, value)| format!("{key}: {value}\n")).collect();
        format!("pool: [a]\n{rest}")
    })
}

proptest! {
    #[test]
    fn what_can_be_read_reads_the_same_from_its_json(text in definition()) {
        if let Ok((written, _)) = config().read_tenant("t", "t", text.as_bytes()) {
            let json: serde_json::Value = serde_json::from_str(&written.definition).unwrap();
            prop_assert!(json.is_object());
            let (again, _) = config().read_tenant("t", "t", written.definition.as_bytes()).unwrap();
            prop_assert_eq!((again.config, again.definition), (written.config, written.definition));
        }
    }

    #[test]
    fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let config = config();
        let _ = config.read_tenant("t", "t", &bytes);
        let _ = config.read_tenants("t", &bytes);
    }
}

fn config() -> Config {
    let yaml = "models: {a: {}, x/b: {}}\nroutes: {auto: {models: [a, x/b]}, other: {models: [a]}}\ntenants: {f: {keys: [{key: k}], pool: [a]}}\n";
    let input =
        Input { name: "c.yaml", bytes: yaml.as_bytes(), directory: Path::new(""), environment: &|_| None };
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
