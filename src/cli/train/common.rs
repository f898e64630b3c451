//! What training is the same for every kind of router: its data, their embeddings, where the artefact goes.

use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use pointsman_routers::data::ReadOptions;
use pointsman_routers::train::{Origin, Recipe, routing_text, train_artifact};

use super::show::show;
use crate::cli::embedding::EmbeddingOptions;
use crate::cli::output::{Failure, write_file};
use crate::cli::{Format, data, progress};

/// Options of every kind.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Files of battles, outcomes and votes
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    data: Vec<PathBuf>,

    /// Where the artefact goes
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,

    /// The terms of a file, by its name, for the artefact's manifest; those of the shipped router's files are known
    #[arg(long, value_name = "NAME=TERMS", value_parser = data::licence)]
    licence: Vec<(String, String)>,

    /// Of clean_battle files, take the rows that the Arena's leaderboard leaves out, too
    #[arg(long)]
    unfiltered: bool,

    /// Decides all that is drawn, such as which prompts are held out
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,

    #[command(flatten)]
    embedding: EmbeddingOptions,

    /// How the measurements are written to stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

/// Reads, embeds, trains, writes the artefact and shows what was measured.
pub(super) fn run(common: &Common, recipe: &Recipe) -> Result<(), Failure> {
    expect_folder_of(&common.out)?;
    let options = ReadOptions { leaderboard_filter: !common.unfiltered, ..ReadOptions::default() };
    let (data, reports) = data::read("--data", &common.data, &options)?;
    let sources = data::sources(&reports, &common.licence)?;
    let embedder = common.embedding.open()?;
    let texts: Vec<String> = data.prompts.iter().map(routing_text).collect();
    let embeddings = common.embedding.embed(embedder.as_ref(), &texts)?;
    let origin = Origin { embedder: embedder.fingerprint().to_owned(), sources };
    let threads = rayon::ThreadPoolBuilder::new().num_threads(common.embedding.threads().get()).build();
    let bar = progress::bar("steps of the training", 0);
    let report = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let trained = threads
        .map_err(Failure::because)?
        .install(|| train_artifact(recipe, &data, &embeddings, &origin, common.seed, &report));
    bar.finish_and_clear();
    let artifact = trained.map_err(Failure::because)?;
    write_file(&common.out, &artifact.to_bytes().map_err(Failure::because)?)?;
    show(&mut io::stdout().lock(), common, &artifact)?;
    Ok(())
}

/// Training takes minutes: a folder that is not there is told before.
fn expect_folder_of(file: &Path) -> Result<(), Failure> {
    match file.parent() {
        Some(folder) if folder != Path::new("") && !folder.is_dir() => Err(Failure::Because(format!(
            "cannot write {}: there is no folder {}",
            file.display(),
            folder.display()
        ))),
        _ => Ok(()),
    }
}
