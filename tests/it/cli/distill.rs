//! `distill`, as far as it goes without an encoder; the distillation itself is tested where it is.

use super::{run, status, stderr, stdout};

#[test]
fn what_is_missing_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let encoder = directory.path().to_str().unwrap();
    let out = directory.path().join("out");
    let output = run(&["distill", "--encoder", encoder, "--out", out.to_str().unwrap()]);
    assert_eq!((status(&output), stdout(&output)), (1, String::new()));
    assert!(stderr(&output).contains(&format!("{encoder}/config.json: ")), "{}", stderr(&output));
    assert!(!out.exists());
}
