//! `pointsman train knn`.

use clap::{Args, value_parser};
use pointsman_routers::artifact::Artifact;
use pointsman_routers::train::{KnnOptions, train_knn_artifact};

use super::common::{Common, Material, reported};
use crate::cli::output::Failure;

/// Train the nearest-neighbours router, a baseline: ratings fitted to the prompts most like a new one
///
/// Nine prompts of ten are remembered, by their embeddings and battles, never by their texts; how strongly ratings are
/// held to the global ones is chosen on the tenth.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman train knn --data outcomes.jsonl battles.jsonl.gz --out knn.safetensors
  pointsman train knn --data outcomes.jsonl --neighbours 40 --out knn.safetensors")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,

    /// Prompts that count
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), default_value_t = KnnOptions::default().neighbours as u32)]
    neighbours: u32,
}

pub(super) fn train(arguments: &Arguments, material: &Material) -> Result<Artifact, Failure> {
    let Material { data, embeddings, origin, .. } = material;
    let options = KnnOptions { seed: arguments.common.seed, neighbours: arguments.neighbours as usize };
    reported(|report| train_knn_artifact(data, embeddings, origin, &options, report))
}
