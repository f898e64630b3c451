//! `pointsman train`: routers from data.
//!
//! A kind of router is a variant here: its options beside those that all kinds share, and the recipe that they make.

mod causal;
mod common;
mod show;

use clap::{Args, Subcommand, value_parser};
use pointsman_routers::train::Recipe;

use self::common::Common;
use super::output::Failure;
use super::parse;

/// Train a router
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    kind: Kind,
}

#[derive(Debug, Subcommand)]
enum Kind {
    /// Train the last layer of a sentence encoder on battles and outcomes
    ///
    /// Reads every format by its content, plain or gzipped: outcome rows, battle rows, vote counts, clean_battle arrays,
    /// the Arena's CSV, JSON lines and Parquet. Nine prompts of ten are learned from; one temperature is fitted on the
    /// tenth, and what is measured on it goes into the artefact and to stdout. The same files, encoder and seed give the same
    /// artefact, byte for byte, on any number of threads and in whatever order the files are named; the order of their rows
    /// changes nothing but the digests that the artefact records.
    #[command(after_help = "Examples:
  pointsman train bert --data outcomes.jsonl battles.jsonl.gz --encoder \"$(pointsman models pull)\" --out bert.safetensors
  pointsman route --artifact bert.safetensors --encoder DIR --models gpt-4-0613,claude-1 \"What is 2 + 2?\"

Without --encoder the vectors are those of the embedder in the binary: less good, and a thousand times as fast.")]
    Bert {
        #[command(flatten)]
        common: Common,
    },

    /// Train a blend: mf, sw and knn heard together, each as much as held-out prompts say that it is worth
    ///
    /// Nine prompts of ten train the three, each as it is trained by itself; on the tenth their weights are fitted. The artefact
    /// holds all three, complete.
    #[command(after_help = "Examples:
  pointsman train blend --data outcomes.jsonl battles.jsonl.gz --out blend.safetensors
  pointsman train blend --data outcomes.jsonl --encoder \"$(pointsman models pull)\" --out blend-minilm.safetensors")]
    Blend {
        #[command(flatten)]
        common: Common,
    },

    /// Train a language model to say how well each model will answer
    ///
    /// The language model reads an instruction, the prompt and a model's name, and says as one of five labels how good that model's
    /// answer will be. By default it stays as it is: trained are rows for the labels and a small adapter, on its hidden states for
    /// nine prompts of ten, up to where the tenth get no better. What is measured on these goes into the artefact and to stdout.
    #[command(after_help = "Examples:
  pointsman train causal --base SmolLM2-135M-Instruct.gguf --data outcomes.jsonl battles.jsonl.gz --out causal.safetensors
  pointsman route --artifact causal.safetensors --decoder SmolLM2-135M-Instruct.gguf --models gpt-4-0613,claude-1 \"What is 2 + 2?\"
  pointsman train causal --mode full --base DIR --data outcomes.jsonl --steps 2000 --resume --out causal.safetensors")]
    Causal(causal::Arguments),

    /// Train the clusters router, a baseline: ratings fitted to each cluster of prompts
    ///
    /// Nine prompts of ten are clustered and fitted; how strongly ratings are held to the global ones is chosen on the tenth.
    #[command(after_help = "Example:
  pointsman train kmeans --data outcomes.jsonl battles.jsonl.gz --out kmeans.safetensors")]
    Kmeans {
        #[command(flatten)]
        common: Common,

        /// Clusters, if there are as many prompts
        #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), default_value_t = Recipe::CLUSTERS as u32)]
        clusters: u32,
    },

    /// Train the nearest-neighbours router, a baseline: ratings fitted to the prompts most like a new one
    ///
    /// Nine prompts of ten are remembered, by their embeddings and battles, never by their texts; how strongly ratings are
    /// held to the global ones is chosen on the tenth.
    #[command(after_help = "Examples:
  pointsman train knn --data outcomes.jsonl battles.jsonl.gz --out knn.safetensors
  pointsman train knn --data outcomes.jsonl --neighbours 40 --out knn.safetensors")]
    Knn {
        #[command(flatten)]
        common: Common,

        /// Prompts that count
        #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..), default_value_t = Recipe::NEIGHBOURS as u32)]
        neighbours: u32,
    },

    /// Train the matrix-factorisation router on battles and outcomes
    ///
    /// Reads every format by its content, plain or gzipped: outcome rows, battle rows, vote counts, clean_battle arrays,
    /// the Arena's CSV, JSON lines and Parquet. Nine prompts of ten are learned from; one temperature is fitted on the
    /// tenth, and what is measured on it goes into the artefact and to stdout. The same files, encoder and seed give the same
    /// artefact, byte for byte, on any number of threads and in whatever order the files are named; the order of their rows
    /// changes nothing but the digests that the artefact records.
    #[command(after_help = "Examples:
  pointsman train mf --data outcomes.jsonl battles.jsonl.gz --out mf.safetensors
  pointsman train mf --data votes.json battles.jsonl --licence battles.jsonl=MIT --seed 1 --out mf.safetensors
  pointsman train mf --data outcomes.jsonl --encoder \"$(pointsman models pull)\" --out mf-minilm.safetensors
  pointsman route --artifact mf.safetensors --models gpt-4-0613,claude-1 \"What is 2 + 2?\"")]
    Mf {
        #[command(flatten)]
        common: Common,

        /// Hidden dimensions
        #[arg(long, value_name = "N", value_parser = parse::count, default_value_t = Recipe::RANK)]
        rank: usize,
    },

    /// Train the similarity-weighted router: it remembers prompts, and fits ratings at each new one
    ///
    /// Nine prompts of ten are remembered, by their embeddings and battles, never by their texts; how sharply similarity
    /// counts, and how strongly ratings are held to the global ones, is chosen on the tenth, and what is measured there goes
    /// into the artefact and to stdout. The same files, encoder and seed give the same artefact, byte for byte.
    #[command(after_help = "Examples:
  pointsman train sw --data outcomes.jsonl battles.jsonl.gz --out sw.safetensors
  pointsman train sw --data battles.jsonl --encoder \"$(pointsman models pull)\" --out sw-minilm.safetensors")]
    Sw {
        #[command(flatten)]
        common: Common,
    },
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (common, recipe) = match &arguments.kind {
        Kind::Bert { common } => (common, Recipe::Bert),
        Kind::Blend { common } => (common, Recipe::Blend),
        Kind::Causal(arguments) => return causal::run(arguments),
        Kind::Kmeans { common, clusters } => (common, Recipe::Kmeans { clusters: *clusters as usize }),
        Kind::Knn { common, neighbours } => (common, Recipe::Knn { neighbours: *neighbours as usize }),
        Kind::Mf { common, rank } => (common, Recipe::Mf { rank: *rank }),
        Kind::Sw { common } => (common, Recipe::Sw),
    };
    common::run(common, &recipe)
}
