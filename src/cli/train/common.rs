//! What training is the same for every kind of router: its data, their embeddings, where the artefact goes.

use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use pointsman_routers::artifact::{Artifact, Source};
use pointsman_routers::data::{Dataset, ReadOptions};
use pointsman_routers::train::{Origin, Recipe, routing_text, train_artifact};

use super::show::show;
use crate::cli::embedding::EmbeddingOptions;
use crate::cli::output::{Failure, write_file};
use crate::cli::{Format, data, progress};

/// Options of routers that read embeddings.
#[derive(Debug, Args)]
pub(super) struct Common {
    #[command(flatten)]
    basics: Basics,

    #[command(flatten)]
    embedding: EmbeddingOptions,
}

/// Options of every kind.
#[derive(Debug, Args)]
pub(super) struct Basics {
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

    /// How the measurements are written to stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
}

/// Reads, embeds, trains, writes the artefact and shows what was measured.
pub(super) fn run(common: &Common, recipe: &Recipe) -> Result<(), Failure> {
    let Common { basics, embedding } = common;
    let (data, sources) = basics.read()?;
    let embedder = embedding.open()?;
    let texts: Vec<String> = data.prompts.iter().map(routing_text).collect();
    let embeddings = embedding.embed(embedder.as_ref(), &texts)?;
    let origin = Origin { embedder: embedder.fingerprint().to_owned(), sources };
    let bar = progress::bar("steps of the training", 0);
    let report = progress::of(&bar);
    let trained = on(embedding.threads(), || {
        train_artifact(recipe, &data, &embeddings, &origin, basics.seed, &report)
    })?;
    bar.finish_and_clear();
    basics.finish(&trained.map_err(Failure::because)?)
}

/// Runs a training on so many threads.
pub(super) fn on<T: Send>(threads: NonZeroUsize, work: impl FnOnce() -> T + Send) -> Result<T, Failure> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build();
    Ok(pool.map_err(Failure::because)?.install(work))
}

impl Basics {
    /// The data, and where they come from.
    pub(super) fn read(&self) -> Result<(Dataset, Vec<Source>), Failure> {
        expect_folder_of(&self.out)?;
        let options = ReadOptions { leaderboard_filter: !self.unfiltered, ..ReadOptions::default() };
        let (data, reports) = data::read("--data", &self.data, &options)?;
        let sources = data::sources(&reports, &self.licence)?;
        Ok((data, sources))
    }

    /// Writes the artefact, and shows what was measured.
    pub(super) fn finish(&self, artifact: &Artifact) -> Result<(), Failure> {
        write_file(&self.out, &artifact.to_bytes().map_err(Failure::because)?)?;
        show(&mut io::stdout().lock(), self, artifact)?;
        Ok(())
    }
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
