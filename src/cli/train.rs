//! `pointsman train`: routers from data.
//!
//! A kind of router is a file here: its options beside those that all kinds share, and a function from
//! [`Material`](common::Material) to an artefact.

mod bert;
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
    Kmeans(kmeans::Arguments),
    Knn(knn::Arguments),
    Bert(bert::Arguments),
    Mf(mf::Arguments),
    Sw(sw::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.kind {
        Kind::Kmeans(arguments) => {
            common::run(&arguments.common, |material| kmeans::train(arguments, material))
        }
        Kind::Knn(arguments) => common::run(&arguments.common, |material| knn::train(arguments, material)),
        Kind::Bert(arguments) => common::run(&arguments.common, |material| bert::train(arguments, material)),
        Kind::Mf(arguments) => common::run(&arguments.common, |material| mf::train(arguments, material)),
        Kind::Sw(arguments) => common::run(&arguments.common, |material| sw::train(arguments, material)),
    }
}
