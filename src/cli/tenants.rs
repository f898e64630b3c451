//! `pointsman tenants`: tenants managed while the gateway runs, beside those of the configuration's file.

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use pointsman::{
    budget::Budgets,
    config::Config,
    gateway,
    snapshot::{Managed, Misfit, Snapshot},
    store::KeyStore,
};
use serde_json::{Value, json};

use super::{
    Format,
    keys::{Place, moment, open},
    output::Failure,
};

/// List, show, apply and delete tenants
///
/// Tenants are kept in the gateway's database, beside those that the configuration lists. A running gateway, this one's or
/// another's on the same database, takes notice within a second: nothing needs to be reloaded. `pointsman keys create` makes
/// their keys.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman tenants apply --config config.yaml tenants.yaml    # NAME: {pool: [gpt-4o], budget: {usd: 200, per: month}}
  pointsman tenants list --config config.yaml --format json
  pointsman tenants show --config config.yaml NAME
  pointsman tenants delete --config config.yaml NAME")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the tenants, those of the configuration among them
    List(List),
    /// Show a tenant of the database, as JSON
    Show(Named),
    /// Put the tenants of a file in the place of those of the same names, all of them or none
    Apply(Apply),
    /// Delete a tenant of the database, and end its keys
    Delete(Named),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Named {
    #[command(flatten)]
    place: Place,
    /// The tenant's name
    name: String,
}

#[derive(Debug, Args)]
struct Apply {
    #[command(flatten)]
    place: Place,
    /// YAML or JSON: names, and for each what the configuration's `tenants` would say of it, but for keys
    file: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Command::List(List { place }) => list(place),
        Command::Show(Named { place, name }) => show(place, name),
        Command::Apply(Apply { place, file }) => apply(place, file),
        Command::Delete(Named { place, name }) => delete(place, name),
    }
}

/// What a gateway with this configuration and database would have in force.
fn in_force(config: &Config, store: &KeyStore) -> Result<Snapshot, Failure> {
    let tenants = store.tenants().map_err(Failure::because)?;
    let budgets = Budgets::default();
    let (snapshot, _) = gateway::snapshot(config).map_err(Failure::because)?;
    Ok(snapshot.with_stored(&tenants, &[], &budgets))
}

fn shown(managed: &Managed) -> Value {
    let Managed { stored, state } = managed;
    json!({
        "name": stored.name,
        "source": "store",
        "in_force": state.is_ok(),
        "why": state.as_ref().err().map(|why| why.to_string()),
        "created": moment(stored.created),
        "changed": moment(stored.changed),
        "definition": serde_json::from_str::<Value>(&stored.definition).ok(),
    })
}

fn list(place: &Place) -> Result<(), Failure> {
    let (config, store) = open(place)?;
    let snapshot = in_force(&config, &store)?;
    let mut stdout = io::stdout().lock();
    if place.format == Format::Json {
        let of_file = |name: &String| json!({"name": name, "source": "file", "in_force": true});
        let all: Vec<Value> =
            config.tenants.keys().map(of_file).chain(snapshot.managed().values().map(shown)).collect();
        writeln!(stdout, "{}", json!(all))?;
        return Ok(());
    }
    let names = config.tenants.keys().chain(snapshot.managed().keys());
    let width = names.map(String::len).max().unwrap_or(0).max(4);
    writeln!(stdout, "{:width$}  {:6}  {:8}  changed", "name", "source", "in force")?;
    for name in config.tenants.keys() {
        writeln!(stdout, "{name:width$}  {:6}  {:8}", "file", "yes")?;
    }
    for (name, Managed { stored, state }) in snapshot.managed() {
        let in_force = if state.is_ok() { "yes" } else { "no" };
        writeln!(stdout, "{name:width$}  {:6}  {in_force:8}  {}", "store", moment(stored.changed))?;
    }
    Ok(())
}

fn show(place: &Place, name: &str) -> Result<(), Failure> {
    let (config, store) = open(place)?;
    let snapshot = in_force(&config, &store)?;
    let Some(managed) = snapshot.managed().get(name) else { return Err(unknown(&config, name)) };
    let mut stdout = io::stdout().lock();
    match place.format {
        Format::Json => writeln!(stdout, "{}", shown(managed))?,
        Format::Text => {
            let definition: Value = serde_json::from_str(&managed.stored.definition).unwrap_or_default();
            writeln!(stdout, "{definition:#}")?;
            if let Err(why) = &managed.state {
                eprintln!("{name} is not in force: {why}");
            }
        }
    }
    Ok(())
}

fn unknown(config: &Config, name: &str) -> Failure {
    Failure::Because(if config.tenants.contains_key(name) {
        format!("tenant `{name}` is not in the database: it is the configuration's")
    } else {
        format!("there is no tenant `{name}` in the database")
    })
}

fn apply(place: &Place, file: &PathBuf) -> Result<(), Failure> {
    let (config, store) = open(place)?;
    let shown = file.display();
    let not_valid = |why: &dyn std::fmt::Display| Failure::Because(format!("{shown} is not valid:\n{why}"));
    let bytes = fs::read(file).map_err(|error| Failure::Because(format!("cannot read {shown}: {error}")))?;
    let read = config.read_tenants(&shown.to_string(), &bytes);
    let (tenants, warnings) = read.map_err(|found| not_valid(&found))?;
    for warning in warnings.warnings() {
        tracing::warn!("{warning}");
    }
    let (snapshot, _) = gateway::snapshot(&config).map_err(Failure::because)?;
    for (name, tenant) in &tenants {
        snapshot.built(name, tenant).map_err(|why| match why {
            Misfit::OfFile => Failure::Because(format!("{name}: {why}")),
            Misfit::Invalid(found) => not_valid(&found),
        })?;
    }
    let puts: Vec<(&str, &str)> =
        tenants.iter().map(|(name, tenant)| (name.as_str(), tenant.definition.as_str())).collect();
    let new = store.put_tenants(&puts).map_err(Failure::because)?;
    let mut stdout = io::stdout().lock();
    match place.format {
        Format::Text => {
            for ((name, _), is_new) in puts.iter().zip(new) {
                writeln!(stdout, "{name}: {}", if is_new { "new" } else { "changed" })?;
            }
        }
        Format::Json => {
            let one = |((name, _), is_new): (&(&str, &str), bool)| json!({"name": name, "new": is_new});
            let all: Vec<Value> = puts.iter().zip(new).map(one).collect();
            writeln!(stdout, "{}", json!(all))?;
        }
    }
    Ok(())
}

fn delete(place: &Place, name: &str) -> Result<(), Failure> {
    let (config, store) = open(place)?;
    // Where the file has one of the same name, the keys are that one's.
    let and_keys = !config.tenants.contains_key(name);
    if !store.delete_tenant(name, and_keys).map_err(Failure::because)? {
        return Err(unknown(&config, name));
    }
    let mut stdout = io::stdout().lock();
    match place.format {
        Format::Text => writeln!(stdout, "deleted: gateways know it within a second")?,
        Format::Json => writeln!(stdout, "{}", json!({"deleted": true}))?,
    }
    Ok(())
}
