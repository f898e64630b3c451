//! `pointsman check-config`: everything that is wrong with a configuration, before it is served.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use pointsman::config::{Config, Diagnostic, Diagnostics};
use pointsman::gateway::{self, StartError};
use serde::Serialize;

use super::Format;
use super::output::{Failure, count};

/// Check a configuration file and show everything that is wrong with it
///
/// Every finding comes with its line and column, the field, and what to do about it. Variables (`${NAME}`) and
/// files that the configuration refers to must be there. Nothing is started and nobody is called.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman check-config config.yaml
  pointsman check-config config.yaml --format json | jq '.errors[].path'

Exit status: 0 when the configuration can be served, 1 when not.")]
pub(super) struct Arguments {
    /// The configuration, a YAML file
    file: PathBuf,

    /// How the findings are written to stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What a program reads.
#[derive(Serialize)]
struct Findings<'a> {
    file: String,
    valid: bool,
    errors: Vec<&'a Diagnostic>,
    warnings: Vec<&'a Diagnostic>,
    /// How many findings there are besides.
    omitted: usize,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (config, found) = load(&arguments.file)?;
    let mut stdout = io::stdout().lock();
    match arguments.format {
        Format::Text => write_text(&mut stdout, &arguments.file, config.as_ref(), &found)?,
        Format::Json => write_json(&mut stdout, &arguments.file, &found)?,
    }
    if found.has_errors() { Err(Failure::Shown) } else { Ok(()) }
}

/// Reads the file, and holds what it says against artefacts, keys and certificates.
fn load(file: &Path) -> Result<(Option<Config>, Diagnostics), Failure> {
    let loaded = match Config::load(file) {
        Ok(loaded) => loaded,
        Err(found) => return Ok((None, found)),
    };
    let mut found = loaded.warnings;
    match gateway::check(&loaded.config) {
        Ok(warnings) => {
            found.extend(warnings);
            Ok((Some(loaded.config), found))
        }
        Err(StartError::Config(errors)) => {
            found.extend(errors);
            Ok((None, found))
        }
        Err(error) => Err(Failure::Because(format!("{}: {error}", file.display()))),
    }
}

fn write_text(
    out: &mut impl Write,
    file: &Path,
    config: Option<&Config>,
    found: &Diagnostics,
) -> io::Result<()> {
    write!(out, "{found}")?;
    let (errors, warnings) = (found.errors().count(), found.warnings().count());
    let file = file.display();
    match config {
        Some(config) => {
            let (models, routes, tenants) = (config.models.len(), config.routes.len(), config.tenants.len());
            let (models, routes) = (count(models, "model"), count(routes, "route"));
            let tenants = count(tenants, "tenant");
            writeln!(out, "{file}: valid: {models}, {routes}, {tenants}; {}", count(warnings, "warning"))
        }
        None => {
            let errors = count(errors + found.omitted(), "error");
            writeln!(out, "{file}: not valid: {errors}, {}", count(warnings, "warning"))
        }
    }
}

fn write_json(out: &mut impl Write, file: &Path, found: &Diagnostics) -> io::Result<()> {
    let findings = Findings {
        file: file.display().to_string(),
        valid: !found.has_errors(),
        errors: found.errors().collect(),
        warnings: found.warnings().collect(),
        omitted: found.omitted(),
    };
    serde_json::to_writer(&mut *out, &findings)?;
    writeln!(out)
}
