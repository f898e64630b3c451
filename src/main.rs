//! The command line of pointsman.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
