//! `pointsman train`: routers from data.
//!
//! A kind of router is a file here: its options beside those that all kinds share, and a function from
//! [`Material`](common::Material) to an artefact.

mod common;
mod mf;
mod show;

use clap::{Args, Subcommand};

use super::output::Failure;

/// Train a router
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    Mf(mf::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.kind {
        Kind::Mf(arguments) => common::run(&arguments.common, |material| mf::train(arguments, material)),
    }
}
