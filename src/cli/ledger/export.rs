//! `pointsman ledger export`: requests as JSON lines, CSV or Parquet.

use std::{
    fs,
    io::{self, BufWriter, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser},
};
use indicatif::ProgressBar;
use pointsman::ledger::{
    export::{ExportError, ExportFormat, export},
    reader::Reader,
    report::Filter,
};

use crate::cli::{
    database::{Database, Requests},
    output::{Failure, stream_file},
    progress,
};

/// Bytes that are written together.
const BUFFER_BYTES: usize = 1 << 16;

/// Write the requests of a ledger as JSON lines, CSV or Parquet
///
/// One record for each request, in the order of their arrival, all as they were at one moment; a gateway may go on writing. Each
/// has the sums over its calls, and the calls themselves as a list: nested in JSON lines, JSON in a column in CSV and Parquet. Without
/// --from and --to it is every request that the ledger holds. Requests are read one by one, however many there are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman ledger export --config config.yaml --out requests.parquet
  pointsman ledger export --database pointsman.db --format jsonl --from 2026-11-01 | jq 'select(.outcome != \"ok\")'
  pointsman ledger export --config config.yaml --tenant research --from 2026-11-01 --to 2026-12-01 --out november.csv

Columns of every format: id, arrived, request_id, tenant, project, key, route, router, decision_us, model, outcome, code,
answer_us, duration_us, call_count, estimated_calls, prompt_tokens, cached_tokens, completion_tokens, reasoning_tokens,
cost_usd, cost_pico_usd, candidates [{model, skill}], calls [{model, prompt_tokens, …, estimated, cost_pico_usd, cost_usd}].
In CSV a text that spreadsheets would take for a formula (=, +, -, @, a tab or a line end at its beginning) has a ' before it.

Exit status: 0 when all is written, 1 when not (a file is then as it was before), 2 for a wrong command line.")]
pub(super) struct Arguments {
    #[command(flatten)]
    database: Database,

    #[command(flatten)]
    requests: Requests,

    /// How requests are written [default: as the name of --out ends]
    #[arg(long, value_name = "FORMAT", value_parser = format_parser())]
    format: Option<ExportFormat>,

    /// The file to write, whole or not at all; `-` for stdout, which takes no Parquet
    #[arg(long, value_name = "FILE", default_value = "-")]
    out: PathBuf,
}

fn format_parser() -> impl TypedValueParser<Value = ExportFormat> {
    PossibleValuesParser::new(ExportFormat::ALL.map(ExportFormat::name)).try_map(|name| {
        ExportFormat::ALL.into_iter().find(|format| format.name() == name).ok_or("no such format")
    })
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let file = (arguments.out != Path::new("-")).then_some(&*arguments.out);
    let format = format(arguments.format, file)?;
    let filter = arguments.requests.filter()?;
    let location = arguments.database.location()?;
    let mut reader = arguments.database.open(&location)?;
    let bar = bar(&mut reader, &filter)?;
    let mut write = |out: &mut (dyn Write + Send)| {
        export(&mut reader, &filter, format, out, &mut || bar.inc(1)).map_err(|error| match error {
            ExportError::Write(error) => Failure::from(error),
            other => Failure::because(other),
        })
    };
    match file {
        None => {
            let mut stdout = BufWriter::with_capacity(BUFFER_BYTES, io::stdout());
            write(&mut stdout)?;
            stdout.flush()?;
        }
        Some(file) if location.file().is_some_and(|ledger| is_same(file, ledger)) => {
            return Err(Failure::Usage(format!("--out {} is the ledger itself", file.display())));
        }
        Some(file) => stream_file(file, |out| {
            let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
            write(&mut out)?;
            Ok(out.flush()?)
        })?,
    }
    bar.finish_and_clear();
    Ok(())
}

fn format(said: Option<ExportFormat>, file: Option<&Path>) -> Result<ExportFormat, Failure> {
    match said.or_else(|| ExportFormat::of_file(file?)) {
        Some(ExportFormat::Parquet) if file.is_none() => {
            Err(Failure::Usage("--format parquet needs --out FILE".to_owned()))
        }
        Some(format) => Ok(format),
        None => Err(Failure::Usage(
            "which format? --format jsonl, csv or parquet says it, or the ending of --out FILE".to_owned(),
        )),
    }
}

/// Requests are counted only where somebody sees it.
fn bar(reader: &mut Reader, filter: &Filter) -> Result<ProgressBar, Failure> {
    if !io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let count = reader.count(filter).map_err(Failure::because)?;
    Ok(progress::bar("requests", usize::try_from(count).unwrap_or(usize::MAX)))
}

fn is_same(one: &Path, other: &Path) -> bool {
    match (fs::canonicalize(one), fs::canonicalize(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}
