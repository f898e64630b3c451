//! `pointsman train bert`.

use clap::Args;
use pointsman_routers::artifact::Artifact;
use pointsman_routers::train::{BertOptions, train_bert_artifact};

use super::common::{Common, Material, reported};
use crate::cli::output::Failure;

/// Train the last layer of a sentence encoder on battles and outcomes
///
/// Reads every format by its content, plain or gzipped: outcome rows, battle rows, vote counts, clean_battle arrays,
/// the Arena's CSV, JSON lines and Parquet. Nine prompts of ten are learned from; one temperature is fitted on the
/// tenth, and what is measured on it goes into the artefact and to stdout. The same files, encoder and seed give the same
/// artefact, byte for byte, on any number of threads and in whatever order the files are named; the order of their rows
/// changes nothing but the digests that the artefact records.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman train bert --data outcomes.jsonl battles.jsonl.gz --encoder \"$(pointsman models pull)\" --out bert.safetensors
  pointsman route --artifact bert.safetensors --encoder DIR --models gpt-4-0613,claude-1 \"What is 2 + 2?\"

Without --encoder the vectors are those of the embedder in the binary: less good, and a thousand times as fast.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,
}

pub(super) fn train(arguments: &Arguments, material: &Material) -> Result<Artifact, Failure> {
    let options = BertOptions { seed: arguments.common.seed };
    let Material { data, embeddings, origin, .. } = material;
    reported(|report| train_bert_artifact(data, embeddings, origin, &options, report))
}
