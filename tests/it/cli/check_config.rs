//! `check-config`.

use std::fs;

use serde_json::Value;

use super::{program, run, status, stderr, stdout};

const VALID: &str = "models: {a: {price: {input: 2000, output: 1}, rated_as: gpt-4-0613}}\ntenants: {t: {keys: [{key: '${CI_KEY}'}], pool: [a]}}\n";

fn written(text: &str) -> (tempfile::TempDir, String) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.yaml");
    fs::write(&file, text).unwrap();
    (directory, file.to_str().unwrap().to_owned())
}

#[test]
fn a_valid_file() {
    let (_directory, file) = written(VALID);
    let output = run(&["check-config", &file]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let said = stdout(&output);
    let lines: Vec<&str> = said.lines().collect();
    let warning = format!("{file}:1:29: warning: models.a.price.input: is more than any model costs; ");
    assert!(lines[0].starts_with(&warning), "{said}");
    assert_eq!(lines.last(), Some(&&*format!("{file}: valid: 1 model, 1 route, 1 tenant; 1 warning")));
    assert!(!said.contains("very-secret"));
}

#[test]
fn a_broken_file() {
    let output = run(&["check-config", "tests/fixtures/config/broken.yaml"]);
    assert_eq!((status(&output), stderr(&output)), (1, String::new()));
    let said = stdout(&output);
    assert!(said.contains("tests/fixtures/config/broken.yaml:2:9: error: listen: "), "{said}");
    assert!(said.trim_end().ends_with(" errors, 2 warnings"), "{said}");
    assert!(!said.contains("very-secret"));
}

#[test]
fn for_programs() {
    let output = run(&["check-config", "tests/fixtures/config/broken.yaml", "--format", "json"]);
    assert_eq!((status(&output), stderr(&output)), (1, String::new()));
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(findings["valid"], false);
    assert_eq!(findings["errors"][0]["path"], "listen");
    assert_eq!(findings["errors"][0]["line"], 2);
    assert_eq!(findings["warnings"].as_array().unwrap().len(), 2);

    let (_directory, file) = written(VALID);
    let output = run(&["check-config", &file, "--format", "json"]);
    assert_eq!(status(&output), 0);
    let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&findings["valid"], &findings["file"]), (&Value::Bool(true), &Value::String(file)));
    assert_eq!(findings["errors"], Value::Array(Vec::new()));
}

#[test]
fn no_file() {
    let output = run(&["check-config", "no/such.yaml"]);
    assert_eq!(status(&output), 1);
    assert!(stdout(&output).starts_with("no/such.yaml: error: cannot be read: "), "{}", stdout(&output));
}

/// The names in `${NAME}`.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let names = text.split("${").skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name));
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
}

/// Not only well-formed: held against the artefacts, without so much as a warning that is not meant to be there.
#[test]
fn the_samples() {
    let mut checked = 0;
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/config")).unwrap() {
        let file = entry.unwrap().path();
        let mut command = program(&["check-config", file.to_str().unwrap(), "--format", "json"]);
        for name in variables(&fs::read_to_string(&file).unwrap()) {
            command.env(name, "placeholder");
        }
        let output = command.output().unwrap();
        let findings: Value = serde_json::from_slice(&output.stdout).unwrap();
        // Compose's Redis is on a network of its own, without TLS.
        let warnings = usize::from(file.ends_with("pointsman-compose.yaml"));
        let found = findings["warnings"].as_array().unwrap().len();
        assert_eq!((status(&output), found), (0, warnings), "{findings:#}");
        checked += 1;
    }
    assert!(checked >= 3, "only {checked} samples");
}
