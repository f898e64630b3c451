//! `pointsman calibrate`: thresholds for a pool of models from a sample of prompts.

mod pool;
mod table;
mod traffic;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::{ArgGroup, Args};
use pointsman::config::{Probability, RouterKind};
use pointsman::routing::embedders::Embedders;
use pointsman::routing::engine::Engine;
use pointsman_routers::calibration::{
    self, CalibrationError, Outlook, Sample, Solved, budget_usd_per_1k, strong_share,
};
use pointsman_routers::identity;

use self::pool::{Pool, Scored};
use self::traffic::Traffic;
use super::output::{Failure, write_file};
use super::prices::PriceFile;
use super::{Format, artifact, encoder, parse};

/// Solve thresholds for a pool of models on a sample of prompts
///
/// A threshold says little by itself: which share of the prompts it sends to the dearest model, and at what cost, depends
/// on the pool, its prices and the prompts. This command works it out on prompts of your own traffic, or on the sample
/// that the router's artefact carries. With --out, your sample takes the place of the artefact's, and routes with
/// `strong_share` and `budget_usd_per_1k` hold for your traffic from then on. The artefact gets what its router makes of
/// the prompts and their lengths, never their texts.
///
/// Expected costs are those of the gateway: the prompt's tokens, and 300 of an answer. Without prices a model counts as
/// the dearer, the higher its global rating is. On more prompts of the same kind expect a share within 2.6 standard
/// deviations: 2 points with 4,096 prompts, 4 with 1,000.
#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("wish").args(["strong_share", "budget_usd_per_1k"]),
    after_help = "Examples:
  pointsman calibrate --models gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1 --strong-share 0.3
  pointsman calibrate --prompts traffic.jsonl --prices prices.json --budget-usd-per-1k 1.5 --format json
  pointsman calibrate --artifact mf.safetensors --prompts traffic.jsonl --out mine.safetensors

The file of --prices: {\"gpt-4o-2024-08-06\": {\"input\": 2.50, \"output\": 10.00}, …}, USD per million tokens.

JSON: router, models, prompts, and of the threshold solved: threshold, split (the share of the prompts at exactly the
threshold that reach it), expected_share (of the dearest model), share_by_model, mean_cost_usd_per_1k (null without
prices). With neither --strong-share nor --budget-usd-per-1k the same of eleven shares, in `points`.

Exit status: 0 when solved, 1 when not, 2 for a wrong command line."
)]
pub(super) struct Arguments {
    /// The router's artefact [default: the one in the binary]
    #[arg(long, value_name = "FILE")]
    artifact: Option<PathBuf>,

    /// The kind of router [default: the artefact's own, or `mf`]
    #[arg(long, value_name = "KIND")]
    router: Option<String>,

    /// The encoder that the artefact was trained with, where that is not the one in the binary
    #[arg(long, value_name = "DIR")]
    encoder: Option<PathBuf>,

    /// The decoder of a `causal` artefact: its folder or GGUF file
    #[arg(long, value_name = "PATH")]
    decoder: Option<PathBuf>,

    /// Prompts as JSON lines, {"prompt": "text" or ["user turn", …]}; `-` for stdin [default: the artefact's own sample]
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,

    /// The models of the pool, by any name that the router knows them by [default: those of --prices]
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', value_parser = parse::name)]
    models: Vec<String>,

    /// What the models cost, a JSON file
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,

    /// Send this share of the prompts to the dearest model
    #[arg(long, value_name = "0..1", value_parser = parse::probability)]
    strong_share: Option<Probability>,

    /// Spend this many USD on a thousand prompts, on average
    #[arg(long, value_name = "USD", allow_negative_numbers = true, value_parser = parse::budget, requires = "prices")]
    budget_usd_per_1k: Option<f64>,

    /// Where the artefact goes, with these prompts as its sample
    #[arg(long, value_name = "FILE", requires = "prompts")]
    out: Option<PathBuf>,

    /// How the thresholds are written to stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// A threshold and what it makes of the sample.
pub(super) struct Point {
    solved: Solved,
    outlook: Outlook,
}

/// Shares that are shown where none is asked for: 0, 0.1, … 1.
const SHARES: usize = 11;
/// Below this, a sample says little.
const PROMPTS_FEW: usize = 1_000;
/// A share or a part of the budget that is missed by more is told.
const MISSED: f64 = 0.01;

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    parse::distinct(&arguments.models)?;
    let prices = arguments.prices.as_deref().map(PriceFile::read).transpose()?;
    let models = match &prices {
        Some(prices) if arguments.models.is_empty() => prices.models(),
        _ => arguments.models.clone(),
    };
    if models.is_empty() && (arguments.out.is_none() || arguments.strong_share.is_some() || prices.is_some())
    {
        return Err(Failure::Usage(
            "no models to choose from: give --models, or --prices of some".to_owned(),
        ));
    }
    let distinct: BTreeSet<&str> = models.iter().map(|model| identity::canonical(model)).collect();
    if distinct.len() == 1 {
        return Err(Failure::Usage(
            "there is nothing to choose among one model: give --models or --prices of two or more".to_owned(),
        ));
    }
    let kind = arguments.router.as_deref();
    let file = match (&arguments.artifact, &arguments.encoder) {
        (Some(file), _) => Some(file.clone()),
        (None, Some(folder)) => Some(artifact::for_encoder(kind.unwrap_or(RouterKind::Mf.name()), folder)?),
        (None, None) => None,
    };
    let artifact = artifact::load_kind(file.as_deref(), kind)?;
    // An encoder that is named is the one to read.
    let embedders = arguments
        .encoder
        .as_deref()
        .map_or_else(Embedders::only_static, Embedders::only_encoder)
        .and_then(|embedders| embedders.with_decoder(arguments.decoder.as_deref()))
        .map_err(Failure::because)?;
    let name = arguments
        .artifact
        .as_ref()
        .map_or_else(|| artifact.kind().to_owned(), |file| file.display().to_string());
    let engine = Engine::new(artifact.router(), &embedders)
        .map_err(|misfit| Failure::Because(encoder::missing(&name, &misfit)))?;
    let pool = (!models.is_empty()).then(|| Pool::new(&engine, &models, prices.as_ref())).transpose()?;
    let traffic = match &arguments.prompts {
        Some(file) => Some(Traffic::read(file)?),
        None => None,
    };
    let mut stdout = io::stdout().lock();
    if let Some(pool) = pool {
        let scored = match &traffic {
            Some(traffic) => pool.score(traffic)?,
            None => pool.score_sample()?,
        };
        show(&mut stdout, arguments, &pool, &scored)?;
    }
    if let (Some(out), Some(traffic)) = (&arguments.out, &traffic) {
        let sample = traffic.sample(&artifact, &engine)?;
        let recalibrated = artifact.recalibrated(sample).map_err(Failure::because)?;
        write_file(out, &recalibrated.to_bytes().map_err(Failure::because)?)?;
        let prompts = recalibrated.calibration().len();
        tracing::info!(file = %out.display(), prompts, "recalibrated");
        if models.is_empty() && arguments.format == Format::Json {
            let router = recalibrated.kind();
            writeln!(stdout, "{}", serde_json::json!({"router": router, "prompts": prompts, "out": out}))?;
        }
    }
    Ok(())
}

fn show(
    out: &mut impl Write,
    arguments: &Arguments,
    pool: &Pool<'_>,
    scored: &Scored,
) -> Result<(), Failure> {
    let prompts = scored.skills.nrows();
    if prompts < PROMPTS_FEW {
        tracing::warn!("{prompts} prompts only: shares on other prompts will differ by some points");
    }
    let points = solve(arguments, &scored.sample()).map_err(Failure::because)?;
    tell_missed(arguments, &points);
    match arguments.format {
        Format::Text => table::write(out, pool, prompts, &points)?,
        Format::Json => writeln!(out, "{}", table::json(pool, prompts, &points, is_single(arguments)))?,
    }
    Ok(())
}

fn is_single(arguments: &Arguments) -> bool {
    arguments.strong_share.is_some() || arguments.budget_usd_per_1k.is_some()
}

fn solve(arguments: &Arguments, sample: &Sample<'_>) -> Result<Vec<Point>, CalibrationError> {
    let point = |solved: Solved| Ok(Point { solved, outlook: calibration::outlook(sample, solved)? });
    match (arguments.strong_share, arguments.budget_usd_per_1k) {
        (Some(share), _) => Ok(vec![point(strong_share(sample, share.get())?)?]),
        (None, Some(budget)) => Ok(vec![point(budget_usd_per_1k(sample, budget)?)?]),
        (None, None) => (0..SHARES)
            .map(|tenths| point(strong_share(sample, tenths as f64 / (SHARES - 1) as f64)?))
            .collect(),
    }
}

/// A wish beyond what any threshold does is no error: the gateway does what can be done.
fn tell_missed(arguments: &Arguments, points: &[Point]) {
    let Some(Point { outlook, .. }) = points.first() else { return };
    if let Some(share) = arguments.strong_share
        && share.get() - outlook.strong_share > MISSED
    {
        let reached = outlook.strong_share;
        tracing::warn!(
            "at most {reached:.3} of the prompts can go to the dearest model: on the rest others cost more"
        );
    }
    if let Some(budget) = arguments.budget_usd_per_1k
        && budget * (1.0 - MISSED) > outlook.cost_usd_per_1k
    {
        let spent = outlook.cost_usd_per_1k;
        tracing::warn!(
            "no threshold costs more than {spent:.4} USD per thousand requests: the budget is not used up"
        );
    }
}
