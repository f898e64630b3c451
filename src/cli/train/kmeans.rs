//! `pointsman train kmeans`.

use clap::{Args, value_parser};
use pointsman_routers::artifact::Artifact;
use pointsman_routers::train::{KmeansOptions, train_kmeans_artifact};

use super::common::{Common, Material, reported};
use crate::cli::output::Failure;

/// Train the clusters router, a baseline: ratings fitted to each cluster of prompts
///
/// Nine prompts of ten are clustered and fitted; how strongly ratings are held to the global ones is chosen on the tenth.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pointsman train kmeans --data outcomes.jsonl battles.jsonl.gz --out kmeans.safetensors")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) common: Common,

    /// Clusters, if there are as many prompts
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), default_value_t = KmeansOptions::default().clusters as u32)]
    clusters: u32,
}

pub(super) fn train(arguments: &Arguments, material: &Material) -> Result<Artifact, Failure> {
    let Material { data, embeddings, origin, .. } = material;
    let options = KmeansOptions { seed: arguments.common.seed, clusters: arguments.clusters as usize };
    reported(|report| train_kmeans_artifact(data, embeddings, origin, &options, report))
}
