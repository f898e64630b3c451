//! What the remembering routers learn from small made-up data, and that rows' order and sides have no say.

use faer::Mat;
use proptest::prelude::*;

use super::super::tests::{ANCHOR, MODELS, embed, exchanged, gather, rows};
use super::*;
use crate::router::{QueryBatch, Router};

type Train = fn(&Dataset) -> Artifact;

const KINDS: [(&str, Train); 3] = [("sw", sw), ("knn", knn), ("kmeans", kmeans)];

fn origin() -> Origin {
    Origin { embedder: "parity".to_owned(), sources: Vec::new() }
}

fn sw(data: &Dataset) -> Artifact {
    train_sw_artifact(data, &embed(data), &origin(), &SwOptions::default(), &|_, _| ()).unwrap()
}

fn knn(data: &Dataset) -> Artifact {
    let options = KnnOptions { neighbours: 1, ..KnnOptions::default() };
    train_knn_artifact(data, &embed(data), &origin(), &options, &|_, _| ()).unwrap()
}

fn kmeans(data: &Dataset) -> Artifact {
    let options = KmeansOptions { clusters: 3, ..KmeansOptions::default() };
    train_kmeans_artifact(data, &embed(data), &origin(), &options, &|_, _| ()).unwrap()
}

/// θ of the three models at the vectors of even and of odd questions, and at zero.
fn skills(router: &dyn Router) -> Mat<f64> {
    let candidates: Vec<_> = MODELS.iter().map(|name| router.place(name, None).unwrap()).collect();
    let embeddings = Mat::from_fn(3, 6, |row, column| f32::from(u8::from(row == column && row < 2)));
    router
        .skills(&QueryBatch { texts: &["even", "odd", ""], embeddings: Some(embeddings) }, &candidates)
        .unwrap()
}

#[test]
fn what_the_prompt_says_is_remembered() {
    let data = gather(rows());
    for (kind, train) in KINDS {
        let artifact = train(&data);
        assert_eq!(artifact.kind(), kind);
        let skills = skills(&*artifact.router());
        assert!(
            skills[(0, 0)] - skills[(0, 1)] > 0.3 + skills[(1, 0)] - skills[(1, 1)],
            "{kind}: {skills:?}"
        );
        let prior = &artifact.ratings().prior;
        for (column, model) in MODELS.iter().enumerate() {
            let prior = prior[data.model(model).unwrap()];
            assert!((skills[(2, column)] - prior).abs() < 1e-12, "{kind}: nothing seen, nothing said");
        }
        for name in ["dev_log_loss", "temperature", "ridge"] {
            assert!(artifact.provenance().metrics.contains_key(name), "{kind}: {name}");
        }
        assert_eq!(artifact.calibration().len(), data.prompts.len());
        assert!(artifact.ratings().models.iter().any(|model| model == ANCHOR));
    }
}

#[test]
fn what_is_written_is_read_again() {
    let data = gather(rows());
    for (kind, train) in KINDS {
        let artifact = train(&data);
        let bytes = artifact.to_bytes().unwrap();
        let read = Artifact::from_bytes(&bytes, "it").unwrap();
        assert!(read == artifact, "{kind}");
        assert_eq!(skills(&*read.router()), skills(&*artifact.router()), "{kind}");
    }
}

#[test]
fn nothing_to_remember_is_an_error() {
    let mut data = gather(rows());
    let misfit = train_sw_artifact(&data, &Mat::zeros(1, 6), &origin(), &SwOptions::default(), &|_, _| ());
    assert!(matches!(misfit, Err(TrainError::Embeddings { rows: 1, .. })));
    let embeddings = embed(&data);
    data.outcomes.clear();
    data.judged.clear();
    let nothing = train_sw_artifact(&data, &embeddings, &origin(), &SwOptions::default(), &|_, _| ());
    assert!(matches!(nothing, Err(TrainError::NoBattles)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    /// Law 3: rows in any order, told from either side, train the same bytes.
    #[test]
    fn the_order_and_the_sides_of_rows_change_no_byte(
        (shuffled, flips) in (Just(rows()).prop_shuffle(), prop::collection::vec(any::<bool>(), rows().len())),
    ) {
        let told = shuffled.into_iter().zip(flips).map(|(row, flip)| if flip { exchanged(row) } else { row });
        let (one, other) = (gather(rows()), gather(told.collect()));
        for (kind, train) in KINDS {
            prop_assert!(train(&one).to_bytes().unwrap() == train(&other).to_bytes().unwrap(), "{}", kind);
        }
    }
}
