//! `pointsman models`: what routers are made of.

mod pull;

use clap::{Args, Subcommand};

use super::output::Failure;

/// Fetch encoders
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Pull(pull::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.what {
        What::Pull(arguments) => pull::run(arguments),
    }
}
