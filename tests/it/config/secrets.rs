//! Secrets come from where they should and go nowhere.

use std::fs;

use pointsman::config::{Config, KeyConfig, KeyDigest};
use pointsman::secret::Secret;

use super::{accept, parse, parse_in};

const CONFIG: &str = r#"
models:
  gpt: {api_key: "${OPENAI_API_KEY}", headers: {x-key: "${OPENAI_API_KEY}"}, query: {key: "${OPENAI_API_KEY}"}}
tenants:
  ci: {keys: [{key: "${CI_KEY}"}], pool: [gpt]}
"#;

fn model<'a>(config: &'a Config, name: &str) -> &'a pointsman::config::ModelConfig {
    &config.models[name]
}

#[test]
fn variables_reach_their_fields() {
    let config = accept(CONFIG);
    let gpt = model(&config, "gpt");
    assert_eq!(gpt.api_key.as_ref().map(Secret::expose), Some("sk-very-secret-upstream-key"));
    assert_eq!(gpt.headers[0].1, "sk-very-secret-upstream-key");
    assert_eq!(gpt.query.as_ref().map(Secret::expose), Some("key=sk-very-secret-upstream-key"));
    assert_eq!(config.tenants["ci"].keys, [KeyConfig::new(KeyDigest::of("very-secret-tenant-key"))]);
}

#[test]
fn debug_shows_none() {
    let config = accept(CONFIG);
    for shown in [format!("{config:?}"), format!("{config:#?}")] {
        assert!(!shown.contains("very-secret"), "{shown}");
    }
    let secret = Secret::new("very-secret");
    assert_eq!(format!("{secret} {secret:?}"), "[redacted] Secret([redacted])");
}

#[test]
fn files_are_read_beside_the_configuration() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("relative"), "one\r\n").unwrap();
    let absolute = directory.path().join("absolute");
    fs::write(&absolute, "two").unwrap();
    let text = format!(
        "models:\n  a: {{api_key: file:relative}}\n  b: {{api_key: 'file:{}'}}\ntenants:\n  t: {{open: true, pool: [a, b]}}\n",
        absolute.display()
    );
    let config = parse_in(directory.path(), text.as_bytes()).unwrap().config;
    assert_eq!(model(&config, "a").api_key, Some(Secret::new("one")));
    assert_eq!(model(&config, "b").api_key, Some(Secret::new("two")));
}

#[test]
fn a_file_that_cannot_be_one() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("long"), "x".repeat(100_000)).unwrap();
    fs::write(directory.path().join("empty"), "\n").unwrap();
    fs::write(directory.path().join("lines"), "one\ntwo\n").unwrap();
    let error = |name: &str| {
        let text =
            format!("models:\n  a: {{api_key: file:{name}}}\ntenants:\n  t: {{open: true, pool: [a]}}\n");
        let found = parse_in(directory.path(), text.as_bytes()).unwrap_err().to_string();
        assert!(found.starts_with("config.yaml:2:16: error: models.a.api_key: "), "{found}");
        found
    };
    assert!(error("long").contains("it is too long"));
    assert!(error("empty").contains("is empty: expects a key"));
    assert!(error("lines").contains("a header cannot carry"));
    assert!(error("absent").contains("`file:absent` cannot be read"));
}

/// Wherever a secret is put by mistake, what is shown is what was written: the variable's name.
#[test]
fn no_error_shows_the_value_of_a_variable() {
    let places = [
        "listen: '${CI_KEY}'",
        "server: {max_body_bytes: '${CI_KEY}', header_timeout: '${CI_KEY}', max_connections: '${CI_KEY}'}",
        "models: {m: {base_url: '${CI_KEY}', elo: '${CI_KEY}', price: {input: '${CI_KEY}', output: '${CI_KEY}'}}}",
        "models: {m: {base_url: 'https://${CI_KEY}@host', auth_header: '${CI_KEY} x', features: ['${CI_KEY}']}}",
        "models: {m: {api_key: 'file:${CI_KEY}', usage: '${CI_KEY}', http2: '${CI_KEY}'}}",
        "routes: {r: {router: '${CI_KEY}', threshold: '${CI_KEY}', timeout: '${CI_KEY}'}, s: {models: ['${CI_KEY}']}}",
        "models: {m: {}}\ntenants: {t: {keys: [{hash: '${CI_KEY}'}, {key: '${CI_KEY} '}], pool: ['${CI_KEY}'], \
         default_route: '${CI_KEY}', default_model: '${CI_KEY}'}}",
        "models: {m: {}}\nredis: '${CI_KEY}'\non_store_loss: '${CI_KEY}'",
        "models: {m: {}}\nredis: 'redis://:p@host:${CI_KEY}/0'\non_store_loss: 'allow(${CI_KEY})'",
        "a: &a '${CI_KEY}'\n*a : 1\n",
        "models: {? &a '${CI_KEY}' : {}, *a : {}}",
    ];
    for text in places {
        let found = parse(text).unwrap_err();
        assert!(found.has_errors());
        let (text, json) =
            (found.to_string(), serde_json::to_string(&found.errors().collect::<Vec<_>>()).unwrap());
        assert!(!text.contains("very-secret") && !json.contains("very-secret"), "{text}");
    }
}

/// A key pasted where its hash belongs is not repeated, although no variable hides it.
#[test]
fn no_error_shows_a_key_in_the_clear() {
    let text = "models: {m: {base_url: 'https://u:very-secret@host'}}\n\
                tenants: {t: {keys: [{hash: very-secret}, {key: 'very-secret key'}], pool: [m]}}\n";
    let found = parse(text).unwrap_err().to_string();
    assert_eq!(found.lines().count(), 3, "{found}");
    assert!(!found.contains("very-secret"), "{found}");
}
