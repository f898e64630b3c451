//! `keys`: made, listed, rotated and revoked from the command line.

use serde_json::Value;

use super::{run, status, stderr, stdout};

const CONFIG: &str = "models: {a: {}}
tenants: {t: {keys: [{key: x}], pool: [a], projects: {p: {keys: [{key: y}]}}}}
";

#[test]
fn keys_have_a_life() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let config = file.to_str().unwrap();
    let json = |arguments: &[&str]| -> Value {
        let output = run(&[&["keys"], arguments, &["--config", config, "--format", "json"]].concat());
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let made = json(&[
        "create",
        "--tenant",
        "t",
        "--project",
        "p",
        "--name",
        "ci",
        "--expires",
        "2040-01-01",
        "--budget",
        "5/day",
    ]);
    assert_eq!(made["budget"], serde_json::json!([{"usd": "5.00", "per": "day"}]));
    assert_eq!(made["expires"], "2040-01-01T00:00:00Z");
    let id = made["id"].as_str().unwrap();
    let next = json(&["rotate", id, "--overlap", "0s"]);
    assert_ne!(made["key"], next["key"]);
    assert_eq!(json(&["list", "--tenant", "t"]).as_array().unwrap().len(), 2);
    json(&["revoke", id]);
    let listed = json(&["list"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], next["id"]);
    assert!(!listed.to_string().contains(next["key"].as_str().unwrap()));

    let output = run(&["keys", "create", "--config", config, "--tenant", "t"]);
    assert!(stdout(&output).starts_with("pm-") && stderr(&output).contains("this once"), "{output:?}");
    let table = stdout(&run(&["keys", "list", "--config", config]));
    assert!(table.lines().count() == 3 && table.contains("never"), "{table}");
}

#[test]
fn what_is_wrong_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, CONFIG).unwrap();
    let config = file.to_str().unwrap();
    for (arguments, expected, said) in [
        (&["create", "--tenant", "x"][..], 1, "there are: t"),
        (&["create", "--tenant", "t", "--project", "q"], 1, "has no project `q`: p"),
        (&["create", "--tenant", "t", "--name", "a b"], 1, "is no name"),
        (&["create", "--tenant", "t", "--budget", "5"], 2, "5/day"),
        (
            &["create", "--tenant", "t", "--budget", "5/day", "--budget", "6/day"],
            2,
            "one budget for each period",
        ),
        (&["create", "--tenant", "t", "--expires", "soon"], 2, "2030-01-31"),
        (&["rotate", "none"], 1, "there is no key `none`"),
        (&["rotate", "none", "--overlap", "5 parsecs"], 2, "24h"),
        (&["revoke", "none"], 1, "there is no key `none`"),
    ] {
        let output = run(&[&["keys"], arguments, &["--config", config]].concat());
        assert_eq!(status(&output), expected, "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{arguments:?}: {}", stderr(&output));
    }
    std::fs::write(&file, format!("database: none\n{CONFIG}")).unwrap();
    let output = run(&["keys", "list", "--config", config]);
    assert!(stderr(&output).contains("database: none"), "{}", stderr(&output));
}
