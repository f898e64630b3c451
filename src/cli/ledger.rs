//! `pointsman ledger`: what the ledger holds.

mod export;

use clap::{Args, Subcommand};

use super::output::Failure;

/// Write the requests of a ledger down for other programs
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Export(export::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.what {
        What::Export(arguments) => export::run(arguments),
    }
}
