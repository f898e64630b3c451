//! `pointsman train kmeans`.

use clap::{Args, value_parser};
use pointsman_routers::train::Recipe;

use super::common::{Common, Trains};

/// Train the clusters router, a baseline: ratings fitted to each cluster of prompts
///
/// Nine prompts of ten are clustered and fitted; how strongly ratings are held to the global ones is chosen on the tenth.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  pointsman train kmeans --data outcomes.jsonl battles.jsonl.gz --out kmeans.safetensors")]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,

    /// Clusters, if there are as many prompts
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), default_value_t = Recipe::CLUSTERS as u32)]
    clusters: u32,
}

impl Trains for Arguments {
    fn common(&self) -> &Common {
        &self.common
    }

    fn recipe(&self) -> Recipe {
        Recipe::Kmeans { clusters: self.clusters as usize }
    }
}
