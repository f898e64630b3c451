//! `tenants`: applied, listed, shown and deleted from the command line.

use serde_json::{Value, json};

use super::{run, status, stderr, stdout};

const CONFIG: &str = "models: {a: {}, b: {}}
routes: {auto: {models: [a, b]}, of-b: {models: [b]}}
tenants: {f: {keys: [{key: x}], pool: [a]}}
";

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        place.write("config.yaml", CONFIG);
        place
    }

    fn write(&self, name: &str, text: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn run(&self, arguments: &[&str]) -> std::process::Output {
        let config = self.folder.path().join("config.yaml");
        run(&[arguments, &["--config", config.to_str().unwrap()]].concat())
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--format", "json"]].concat());
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

#[test]
fn tenants_have_a_life() {
    let place = Place::new();
    let file = place.write(
        "tenants.yaml",
        "s: {pool: [a], projects: {p: {}}}\nt: {pool: ['*'], budget: {usd: 0.50, per: day}}\n",
    );
    let applied = place.json(&["tenants", "apply", &file]);
    assert_eq!(applied, json!([{"name": "s", "new": true}, {"name": "t", "new": true}]));
    assert_eq!(stdout(&place.run(&["tenants", "apply", &file])), "s: changed\nt: changed\n");
    let shown = place.json(&["tenants", "show", "t"]);
    assert_eq!((&shown["in_force"], &shown["why"]), (&json!(true), &Value::Null));
    assert_eq!(shown["definition"], json!({"pool": ["*"], "budget": {"usd": 0.50, "per": "day"}}));
    assert!(stdout(&place.run(&["tenants", "show", "t"])).contains("\"pool\": ["));
    let listed = place.json(&["tenants", "list"]);
    let names: Vec<(&str, &str)> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["source"].as_str().unwrap()))
        .collect();
    assert_eq!(names, [("f", "file"), ("s", "store"), ("t", "store")]);

    let key = place.json(&["keys", "create", "--tenant", "s", "--project", "p"]);
    assert_eq!(key["project"], "p");
    place.json(&["tenants", "delete", "s"]);
    assert_eq!(place.json(&["keys", "list"]), json!([]), "its keys end with it");

    // A model that a tenant needs goes.
    place.write("config.yaml", &CONFIG.replace("b: {}", "c: {}").replace("b]", "c]"));
    let file = place.write("more.yaml", "u: {pool: [c]}\n");
    place.json(&["tenants", "apply", &file]);
    place.write("config.yaml", CONFIG);
    let table = stdout(&place.run(&["tenants", "list"]));
    assert!(table.lines().any(|line| line.starts_with("u") && line.contains("no ")), "{table}");
    let output = place.run(&["tenants", "show", "u"]);
    assert!(
        stderr(&output).contains("u is not in force: u:1:10: error: pool[0]: no model `c`"),
        "{output:?}"
    );
}

#[test]
fn what_is_wrong_is_said() {
    let place = Place::new();
    for (text, said) in [
        ("s: {pool: [a]}\nt: {pool: [c]}\n", "tenants.yaml:2:12: error: t.pool[0]: no model `c`"),
        ("t: {pool: [a], keys: [{key: k}]}\n", "`pointsman keys create`"),
        ("t: {pool: [a], default_route: of-b}\n", "the default route has no model of the pool"),
        ("f: {pool: [a]}\n", "f: the configuration's file has a tenant of this name"),
        ("{}", "is empty"),
        ("", "is empty"),
    ] {
        let file = place.write("tenants.yaml", text);
        let output = place.run(&["tenants", "apply", &file]);
        assert_eq!(status(&output), 1, "{text}");
        assert!(stderr(&output).contains(said), "{text}: {}", stderr(&output));
    }
    assert_eq!(place.json(&["tenants", "list"]).as_array().unwrap().len(), 1, "nothing was put");
    for (arguments, said) in [
        (&["tenants", "apply", "/none.yaml"][..], "cannot read /none.yaml"),
        (&["tenants", "delete", "f"], "it is the configuration's"),
        (&["tenants", "show", "x"], "there is no tenant `x`"),
        (&["keys", "create", "--tenant", "x"], "there are: f"),
    ] {
        let output = place.run(arguments);
        assert_eq!(status(&output), 1);
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}
