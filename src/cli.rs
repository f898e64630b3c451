//! The command line: which commands there are, and what their ends mean to a script.
//!
//! Commands parse their arguments, call the library and show what it returned; they decide nothing themselves.
//! Results go to stdout, everything else to stderr. Exit status: 0 when done, 1 when it failed, 2 when the command
//! line was wrong.

mod artifact;
mod calibrate;
mod check_config;
mod data;
mod database;
mod demo;
mod distill;
mod embedding;
mod encoder;
mod eval;
mod files;
mod health;
mod keys;
mod ledger;
mod logging;
mod models;
mod output;
mod parse;
mod prices;
mod progress;
mod prompts;
mod rate;
mod route;
mod serve;
mod tenants;
mod train;
mod usage;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use self::logging::LogFormat;

/// An OpenAI-compatible gateway that lets a learned router choose which model answers each chat request
#[derive(Debug, Parser)]
#[command(name = "pointsman", version, max_term_width = 100)]
struct Cli {
    /// How log lines are written to stderr; RUST_LOG says which, such as `RUST_LOG=pointsman=debug`
    #[arg(
        long,
        global = true,
        help_heading = "Global options",
        value_enum,
        default_value_t = LogFormat::Text,
        value_name = "FORMAT"
    )]
    log_format: LogFormat,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Arguments),
    Demo(demo::Arguments),
    CheckConfig(check_config::Arguments),
    Route(route::Arguments),
    Rate(rate::Arguments),
    Calibrate(calibrate::Arguments),
    Train(train::Arguments),
    Eval(eval::Arguments),
    Distill(distill::Arguments),
    Models(models::Arguments),
    Keys(keys::Arguments),
    Tenants(tenants::Arguments),
    Usage(usage::Arguments),
    Ledger(ledger::Arguments),
    Health(health::Arguments),
}

/// How a result is written to stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Parses the process's arguments and runs the command.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors: they go to stdout with status 0.
            let status = if error.use_stderr() { output::USAGE } else { 0 };
            return match error.print() {
                Ok(()) => ExitCode::from(status),
                Err(_) => ExitCode::FAILURE,
            };
        }
    };
    logging::start(cli.log_format);
    let done = match cli.command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::CheckConfig(arguments) => check_config::run(&arguments),
        Command::Route(arguments) => route::run(&arguments),
        Command::Rate(arguments) => rate::run(&arguments),
        Command::Calibrate(arguments) => calibrate::run(&arguments),
        Command::Train(arguments) => train::run(&arguments),
        Command::Eval(arguments) => eval::run(&arguments),
        Command::Distill(arguments) => distill::run(&arguments),
        Command::Models(arguments) => models::run(&arguments),
        Command::Keys(arguments) => keys::run(&arguments),
        Command::Tenants(arguments) => tenants::run(&arguments),
        Command::Usage(arguments) => usage::run(&arguments),
        Command::Ledger(arguments) => ledger::run(&arguments),
        Command::Health(arguments) => health::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.show(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
