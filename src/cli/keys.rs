//! `pointsman keys`: tenants' keys, made and revoked while the gateway runs.

use std::{
    io::{self, Write},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand};
use pointsman::{
    budget::BudgetRule,
    config::{Config, TenantConfig, read_instant},
    store::{KeyStore, NewKey, StoredKey, read_budget},
};
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{Format, database, output::Failure};

/// Make, list, rotate and revoke tenants' keys
///
/// Keys are kept in the gateway's database, as hashes. A running gateway, this one's or another's on the same database, takes
/// notice within a second: nothing needs to be reloaded. Keys that the configuration lists itself are not shown here.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman keys create --config config.yaml --tenant research --name ci --budget 5/day
  pointsman keys list --config config.yaml --format json
  pointsman keys rotate --config config.yaml ID --overlap 1h
  pointsman keys revoke --config config.yaml ID")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a key, and show it this once
    Create(Create),
    /// List the keys, without what is secret of them
    List(List),
    /// Make a key in place of another, which goes on to hold for a while
    Rotate(Rotate),
    /// End a key for good
    Revoke(Revoke),
}

#[derive(Debug, Args)]
pub(super) struct Place {
    /// The gateway's configuration: its `database`, or pointsman.db beside it, is the one
    #[arg(long, value_name = "FILE")]
    pub(super) config: PathBuf,
    /// How the result is written
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub(super) format: Format,
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    place: Place,
    /// The tenant that it stands for
    #[arg(long)]
    tenant: String,
    /// A project of the tenant's
    #[arg(long)]
    project: Option<String>,
    /// What metrics and the ledger call it; by default its first characters
    #[arg(long)]
    name: Option<String>,
    /// It is of no use from then on: 2030-01-31 (from the beginning of that day, in UTC) or 2030-01-31T18:00:00Z
    #[arg(long, value_name = "DATE", value_parser = instant)]
    expires: Option<SystemTime>,
    /// What it may spend, in USD per day, month or in total; may be given for each
    #[arg(long, value_name = "USD/PERIOD", value_parser = budget)]
    budget: Vec<BudgetRule>,
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    place: Place,
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
}

#[derive(Debug, Args)]
struct Rotate {
    #[command(flatten)]
    place: Place,
    /// The key's id, as `list` shows it
    id: String,
    /// How long the old key goes on to hold: 0s, 30m, 24h
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = overlap)]
    overlap: Duration,
}

#[derive(Debug, Args)]
struct Revoke {
    #[command(flatten)]
    place: Place,
    /// The key's id, as `list` shows it
    id: String,
}

fn instant(text: &str) -> Result<SystemTime, String> {
    read_instant(text).ok_or_else(|| "expects a date such as 2030-01-31 or 2030-01-31T18:00:00Z".to_owned())
}

fn budget(text: &str) -> Result<BudgetRule, String> {
    read_budget(text).ok_or_else(|| "expects USD and a period: 5/day, 0.50/month, 100/total".to_owned())
}

fn overlap(text: &str) -> Result<Duration, String> {
    let wrong = || "expects a duration such as 0s, 30m or 24h".to_owned();
    let number = text.trim_end_matches(|character: char| character.is_ascii_alphabetic());
    let seconds = match text.strip_prefix(number) {
        Some("s") => 1,
        Some("m") => 60,
        Some("h") => 3600,
        Some("d") => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::Create(arguments) => create(arguments),
        Command::List(arguments) => list(arguments),
        Command::Rotate(Rotate { place, id, overlap }) => {
            let (_, store) = open(place)?;
            let (made, secret) = store.rotate(id, *overlap).map_err(Failure::because)?;
            show_made(place.format, &made, &secret)
        }
        Command::Revoke(Revoke { place, id }) => {
            let (_, store) = open(place)?;
            store.revoke(id).map_err(Failure::because)?;
            let mut stdout = io::stdout().lock();
            match place.format {
                Format::Text => writeln!(stdout, "revoked: gateways know it within a second")?,
                Format::Json => writeln!(stdout, "{}", json!({"revoked": true}))?,
            }
            Ok(())
        }
    }
}

/// The configuration and its database.
pub(super) fn open(place: &Place) -> Result<(Config, KeyStore), Failure> {
    let file = &place.config;
    let loaded = Config::load(file)
        .map_err(|found| Failure::Because(format!("{} is not valid:\n{found}", file.display())))?;
    let location = database::of(&loaded.config, file)?;
    let store = KeyStore::open(&location).map_err(Failure::because)?;
    Ok((loaded.config, store))
}

/// The projects of a tenant, of the file's or of the database's.
fn projects(config: &Config, store: &KeyStore, tenant: &str) -> Result<Vec<String>, Failure> {
    let names = |known: &TenantConfig| known.projects.keys().cloned().collect();
    if let Some(known) = config.tenants.get(tenant) {
        return Ok(names(known));
    }
    if let Some(stored) = store.tenant(tenant).map_err(Failure::because)? {
        let read = config.read_tenant(tenant, tenant, stored.definition.as_bytes());
        let (known, _) = read.map_err(|found| {
            Failure::Because(format!("tenant `{tenant}` of the database is not in force:\n{found}"))
        })?;
        return Ok(names(&known.config));
    }
    let stored = store.tenants().map_err(Failure::because)?;
    let stored = stored.iter().map(|tenant| tenant.name.as_str());
    let names: Vec<&str> = config.tenants.keys().map(String::as_str).chain(stored).collect();
    Err(Failure::Because(format!("there is no tenant `{tenant}`; there are: {}", names.join(", "))))
}

fn create(arguments: &Create) -> Result<(), Failure> {
    let Create { place, tenant, project, name, expires, budget } = arguments;
    let (config, store) = open(place)?;
    let projects = projects(&config, &store, tenant)?;
    if let Some(project) = project
        && !projects.contains(project)
    {
        let there_are = if projects.is_empty() { "it has none".to_owned() } else { projects.join(", ") };
        return Err(Failure::Because(format!("tenant `{tenant}` has no project `{project}`: {there_are}")));
    }
    if let Some(name) = name.as_ref().filter(|name| !pointsman::config::is_name(name)) {
        return Err(Failure::Because(format!(
            "`{name}` is no name: up to 128 ASCII letters, digits and `-_.:/@+`"
        )));
    }
    if budget
        .iter()
        .enumerate()
        .any(|(place, rule)| budget.iter().take(place).any(|other| other.per == rule.per))
    {
        return Err(Failure::Usage("one budget for each period is enough".to_owned()));
    }
    let new = NewKey {
        tenant: tenant.clone(),
        project: project.clone(),
        name: name.clone(),
        expires: *expires,
        budgets: budget.clone(),
    };
    let (made, secret) = store.create(new).map_err(Failure::because)?;
    show_made(place.format, &made, &secret)
}

fn show_made(format: Format, made: &StoredKey, secret: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match format {
        Format::Text => {
            writeln!(stdout, "{secret}")?;
            eprintln!("id {}: the key is shown this once, and kept as its hash", made.id);
        }
        Format::Json => {
            let mut shown = shown(made);
            if let Some(object) = shown.as_object_mut() {
                object.insert("key".to_owned(), secret.into());
            }
            writeln!(stdout, "{shown}")?;
        }
    }
    Ok(())
}

fn list(arguments: &List) -> Result<(), Failure> {
    let (_, store) = open(&arguments.place)?;
    let keys = store.keys().map_err(Failure::because)?;
    let wanted = |key: &&StoredKey| arguments.tenant.as_ref().is_none_or(|tenant| *tenant == key.tenant);
    let keys: Vec<&StoredKey> = keys.iter().filter(wanted).collect();
    let mut stdout = io::stdout().lock();
    if arguments.place.format == Format::Json {
        let shown: Vec<Value> = keys.into_iter().map(shown).collect();
        writeln!(stdout, "{}", json!(shown))?;
        return Ok(());
    }
    let widths = |of: fn(&StoredKey) -> &str, least: usize| {
        keys.iter().map(|key| of(key).len()).max().unwrap_or(0).max(least)
    };
    let (tenant, name) = (widths(|key| &key.tenant, 6), widths(|key| &key.key.label, 4));
    writeln!(stdout, "{:32}  {:tenant$}  {:name$}  {:11}  expires", "id", "tenant", "name", "key")?;
    for StoredKey { id, tenant: of, prefix, key, .. } in keys {
        let expires = key.expires.map_or_else(|| "never".to_owned(), moment);
        writeln!(stdout, "{id:32}  {of:tenant$}  {:name$}  {prefix:11}  {expires}", key.label)?;
    }
    Ok(())
}

/// A moment as people and JSON have it.
pub(super) fn moment(at: SystemTime) -> String {
    OffsetDateTime::from(at).format(&Rfc3339).unwrap_or_default()
}

fn shown(stored: &StoredKey) -> Value {
    let StoredKey { id, tenant, prefix, created, key } = stored;
    let budget = |rule: &BudgetRule| json!({"usd": rule.limit.to_string(), "per": rule.per.name()});
    json!({
        "id": id,
        "tenant": tenant,
        "project": key.project,
        "name": key.label,
        "prefix": prefix,
        "created": moment(*created),
        "expires": key.expires.map(moment),
        "budget": key.budgets.iter().map(budget).collect::<Vec<_>>(),
    })
}
