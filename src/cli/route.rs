//! `pointsman route`: why a prompt goes where it goes. Nobody is called.

mod explain;
mod table;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgGroup, Args};
use pointsman::config::{Probability, RouterKind, Selection};
use pointsman::routing::explain::Explanation;
use pointsman_routers::shipped;
use serde::Serialize;

use self::explain::{Explainer, Setup};
use super::output::Failure;
use super::prompts::{Prompt, Prompts};
use super::{Format, artifact, files, parse, progress};

/// Explain which model a prompt would go to, and why
///
/// Runs the same code as the gateway: the router gives every model a skill for the prompt, and a rule weighs skills
/// against what the models cost. Nobody is called. Without prices a model counts as the dearer, the higher its global
/// rating is; only the order matters to a threshold, and `--utility` then takes every model to be free.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("rule").args(["threshold", "strong_share", "budget_usd_per_1k", "utility"]),
    group = ArgGroup::new("what").args(["prompts", "input"]).required(true),
    after_help = "Examples:
  pointsman route --models gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1 \"What is 2 + 2?\"
  pointsman route --router mf --models gpt-4o-2024-08-06,claude-3-5-sonnet-20240620,llama-3.1-8b-instruct \\
      --prices prices.json --strong-share 0.3 --input prompts.jsonl --format json
  echo '{\"id\": 7, \"prompt\": [\"Hi\", \"Write a poem\"]}' | pointsman route --models gpt-4-0613,claude-1 --input -

The file of --prices: {\"gpt-4o-2024-08-06\": {\"input\": 2.50, \"output\": 10.00}, …}, USD per million tokens.

JSON, one object per prompt: id, model (the choice), router, artifact (its version), rule {kind, threshold, …}, skills {model: θ},
win_rates {a: {b: P(a beats b)}}, win_rate (the dearest beats every cheaper one), expected_cost_usd {model: USD},
excluded {model: reason}, ranking (the choice, then the fallbacks), nearest_battles (of sw and knn), decision_us. `POST /v1/route` of a
gateway answers the same.

Exit status: 0 when every prompt was routed, 1 when not, 2 for a wrong command line."
)]
pub(super) struct Arguments {
    /// What scores the models [default: the router of --artifact, or `mf`]
    #[arg(long, value_name = "ROUTER", value_parser = router_parser())]
    router: Option<RouterKind>,

    /// The models to choose from, by any name that the router knows them by
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required = true, value_parser = parse::name)]
    models: Vec<String>,

    /// Choose the dearest model that beats every cheaper one with this probability [default: 0.5]
    #[arg(long, value_name = "0..1", value_parser = parse::probability)]
    threshold: Option<Probability>,

    /// Choose so that this share of prompts goes to the dearest model, by the router's calibration sample
    #[arg(long, value_name = "0..1", value_parser = parse::probability)]
    strong_share: Option<Probability>,

    /// Choose so that a thousand prompts cost this many USD on average, by the router's calibration sample
    #[arg(long, value_name = "USD", allow_negative_numbers = true, value_parser = parse::budget, requires = "prices")]
    budget_usd_per_1k: Option<f64>,

    /// Choose by win probability less this much per USD of expected cost
    #[arg(long, value_name = "λ", allow_negative_numbers = true, value_parser = lambda)]
    utility: Option<f64>,

    /// What the models cost, a JSON file
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,

    /// The router's artefact, in place of the one that ships in the binary or, with --encoder, beside it
    #[arg(long, value_name = "FILE")]
    artifact: Option<PathBuf>,

    /// The encoder that the artefact was trained with, where that is not the one in the binary
    #[arg(long, value_name = "DIR")]
    encoder: Option<PathBuf>,

    /// The decoder of a `causal` artefact: its folder or GGUF file
    #[arg(long, value_name = "PATH")]
    decoder: Option<PathBuf>,

    /// Prompts as JSON lines, {"id"?, "prompt": "text" or ["user turn", …]}; `-` for stdin
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,

    /// How the decisions are written to stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,

    /// The prompts
    #[arg(value_name = "PROMPT")]
    prompts: Vec<String>,
}

fn router_parser() -> impl TypedValueParser<Value = RouterKind> {
    PossibleValuesParser::new(RouterKind::ALL.map(RouterKind::name))
        .try_map(|name| RouterKind::from_name(&name).ok_or("no such router"))
}

/// The router asked for, or the artefact's own, or `mf`.
fn router(arguments: &Arguments) -> Result<RouterKind, Failure> {
    let own = match (arguments.router, &arguments.artifact) {
        (Some(router), _) => Some(router),
        (None, Some(file)) => RouterKind::from_name(artifact::load(Some(file))?.kind()),
        (None, None) => None,
    };
    Ok(own.unwrap_or(RouterKind::Mf))
}

fn lambda(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number >= 0.0 { Ok(number) } else { Err("negative, or not finite".to_owned()) }
}

/// One line of JSON.
#[derive(Serialize)]
struct Row<'a> {
    id: &'a serde_json::Value,
    #[serde(flatten)]
    explanation: &'a Explanation<'a>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    parse::distinct(&arguments.models)?;
    if let Some(file) = &arguments.artifact {
        files::expect("--artifact", file, artifact::EXPECTED)?;
    }
    let router = router(arguments)?;
    let kind = router.name();
    let artifact = match (&arguments.artifact, &arguments.encoder) {
        (Some(file), _) => Some(file.clone()),
        (None, Some(folder)) => Some(artifact::for_encoder(kind, folder)?),
        (None, None) if shipped::KINDS.contains(&kind) => None,
        (None, None) => {
            let beside = match router {
                RouterKind::Bert => ", or with --encoder DIR take the one that ships beside the binary",
                _ => "",
            };
            return Err(Failure::Usage(format!(
                "no router {kind} ships in this binary: give one with --artifact{beside}"
            )));
        }
    };
    let explainer = Explainer::new(&Setup {
        router,
        artifact: artifact.as_deref(),
        encoder: arguments.encoder.as_deref(),
        decoder: arguments.decoder.as_deref(),
        selection: selection(arguments),
        models: &arguments.models,
        prices: arguments.prices.as_deref(),
    })?;
    let mut stdout = io::stdout().lock();
    let progress = progress::counter("prompts", !stdout.is_terminal() && arguments.input.is_some());
    for prompt in Prompts::open(arguments.input.as_deref(), &arguments.prompts)? {
        let prompt = prompt?;
        let explanation = explainer.explain(&prompt.turns)?;
        write(&mut stdout, arguments, &prompt, &explanation)?;
        progress.inc(1);
    }
    progress.finish_and_clear();
    Ok(())
}

fn write(
    out: &mut impl Write,
    arguments: &Arguments,
    prompt: &Prompt,
    explanation: &Explanation<'_>,
) -> io::Result<()> {
    match arguments.format {
        Format::Text => table::write(out, &prompt.turns, selection(arguments), explanation),
        Format::Json => {
            serde_json::to_writer(&mut *out, &Row { id: &prompt.id, explanation })?;
            writeln!(out)
        }
    }
}

fn selection(arguments: &Arguments) -> Selection {
    let threshold = || Selection::Threshold(arguments.threshold.unwrap_or(Probability::HALF));
    let share = arguments.strong_share.map(Selection::StrongShare);
    let budget = arguments.budget_usd_per_1k.map(Selection::BudgetUsdPer1k);
    share.or(budget).or_else(|| arguments.utility.map(Selection::Utility)).unwrap_or_else(threshold)
}
