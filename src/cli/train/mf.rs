//! `pointsman train mf`.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use pointsman_routers::artifact::{Artifact, Source};
use pointsman_routers::data::{
    Dataset, DatasetBuilder, LoadReport, PresentationOrders, ReadOptions, Singles,
};
use pointsman_routers::embed::default_static;
use pointsman_routers::train::{MfOptions, Origin, embed_prompts, licence_of_file, train_mf_artifact};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cli::Format;
use crate::cli::output::{Failure, write_file};
use crate::cli::progress;

/// Train the matrix-factorisation router on battles and outcomes
///
/// Reads every format by its content, plain or gzipped: outcome rows, battle rows, vote counts, clean_battle arrays,
/// the Arena's CSV, JSON lines and Parquet. Nine prompts of ten are learned from; training stops early on the tenth,
/// and what is measured on it goes into the artefact and to stdout. Runs on one thread: the same files and seed give
/// the same artefact, byte for byte, in whatever order the files are named; the order of their rows changes nothing
/// but the digests that the artefact records.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman train mf --data outcomes.jsonl battles.jsonl.gz --out mf.safetensors
  pointsman train mf --data votes.json battles.jsonl --licence battles.jsonl=MIT --seed 1 --out mf.safetensors
  pointsman route --artifact mf.safetensors --models gpt-4-0613,claude-1 \"What is 2 + 2?\"")]
pub(super) struct Arguments {
    /// Files of battles, outcomes and votes
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,

    /// Where the artefact goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// The terms of a file, by its name, for the artefact's manifest; those of the shipped router's files are known
    #[arg(long, value_name = "NAME=TERMS", value_parser = pair)]
    licence: Vec<(String, String)>,

    /// Of clean_battle files, take the rows that the Arena's leaderboard leaves out, too
    #[arg(long)]
    unfiltered: bool,

    /// Decides the first weights, the order of the prompts and which of them are held out
    #[arg(long, value_name = "N", default_value_t = MfOptions::default().seed)]
    seed: u64,

    /// Hidden dimensions
    #[arg(long, value_name = "N", default_value_t = MfOptions::default().hidden)]
    hidden: usize,

    /// Topics, clusters of the training prompts, whose memberships a prompt's skills depend on beside its embedding
    #[arg(long, value_name = "N", default_value_t = MfOptions::default().topics)]
    topics: usize,

    /// Passes over the data, at most
    #[arg(long, value_name = "N", default_value_t = MfOptions::default().epochs_max)]
    epochs: usize,

    /// Adam's first learning rate
    #[arg(long, value_name = "RATE", default_value_t = MfOptions::default().learning_rate)]
    learning_rate: f64,

    /// How strongly a model's skills are held to its global rating
    #[arg(long, value_name = "STRENGTH", default_value_t = MfOptions::default().ridge)]
    ridge: f64,

    /// How the measurements are written to stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, terms) = text.split_once('=').ok_or("expected NAME=TERMS")?;
    Ok((name.to_owned(), terms.to_owned()))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (data, sources) = read(arguments)?;
    let embedder = default_static().map_err(Failure::because)?;
    let bar = progress::bar("prompts embedded", data.prompts.len());
    let embeddings = embed_prompts(&data, &embedder, &mut |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let embeddings = embeddings.map_err(Failure::because)?;

    let options = MfOptions {
        seed: arguments.seed,
        hidden: arguments.hidden,
        topics: arguments.topics,
        epochs_max: arguments.epochs,
        learning_rate: arguments.learning_rate,
        ridge: arguments.ridge,
        ..MfOptions::default()
    };
    let origin = Origin { embedder: embedder.fingerprint().to_owned(), sources };
    let bar = progress::bar("epochs", arguments.epochs);
    let trained = train_mf_artifact(&data, &embeddings, &origin, &options, &mut |progress| {
        bar.set_position(progress.epoch as u64);
        bar.set_message(format!("epochs, held-out loss {:.4}", progress.dev_loss));
    });
    bar.finish_and_clear();
    let artifact = trained.map_err(Failure::because)?;
    write_file(&arguments.out, &artifact.to_bytes().map_err(Failure::because)?)?;
    show(&mut io::stdout().lock(), arguments, &artifact)?;
    Ok(())
}

/// Reads all files; what was refused in them is told on stderr.
fn read(arguments: &Arguments) -> Result<(Dataset, Vec<Source>), Failure> {
    let options = ReadOptions { leaderboard_filter: !arguments.unfiltered, ..ReadOptions::default() };
    let mut builder = DatasetBuilder::new();
    let mut sources = Vec::new();
    for file in &arguments.data {
        let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        let bar = progress::bar("bytes read", usize::try_from(bytes).unwrap_or(usize::MAX));
        let report = builder.read_file(file, &options, &mut |done| bar.set_position(done));
        bar.finish_and_clear();
        let report = report.map_err(Failure::because)?;
        tell_refused(&report);
        sources.push(source(file, &report, &arguments.licence)?);
    }
    sources.sort_by(|a, b| (&a.name, &a.sha256).cmp(&(&b.name, &b.sha256)));
    Ok((builder.finish(PresentationOrders::United(Singles::Keep)), sources))
}

fn tell_refused(report: &LoadReport) {
    let file = report.file.display();
    for rejection in &report.examples {
        tracing::warn!("{file}:{}: {}", rejection.line, rejection.problem);
    }
    let refused = report.rejected_total();
    tracing::info!("{file}: {} rows, {refused} refused", report.rows);
}

/// What the manifest says of a file.
fn source(file: &Path, report: &LoadReport, licences: &[(String, String)]) -> Result<Source, Failure> {
    let sha256 = digest(file).map_err(|error| Failure::Because(format!("{}: {error}", file.display())))?;
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let stated = licences.iter().find(|(of, _)| *of == name).map(|(_, terms)| terms.as_str());
    let licence = stated.or_else(|| licence_of_file(&name)).unwrap_or("not stated").to_owned();
    Ok(Source { name, sha256, rows: report.rows, licence })
}

/// SHA-256 in hexadecimal.
fn digest(file: &Path) -> io::Result<String> {
    let mut reader = BufReader::new(File::open(file)?);
    let mut digest = Sha256::new();
    loop {
        let chunk = reader.fill_buf()?;
        let length = chunk.len();
        if length == 0 {
            break;
        }
        digest.update(chunk);
        reader.consume(length);
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn show(out: &mut impl Write, arguments: &Arguments, artifact: &Artifact) -> io::Result<()> {
    let metrics = &artifact.provenance().metrics;
    match arguments.format {
        Format::Json => {
            let shown = serde_json::json!({"out": arguments.out, "seed": arguments.seed, "metrics": metrics});
            writeln!(out, "{shown}")
        }
        Format::Text => {
            writeln!(out, "{}\n", arguments.out.display())?;
            writeln!(out, "log-loss per battle on prompts held out    prompts   router  global ratings")?;
            for (source, loss) in metrics.get("dev_log_loss").and_then(Value::as_object).into_iter().flatten()
            {
                let number = |key: &str| loss.get(key).and_then(Value::as_f64).unwrap_or(f64::NAN);
                let (prompts, router) = (number("prompts"), number("log_loss"));
                let global = number("log_loss_of_global_fit");
                writeln!(out, "  {source:<40} {prompts:>7} {router:>8.4} {global:>15.4}")?;
            }
            Ok(())
        }
    }
}
