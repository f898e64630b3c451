//! `pointsman distill`: a static embedder from a sentence encoder.

use std::path::PathBuf;

use clap::Args;
use pointsman_routers::data::ReadOptions;
use pointsman_routers::distill::{DistillOptions, distill, take_texts};
use pointsman_routers::encoder::Encoder;

use super::output::{Failure, write_file};
use super::{data, progress};

/// Distil a sentence encoder into a static embedding table
///
/// Runs every word piece through the encoder once and keeps a short vector for each, so that embedding a text takes
/// microseconds. The encoder is a folder with `config.json`, `tokenizer.json` and `model.safetensors`, of the BERT
/// family, with BERT's word pieces. Example texts of the kind that will be routed make the table better: the encoder
/// reads them, and the vectors are fitted to what it makes of them. The same encoder and texts give the same file, byte
/// for byte.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman distill --encoder all-MiniLM-L6-v2 --out static.safetensors
  pointsman distill --encoder all-MiniLM-L6-v2 --texts outcomes.jsonl battles.jsonl --out static.safetensors
  pointsman distill --encoder all-MiniLM-L6-v2 --dim 128 --out small.safetensors")]
pub(super) struct Arguments {
    /// The encoder's folder
    #[arg(long, value_name = "DIR")]
    encoder: PathBuf,

    /// Data files whose prompts serve as example texts, in any format that `train` reads
    #[arg(long, value_name = "FILE", num_args = 1..)]
    texts: Vec<PathBuf>,

    /// Dimensions of the static vectors
    #[arg(long, value_name = "N", default_value_t = DistillOptions::default().dim)]
    dim: usize,

    /// Where the table goes
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let encoder = Encoder::load(&arguments.encoder).map_err(Failure::because)?;
    let mut texts = Vec::new();
    data::read_rows("--texts", &arguments.texts, &ReadOptions::default(), &mut |row| {
        take_texts(row, &mut texts);
        Ok(())
    })?;
    let options = DistillOptions { dim: arguments.dim, texts };
    let bar = progress::bar("word pieces and texts", 0);
    let table = distill(&encoder, &options, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let bytes = table.and_then(|table| Ok(table.to_bytes()?)).map_err(Failure::because)?;
    write_file(&arguments.out, &bytes)?;
    tracing::info!(file = %arguments.out.display(), bytes = bytes.len(), dim = arguments.dim, "distilled");
    Ok(())
}
