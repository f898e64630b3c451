//! `pointsman eval`: how good routers are, on benchmarks and on one's own prompts.

mod battles;
mod outcomes;
mod pair;
mod plot;
mod routers;

use std::io::{self, StdoutLock, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pointsman_routers::benchmark::Benchmark;
use serde::Serialize;

use super::Format;
use super::embedding::EmbeddingOptions;
use super::output::Failure;

/// Measure routers on benchmarks
///
/// RouteLLM's benchmarks are read as they are, from --data DIR: two models, --strong and --weak, and a curve of quality
/// over the share of questions that go to the strong one. APGR is the area under the share of the quality gap that is
/// recovered (0.5 by lot, 1 at best or above), exact over all shares and with ties by expectation; CPT the share of
/// calls that half, or 80 %, of the gap takes. `outcomes` measures any number of models on rows of scores: the mean
/// score of the model with the highest skill beside every single model and the oracles (the best model of each category,
/// the dataset oracle, is picked on the files of --train); with --prices also quality over cost, AIQ (the area under its
/// concave hull) and the cost at the best single model's quality (`cost_at_best_single`), a point of that hull: mixing two
/// settings by lot reaches it.
/// `battles` measures win probabilities on battles, judged ones and those that follow from scores: log-loss, accuracy and
/// calibration, paired with the global ratings at the same scale. For a source that the router was not trained on the
/// probabilities are those that `route` serves (scale 1); for one that it was, the log-odds times the label scale of the
/// training, so that other labels than votes are told as they are given. A judged battle weighs 1, each battle of a row with
/// k scored models 2/k.
///
/// The baselines `random`, `length` (long prompts to the model rated higher), `oracle`, `knn` and `kmeans` are measured beside
/// every router. Prompts that a router asked for was trained on are left out, and counted; `knn` or `kmeans`, where nobody asked for
/// it, is left out instead when it was trained on any prompt measured, and that is told.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman eval --benchmark routellm-mmlu --data DIR --routers mf,random --plot mmlu.svg
  pointsman eval --benchmark routellm-mt-bench --data DIR --artifact my-router.safetensors --format json
  pointsman eval --benchmark outcomes --data test.jsonl --prices prices.json --format json
  pointsman eval --benchmark battles --data battles.jsonl --artifact bert.safetensors --encoder DIR --plot calibration.svg

The file of --prices: {\"gpt-4o-2024-08-06\": {\"input\": 2.50, \"output\": 10.00}, …}, USD per million tokens.

Exit status: 0 when measured, 1 when not, 2 for a wrong command line.")]
pub(super) struct Arguments {
    /// What to measure on
    #[arg(long, value_enum)]
    benchmark: What,

    /// The folder of a RouteLLM benchmark, or the files of outcomes or battles
    #[arg(long, value_name = "PATH", num_args = 1.., required = true)]
    data: Vec<PathBuf>,

    /// The routers to measure, by kind: those of --artifact, and those that ship [default: those of --artifact, or `mf`].
    /// Baselines are always measured
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    routers: Vec<String>,

    /// Artefacts to measure, each in place of the shipped router of its kind
    #[arg(long, value_name = "FILE", num_args = 1..)]
    artifact: Vec<PathBuf>,

    #[command(flatten)]
    embedding: EmbeddingOptions,

    /// The decoder of a `causal` artefact: its folder or GGUF file
    #[arg(long, value_name = "PATH")]
    decoder: Option<PathBuf>,

    /// The dear model of a pair
    #[arg(long, value_name = "MODEL", default_value = "gpt-4-1106-preview")]
    strong: String,

    /// The cheap model of a pair
    #[arg(long, value_name = "MODEL", default_value = "mixtral-8x7b-instruct-v0.1")]
    weak: String,

    /// The models to choose from [default: those scored on at least 97 % of the rows]
    #[arg(long, value_name = "A,B,…", value_delimiter = ',')]
    pool: Vec<String>,

    /// Outcomes that the best model of each category is picked on
    #[arg(long, value_name = "FILE", num_args = 1..)]
    train: Vec<PathBuf>,

    /// What the models cost, a JSON file
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,

    /// Draw the curves, an SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    /// How the measurements are written to stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What to do where nothing is left to measure on.
const HINT_TRAINED: &str = "Measure on prompts that are new to the routers, or train one without these (`pointsman train`) and give \
                            it with --artifact";

/// What there is to measure on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    RoutellmMmlu,
    RoutellmGsm8k,
    RoutellmMtBench,
    /// Rows of scores
    Outcomes,
    /// Judged comparisons, and those that follow from scores
    Battles,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match arguments.benchmark {
        What::RoutellmMmlu => pair::run(arguments, Benchmark::Mmlu),
        What::RoutellmGsm8k => pair::run(arguments, Benchmark::Gsm8k),
        What::RoutellmMtBench => pair::run(arguments, Benchmark::MtBench),
        What::Outcomes => outcomes::run(arguments),
        What::Battles => battles::run(arguments),
    }
}

/// Writes a report for programs, or what `table` makes of it for people.
fn write(
    format: Format,
    report: &impl Serialize,
    table: impl FnOnce(&mut StdoutLock<'static>) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match format {
        Format::Json => {
            serde_json::to_writer(&mut stdout, report).map_err(io::Error::from)?;
            writeln!(stdout)?;
        }
        Format::Text => table(&mut stdout)?,
    }
    Ok(())
}
