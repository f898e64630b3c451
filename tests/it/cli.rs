//! The command line, as a user or a script meets it.

mod check_config;
mod distill;
mod usage;

use std::process::{Command, Output};

/// Runs the program with an environment of its own.
fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pointsman"))
        .args(arguments)
        .env_clear()
        .env("CI_KEY", "very-secret-tenant-key")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}
