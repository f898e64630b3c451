//! Which ledger a command reads.

use std::path::{Path, PathBuf};

use clap::Args;
use pointsman::{
    config::{Config, Database as Location, DatabaseConfig, PostgresUrl},
    ledger::{
        reader::{ReadError, Reader},
        report::{Filter, parse_day},
    },
    secret::Secret,
};

use super::output::Failure;

/// Where usage is recorded when nobody says where: beside the configuration.
pub(super) const DEFAULT: &str = "pointsman.db";

/// The options that name a ledger.
#[derive(Debug, Args)]
pub(super) struct Database {
    /// The configuration of the gateway whose ledger it is, a YAML file
    #[arg(long, value_name = "FILE", conflicts_with = "database")]
    config: Option<PathBuf>,

    /// The ledger itself: the path of its file, or postgres://… [default: the --config's, or else ./pointsman.db]
    #[arg(long, value_name = "PATH|URL")]
    database: Option<String>,
}

/// The options that choose requests.
#[derive(Debug, Args)]
pub(super) struct Requests {
    /// Only requests of this day and later, in UTC, such as 2026-11-01
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(super) from: Option<i64>,

    /// Only requests before this day
    #[arg(long, value_name = "DATE", value_parser = day)]
    pub(super) to: Option<i64>,

    /// Only requests of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
}

fn day(text: &str) -> Result<i64, String> {
    parse_day(text).map_err(|error| error.to_string())
}

impl Requests {
    pub(super) fn filter(&self) -> Result<Filter, Failure> {
        Filter::new(self.from, self.to, self.tenant.clone()).map_err(|_| {
            Failure::Usage(
                "--from is the first day, --to the day after the last: --from must be before --to".to_owned(),
            )
        })
    }
}

impl Database {
    /// Where it is.
    pub(super) fn location(&self) -> Result<Location, Failure> {
        match (&self.config, &self.database) {
            (_, Some(text)) => named(text),
            (Some(config), None) => configured(config),
            (None, None) => Ok(Location::Sqlite(DEFAULT.into())),
        }
    }

    /// Opens it, for reading.
    pub(super) fn open(&self, location: &Location) -> Result<Reader, Failure> {
        Reader::open(location).map_err(|error| match error {
            ReadError::Missing { .. } if self.config.is_none() && self.database.is_none() => {
                Failure::Because(format!("{error}; --config or --database says where it is"))
            }
            _ => Failure::because(error),
        })
    }
}

/// As a configuration names it, too: `sqlite:pointsman.db`.
fn named(text: &str) -> Result<Location, Failure> {
    if PostgresUrl::is_meant_by(text) {
        PostgresUrl::parse(text).map_err(|why| Failure::Usage(format!("--database: {why}")))?;
        return Ok(Location::Postgres { url: Secret::new(text), spill: PathBuf::new() });
    }
    Ok(Location::Sqlite(text.strip_prefix("sqlite:").unwrap_or(text).into()))
}

fn configured(file: &Path) -> Result<Location, Failure> {
    let loaded = Config::load(file).map_err(|found| {
        let file = file.display();
        Failure::Because(format!("{file} is not valid; --database needs no configuration:\n{found}"))
    })?;
    of(&loaded.config, file)
}

/// The database that the configuration in a file names, or else the one beside it.
pub(super) fn of(config: &Config, file: &Path) -> Result<Location, Failure> {
    match &config.database {
        Some(DatabaseConfig::In(location)) => Ok(location.clone()),
        Some(DatabaseConfig::Off) => {
            Err(Failure::Because(format!("{}: there is no database: `database: none`", file.display())))
        }
        None => Ok(Location::Sqlite(file.with_file_name(DEFAULT))),
    }
}
