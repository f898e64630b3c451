//! A tiny encoder in a folder, and an artefact that was trained with it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use faer::Mat;
use pointsman_routers::{
    artifact::{Anchor, Artifact, Body, CalibrationSample, Provenance, Ratings},
    encoder::Encoder,
    mf::MfWeights,
    reading::ReadingWeights,
};

use crate::hub::encoder::{CONFIG, tokenizer, weights};

/// The models that the artefact knows; the second is the better, the more so the first value of a text's vector.
pub(crate) const MODELS: [&str; 2] = ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"];

/// A folder with both.
pub(crate) struct Trained {
    folder: tempfile::TempDir,
    pub(crate) fingerprint: String,
}

impl Trained {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("encoder")).unwrap();
        fs::write(at("encoder/config.json"), CONFIG).unwrap();
        fs::write(at("encoder/tokenizer.json"), tokenizer()).unwrap();
        fs::write(at("encoder/model.safetensors"), weights()).unwrap();
        let encoder = Encoder::load(&at("encoder")).unwrap();
        fs::write(at("mf.safetensors"), artifact(&encoder).to_bytes().unwrap()).unwrap();
        Self { fingerprint: encoder.fingerprint().to_owned(), folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn encoder(&self) -> PathBuf {
        self.path().join("encoder")
    }

    pub(crate) fn artifact(&self) -> PathBuf {
        self.path().join("mf.safetensors")
    }
}

fn artifact(encoder: &Encoder) -> Artifact {
    let dim = encoder.dim();
    let weights = MfWeights {
        reading: ReadingWeights::plain(dim),
        projections: vec![Mat::from_fn(dim + 1, 1, |row, _| if row == 0 { 1.0 } else { 0.0 })],
        factors: Mat::from_fn(2, 1, |row, _| if row == 0 { -1.0 } else { 1.0 }),
    };
    let provenance = Provenance {
        embedder: encoder.fingerprint().to_owned(),
        anchor: Anchor::arena(),
        sources: Vec::new(),
        training_prompts: Vec::new(),
        seed: 0,
        metrics: std::collections::BTreeMap::new(),
    };
    let texts = ["a", "b", "a b", "b b a"];
    let embeddings = encoder.embed_batch(&texts).unwrap();
    let shifts = Mat::from_fn(texts.len(), 2, |row, model| {
        f64::from(embeddings[(row, 0)] * weights.factors[(model, 0)])
    });
    let sample = CalibrationSample::quantise(&shifts, &[1, 1, 2, 3]);
    let ratings =
        Ratings { models: MODELS.map(str::to_owned).to_vec(), prior: vec![0.0; 2], components: vec![0; 2] };
    Artifact::new(ratings, Body::Mf(weights), provenance, sample).unwrap()
}
