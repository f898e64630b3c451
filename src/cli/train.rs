//! `pointsman train`: routers from data.

mod mf;

use clap::{Args, Subcommand};

use super::output::Failure;

/// Train a router
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    router: Router,
}

#[derive(Debug, Subcommand)]
enum Router {
    Mf(mf::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.router {
        Router::Mf(arguments) => mf::run(arguments),
    }
}
