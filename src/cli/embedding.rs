//! The embedder that a command line asks for, and how it gets through many texts.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::Args;
use faer::Mat;
use pointsman::routing::embedders::{self, Embedders, Misfit};
use pointsman_routers::artifact::Artifact;
use pointsman_routers::embed::{Embedder, embed_all};

use super::output::Failure;
use super::{encoder, parse, progress};

/// Options of commands that embed.
#[derive(Debug, Args)]
pub(super) struct EmbeddingOptions {
    /// The folder of the sentence encoder whose vectors are read [default: the static embedder in the binary]
    #[arg(long, value_name = "DIR")]
    pub(super) encoder: Option<PathBuf>,

    /// Threads to embed prompts on; their number changes no result [default: all cores]
    #[arg(long, value_name = "N", value_parser = parse::at_least_one)]
    threads: Option<NonZeroUsize>,
}

impl EmbeddingOptions {
    /// The encoder of `--encoder`, or the embedder in the binary.
    pub(super) fn open(&self) -> Result<Arc<dyn Embedder>, Failure> {
        match &self.encoder {
            Some(folder) => Ok(embedders::encoder(folder).map_err(Failure::because)?),
            None => Ok(embedders::static_embedder().map_err(Failure::because)?),
        }
    }

    /// The embedder that `artifact`, which goes by `name`, was trained with.
    pub(super) fn find_for(&self, artifact: &Artifact, name: &str) -> Result<Arc<dyn Embedder>, Failure> {
        let embedders = Embedders::with_encoder(self.encoder.as_deref()).map_err(Failure::because)?;
        let mismatched = |misfit: Misfit| Failure::Because(encoder::missing(name, &misfit));
        embedders.find(artifact.embedder_fingerprint()).map_err(|mismatch| mismatched(mismatch.into()))
    }

    /// `--threads`, or as many as there are cores.
    pub(super) fn threads(&self) -> NonZeroUsize {
        self.threads.or_else(|| thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN)
    }

    /// Embeds texts, a row each, with a bar.
    pub(super) fn embed(&self, embedder: &dyn Embedder, texts: &[String]) -> Result<Mat<f32>, Failure> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let bar = progress::bar("prompts embedded", texts.len());
        let embedded = embed_all(embedder, &texts, self.threads(), &mut |done| bar.set_position(done as u64));
        bar.finish_and_clear();
        embedded.map_err(Failure::because)
    }
}
