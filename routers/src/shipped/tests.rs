use std::sync::Arc;

use super::*;
use crate::embed::default_static;
use crate::router::QueryBatch;

/// A name as the configurations of the paper's users spell it, and its opponent.
const PAIR: [&str; 2] = ["gpt-4-1106-preview", "mistralai/Mixtral-8x7B-Instruct-v0.1"];

#[test]
fn every_kind_ships_and_scores_real_text() {
    let embedder = default_static().unwrap();
    let texts = ["", "What is 2 + 2?", "\0\u{10ffff}"];
    for kind in KINDS {
        let router = router(kind).unwrap();
        assert_eq!(router.name(), *kind);
        if let Some(space) = router.needs().embedding {
            assert_eq!(space, embedder.fingerprint(), "{kind} was trained with another embedder");
        }
        let candidates = PAIR.map(|name| router.place(name, None).unwrap());
        let embeddings = crate::embed::Embedder::embed_batch(&embedder, &texts).unwrap();
        let skills = router
            .skills(
                &QueryBatch { texts: &texts, embeddings: Some(embeddings), ..QueryBatch::default() },
                &candidates,
            )
            .unwrap();
        assert_eq!((skills.nrows(), skills.ncols()), (3, 2));
        let calibration = router.calibration(&candidates).unwrap();
        assert!(calibration.skills.nrows() >= 4096);
        assert_eq!(calibration.prompt_tokens.len(), calibration.skills.nrows());
    }
}

#[test]
fn the_ratings_are_the_arenas() {
    let router = router("best_single").unwrap();
    let elo = |name: &str| {
        let prior = |name| router.prior(&router.place(name, None).unwrap());
        1114.0 + (prior(name) - prior(PAIR[1])) * 400.0 / std::f64::consts::LN_10
    };
    // What the votes alone say, without a prior or any other source.
    for (model, expected) in [("gpt-4-1106-preview", 1251.0), ("gpt-3.5-turbo-0125", 1106.0)] {
        assert!((elo(model) - expected).abs() < 15.0, "{model}: {}", elo(model));
    }
}

#[test]
fn the_shipped_files_are_as_they_would_be_written_and_their_parts_are_what_they_say() {
    for shipped in ALL {
        let artifact = shipped.artifact().unwrap();
        assert_eq!(artifact.kind(), shipped.kind);
        // Not `assert_eq`, which would print both files.
        assert!(artifact.to_bytes().unwrap() == shipped.bytes(), "{}", shipped.kind);
    }
    let table = include_bytes!("../../artifacts/static-minilm-256.safetensors");
    let routers = BLEND_FILE.bytes.len() + KMEANS_FILE.bytes.len();
    assert!(table.len() + routers <= 25_000_000, "all that is inside the binary: 25 MB at most");
}

#[test]
fn files_are_read_by_kind_and_errors_name_them() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.safetensors");
    std::fs::write(&file, MF.bytes()).unwrap();
    for kind in ["mf", "best_single"] {
        let ((loaded, version), shipped) = (load(kind, &file).unwrap(), router(kind).unwrap());
        // Of the part alone, and not of the blend that ships with it.
        assert!(version.as_ref().is_some_and(|version| version.len() == 12), "{version:?}");
        assert_ne!(version, super::version(kind));
        let candidates = PAIR.map(|name| loaded.place(name, None).unwrap());
        let skills = |router: Arc<dyn Router>| router.calibration(&candidates).unwrap().skills;
        assert_eq!(skills(loaded), skills(shipped));
    }
    let failed = |kind: &str, file: &Path| load(kind, file).err().unwrap().to_string();
    assert!(failed("random", &file).contains("reads no artefact"));
    assert!(failed("sw", &file).contains("it holds a router of kind `mf`, expected `sw`"));
    std::fs::write(&file, MF.bytes().get(..100_000).unwrap()).unwrap();
    assert!(failed("mf", &file).contains("mine.safetensors`: not a whole safetensors file"));
    assert!(failed("mf", &folder.path().join("none")).contains("none`: cannot be read"));
    let unknown = router("bert").err().unwrap().to_string();
    assert!(
        unknown.contains(
            "`bert` in this release, only best_single, blend, kmeans, knn, mf, random, sw: give an artefact"
        ),
        "{unknown}"
    );
}
