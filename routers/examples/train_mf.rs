//! Trains the `mf` router on data files and writes its artefact: `train_mf OUT FILE…`.
//!
//! With the files that the model card lists, this is how `artifacts/mf-default.safetensors` was made.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use pointsman_routers::artifact::Source;
use pointsman_routers::data::{DatasetBuilder, PresentationOrders, ReadOptions, Singles};
use pointsman_routers::embed;
use pointsman_routers::train::{MfOptions, Origin, embed_prompts, licence_of_file, train_mf_artifact};
use sha2::{Digest, Sha256};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().ok_or("usage: train_mf OUT FILE…")?;
    let mut builder = DatasetBuilder::new();
    let mut sources = Vec::new();
    for file in arguments {
        let path = Path::new(&file);
        let report = builder.read_file(path, &ReadOptions::default(), &mut |_| ())?;
        sources.push(source(path, report.rows)?);
    }
    // The order in which files are named must not show in the artefact.
    sources.sort_by(|one, other| one.name.cmp(&other.name));
    let data = builder.finish(PresentationOrders::United(Singles::Keep));
    let embedder = embed::default_static()?;
    let embeddings = embed_prompts(&data, &embedder, &mut |_| ())?;
    let origin = Origin { embedder: embedder.fingerprint().to_owned(), sources };
    let mut stderr = std::io::stderr();
    let artifact = train_mf_artifact(&data, &embeddings, &origin, &MfOptions::default(), &mut |progress| {
        // A progress line that cannot be written is no reason to stop.
        drop(writeln!(
            stderr,
            "epoch {} of {}: dev log-loss {:.5}",
            progress.epoch, progress.epochs_max, progress.dev_loss
        ));
    })?;
    std::fs::write(out, artifact.to_bytes()?)?;
    Ok(())
}

fn source(path: &Path, rows: u64) -> Result<Source, Box<dyn Error>> {
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let digest = Sha256::digest(std::fs::read(path)?);
    let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let licence = licence_of_file(&name).unwrap_or("not stated").to_owned();
    Ok(Source { name, sha256, rows, licence, weight: 1.0 })
}
