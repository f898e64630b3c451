//! `pointsman train`: routers from data.
//!
//! A kind of router is a file here: its options beside those that all kinds share, and the recipe that they make.

mod bert;
mod blend;
mod common;
mod kmeans;
mod knn;
mod mf;
mod show;
mod sw;

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
    Bert(bert::Arguments),
    Blend(blend::Arguments),
    Kmeans(kmeans::Arguments),
    Knn(knn::Arguments),
    Mf(mf::Arguments),
    Sw(sw::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    common::run(match &arguments.kind {
        Kind::Bert(arguments) => arguments,
        Kind::Blend(arguments) => arguments,
        Kind::Kmeans(arguments) => arguments,
        Kind::Knn(arguments) => arguments,
        Kind::Mf(arguments) => arguments,
        Kind::Sw(arguments) => arguments,
    })
}
