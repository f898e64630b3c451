//! `pointsman models add`.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use faer::Mat;
use pointsman::config::RouterKind;
use pointsman_routers::Standing;
use pointsman_routers::artifact::Artifact;
use pointsman_routers::data::{Dataset, ReadOptions};
use pointsman_routers::identity;
use pointsman_routers::train::{Placed, place_model, routing_text};

use crate::cli::embedding::EmbeddingOptions;
use crate::cli::output::{Failure, thousands, write_file};
use crate::cli::{Format, artifact, data};

/// Below this, a model's skills are little more than its rating.
const PROMPTS_FEW: usize = 200;

/// Place a model that a router has never seen, without training it again
///
/// From some hundreds of prompts that the new model and models that the router knows were scored on, or met in battles
/// on. Its skill is fitted as a mixture of theirs, on top of what its rating says; what the router knows of the others
/// does not change. Prompts are held out in turns to choose how far the fit may go and to measure it. The new artefact
/// lists the prompts and files.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman models add my-model-v2 --outcomes scores.jsonl --out mf-with-mine.safetensors
  pointsman models add my-model-v2 --outcomes scores.jsonl --artifact bert.safetensors --encoder DIR --out bert2.safetensors

A row of outcomes: {\"prompt\": \"…\", \"scores\": {\"my-model-v2\": 0.5, \"gpt-4o-2024-05-13\": 1}}.

JSON: out, router, model, elo, prompts, battles, ridge, log_loss (of held-out prompts' battles), log_loss_by_rating (the
same, were the model placed by its rating alone).

Exit status: 0 when placed, 1 when not, 2 for a wrong command line.")]
pub(super) struct Arguments {
    /// The model, by the name that the files call it
    #[arg(value_name = "NAME")]
    name: String,

    /// Files of outcomes or battles
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    outcomes: Vec<PathBuf>,

    /// The artefact to place it in [default: the `mf` router that ships in the binary]
    #[arg(long, value_name = "FILE")]
    artifact: Option<PathBuf>,

    /// Where the artefact with the model goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,

    /// The terms of a file, by its name, for the artefact's manifest
    #[arg(long, value_name = "NAME=TERMS", value_parser = data::licence)]
    licence: Vec<(String, String)>,

    #[command(flatten)]
    embedding: EmbeddingOptions,

    /// How the result is written to stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let name = identity::canonical(arguments.name.trim());
    let before = artifact::load(arguments.artifact.as_deref())?;
    let file = arguments
        .artifact
        .as_ref()
        .map_or_else(|| "the router in the binary".to_owned(), |file| file.display().to_string());
    if before.router().place(name, None).is_some_and(|found| matches!(found.standing, Standing::Row(_))) {
        return Err(Failure::Because(format!(
            "{file} knows {name} already: train it again to change what it knows, or add the model by another name"
        )));
    }
    if before.kind() == RouterKind::Causal.name() {
        return Err(Failure::Because(format!(
            "{file} is a causal artefact, which takes no more models: train it again with the model's outcomes"
        )));
    }
    let embedder = arguments.embedding.find_for(&before, &file)?;
    let (data, reports) = data::read("--outcomes", &arguments.outcomes, &ReadOptions::default())?;
    let sources = data::sources(&reports, &arguments.licence)?;
    let about: Vec<usize> = prompts_about(&data, name).into_iter().collect();
    let texts: Vec<String> = about.iter().filter_map(|&at| data.prompts.get(at).map(routing_text)).collect();
    let embedded = arguments.embedding.embed(embedder.as_ref(), &texts)?;
    // Rows of prompts that say nothing of the model are never read.
    let mut embeddings = Mat::zeros(data.prompts.len(), embedder.dim());
    for (row, &at) in about.iter().enumerate() {
        embeddings.row_mut(at).copy_from(embedded.row(row));
    }
    let placed = place_model(before, name, &data, &embeddings, sources).map_err(Failure::because)?;
    if placed.prompts < PROMPTS_FEW {
        tracing::warn!("{} prompts only: some hundreds place a model well", placed.prompts);
    }
    write_file(&arguments.out, &placed.artifact.to_bytes().map_err(Failure::because)?)?;
    show(&mut io::stdout().lock(), arguments, name, &placed)?;
    Ok(())
}

/// The places of the prompts that the model was scored or judged on.
fn prompts_about(data: &Dataset, name: &str) -> BTreeSet<usize> {
    let model = data.model(name).and_then(|model| u16::try_from(model).ok());
    let scored = data.outcomes.iter().filter(|of| of.scores.iter().any(|score| Some(score.model) == model));
    let judged =
        data.judged.iter().filter(|battle| [battle.model_a, battle.model_b].map(Some).contains(&model));
    let prompts = scored.map(|of| of.prompt).chain(judged.map(|battle| battle.prompt));
    prompts.map(|prompt| prompt as usize).collect()
}

fn show(out: &mut impl Write, arguments: &Arguments, name: &str, placed: &Placed) -> io::Result<()> {
    let Placed { artifact, elo, prompts, battles, ridge, loss, loss_by_rating } = placed;
    let router = Artifact::kind(artifact);
    match arguments.format {
        Format::Json => {
            let shown = serde_json::json!({
                "out": arguments.out, "router": router, "model": name, "elo": elo, "prompts": prompts,
                "battles": battles, "ridge": ridge, "log_loss": loss, "log_loss_by_rating": loss_by_rating,
            });
            writeln!(out, "{shown}")
        }
        Format::Text => {
            let [prompts, battles] = [prompts, battles].map(|count| thousands(*count as u64));
            writeln!(out, "{}\n", arguments.out.display())?;
            writeln!(out, "{name} in {router}: Elo {elo:.0}, from {battles} battles on {prompts} prompts")?;
            writeln!(out, "log-loss per battle on prompts held out")?;
            writeln!(out, "  by its rating alone   {loss_by_rating:.4}")?;
            writeln!(out, "  as placed             {loss:.4}")
        }
    }
}
