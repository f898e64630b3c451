//! `pointsman models`: what routers are made of.

mod add;
mod pull;

use clap::{Args, Subcommand};

use super::output::Failure;

/// Fetch encoders, and give routers models that they have never seen
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Add(add::Arguments),
    Pull(pull::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.what {
        What::Add(arguments) => add::run(arguments),
        What::Pull(arguments) => pull::run(arguments),
    }
}
