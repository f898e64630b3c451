//! The command line, as a user or a script meets it.

mod calibrate;
mod check_config;
mod distill;
mod encoder;
mod eval;
mod health;
mod keys;
mod ledger;
mod models;
mod rate;
mod route;
mod serve;
mod tenants;
mod train;
mod usage;
mod usage_report;

use std::io::Write;
use std::process::{Command, Output, Stdio};

/// The program with an environment of its own.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pointsman"));
    command
        .args(arguments)
        .env_clear()
        .env("CI_KEY", "very-secret-tenant-key")
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Runs the program.
pub(crate) fn run(arguments: &[&str]) -> Output {
    program(arguments).output().unwrap()
}

/// Runs the program, `input` being what it reads from stdin.
fn run_with(arguments: &[&str], input: &str) -> Output {
    let mut child = program(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}
