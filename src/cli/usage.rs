//! `pointsman usage`: what was used and what it cost, by tenant, model, day, project and key.

mod table;

use std::{
    io::{self, Write},
    time::SystemTime,
};

use clap::{Args, ValueEnum};
use pointsman::ledger::{
    export::csv::{Records, plain},
    report::{Dimension, Totals, UsageQuery, UsageReport},
};

use super::{
    database::{Database, Requests},
    output::Failure,
};

/// Groups of a report; more are for a database's own tools.
const GROUPS_MAX: usize = 1_000_000;

/// Show what was used and what it cost, by tenant, model, day, project or key
///
/// Reads the ledger that `pointsman serve` writes, also while it does. Calls count on the day on which their request arrived, in UTC;
/// without --from and --to it is the current month. Money is exact. Estimated calls are those whose tokens no upstream
/// reported.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman usage --config config.yaml
  pointsman usage --config config.yaml --by day --tenant research --from 2026-11-01 --to 2026-12-01
  pointsman usage --database pointsman.db --by tenant,project,key --format csv > november.csv
  pointsman usage --format json | jq '.usage[] | select(.cost_usd > 100) | .tenant'

JSON: {by, from, to, tenant, usage: [{the groups' names, calls, estimated_calls, prompt_tokens, cached_tokens,
completion_tokens, reasoning_tokens, cost_usd, cost_pico_usd}], total: {calls, …}}; cost_usd has all decimals, cost_pico_usd is the
same in whole 10⁻¹² USD. CSV has the same columns; a name that spreadsheets would take for a formula has a ' before it.

Exit status: 0 when shown, 1 when not, 2 for a wrong command line.")]
pub(super) struct Arguments {
    #[command(flatten)]
    database: Database,

    /// What usage is grouped by, of day, tenant, project, key and model; groups are in this order
    #[arg(long, value_name = "A,B,…", default_value = "tenant,model", value_parser = by)]
    by: By,

    #[command(flatten)]
    requests: Requests,

    /// How usage is written to stdout
    #[arg(long, value_enum, default_value_t = ReportFormat::Table)]
    format: ReportFormat,
}

/// What is grouped by, as one value of the command line.
#[derive(Debug, Clone)]
struct By(Vec<Dimension>);

fn by(text: &str) -> Result<By, String> {
    UsageQuery::parse_by(text).map(By).map_err(|error| error.to_string())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ReportFormat {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For spreadsheets.
    Csv,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let filter = arguments.requests.filter()?.or_month_of(SystemTime::now());
    let location = arguments.database.location()?;
    let query = UsageQuery { by: arguments.by.0.clone(), filter, groups_max: GROUPS_MAX };
    let report = arguments.database.open(&location)?.usage(&query).map_err(Failure::because)?;
    let mut stdout = io::BufWriter::new(io::stdout().lock());
    match arguments.format {
        ReportFormat::Table => table::write(&mut stdout, &report)?,
        ReportFormat::Json => {
            serde_json::to_writer_pretty(&mut stdout, &report).map_err(io::Error::from)?;
            writeln!(stdout)?;
        }
        ReportFormat::Csv => write_csv(&mut stdout, &report)?,
    }
    Ok(stdout.flush()?)
}

fn write_csv(out: &mut impl Write, report: &UsageReport) -> io::Result<()> {
    let mut records = Records::new(out);
    let names = report.by.iter().map(|dimension| dimension.name());
    records.write(names.chain(Totals::COUNTS).chain(["cost_usd", "cost_pico_usd"]))?;
    for row in &report.rows {
        let names = row.names.iter().map(|name| plain(name.as_deref().unwrap_or_default()).into_owned());
        let counts = row.used.counts().map(|count| count.to_string());
        let cost = row.used.cost;
        records.write(names.chain(counts).chain([cost.to_string(), cost.pico().to_string()]))?;
    }
    records.flush()
}
