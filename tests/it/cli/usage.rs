//! Help, version and wrong command lines.

use super::{run, status, stderr, stdout};

#[test]
fn help_goes_to_stdout() {
    for arguments in [&["--help"][..], &["help"], &["check-config", "--help"]] {
        let output = run(arguments);
        assert_eq!(status(&output), 0, "{arguments:?}");
        assert!(stdout(&output).contains("Usage: pointsman"), "{arguments:?}");
        assert_eq!(stderr(&output), "");
    }
    let version = run(&["--version"]);
    assert_eq!(
        (status(&version), stdout(&version)),
        (0, format!("pointsman {}\n", env!("CARGO_PKG_VERSION")))
    );
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in
        [&[][..], &["fly"], &["check-config"], &["check-config", "x", "--format", "xml"], &["--nope"]]
    {
        let output = run(arguments);
        assert_eq!(status(&output), 2, "{arguments:?}");
        assert_eq!(stdout(&output), "", "{arguments:?}");
        assert!(stderr(&output).contains("--help"), "{arguments:?}: {}", stderr(&output));
    }
}
