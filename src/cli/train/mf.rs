//! `pointsman train mf`.

use clap::Args;
use pointsman_routers::artifact::Artifact;
use pointsman_routers::train::{MfOptions, train_mf_artifact};

use super::common::{Common, Material};
use crate::cli::output::Failure;
use crate::cli::progress;

/// Train the matrix-factorisation router on battles and outcomes
///
/// Reads every format by its content, plain or gzipped: outcome rows, battle rows, vote counts, clean_battle arrays,
/// the Arena's CSV, JSON lines and Parquet. Nine prompts of ten are learned from; training stops early on the tenth,
/// and what is measured on it goes into the artefact and to stdout. The same files, encoder and seed give the same
/// artefact, byte for byte, on any number of threads and in whatever order the files are named; the order of their rows
/// changes nothing but the digests that the artefact records.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman train mf --data outcomes.jsonl battles.jsonl.gz --out mf.safetensors
  pointsman train mf --data votes.json battles.jsonl --licence battles.jsonl=MIT --seed 1 --out mf.safetensors
  pointsman train mf --data outcomes.jsonl --encoder \"$(pointsman models pull)\" --out mf-minilm.safetensors
  pointsman route --artifact mf.safetensors --models gpt-4-0613,claude-1 \"What is 2 + 2?\"")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,

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
}

pub(super) fn train(arguments: &Arguments, material: &Material) -> Result<Artifact, Failure> {
    let options = MfOptions {
        seed: arguments.common.seed,
        hidden: arguments.hidden,
        topics: arguments.topics,
        epochs_max: arguments.epochs,
        learning_rate: arguments.learning_rate,
        ridge: arguments.ridge,
        ..MfOptions::default()
    };
    let bar = progress::bar("epochs", arguments.epochs);
    let trained = train_mf_artifact(
        &material.data,
        &material.embeddings,
        &material.origin,
        &options,
        &mut |progress| {
            bar.set_position(progress.epoch as u64);
            bar.set_message(format!("epochs, held-out loss {:.4}", progress.dev_loss));
        },
    );
    bar.finish_and_clear();
    trained.map_err(Failure::because)
}
