//! What the remembering routers learn from small made-up data, and that rows' order and sides have no say.

use std::mem::discriminant;

use faer::Mat;
use proptest::prelude::*;

use super::super::Recipe;
use super::super::tests::{ANCHOR, MODELS, artifact, exchanged, gather, rows};
use crate::artifact::Artifact;
use crate::router::{QueryBatch, Router};

const RECIPES: [Recipe; 3] = [Recipe::Sw, Recipe::Knn { neighbours: 1 }, Recipe::Kmeans { clusters: 3 }];

/// θ of the three models at the vectors of even and of odd questions, and at zero.
fn skills(router: &dyn Router) -> Mat<f64> {
    let candidates: Vec<_> = MODELS.iter().map(|name| router.place(name, None).unwrap()).collect();
    let embeddings = Mat::from_fn(3, 6, |row, column| f32::from(u8::from(row == column && row < 2)));
    router
        .skills(
            &QueryBatch {
                texts: &["even", "odd", ""],
                embeddings: Some(embeddings),
                ..QueryBatch::default()
            },
            &candidates,
        )
        .unwrap()
}

#[test]
fn what_the_prompt_says_is_remembered() {
    let data = gather(rows());
    for recipe in RECIPES {
        let artifact = artifact(&recipe, &data);
        let kind = artifact.kind();
        assert_eq!(Recipe::of(kind).map(|of| discriminant(&of)), Some(discriminant(&recipe)));
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
    for recipe in RECIPES {
        let artifact = artifact(&recipe, &data);
        let kind = artifact.kind();
        let bytes = artifact.to_bytes().unwrap();
        let read = Artifact::from_bytes(&bytes, "it").unwrap();
        assert!(read == artifact, "{kind}");
        assert_eq!(skills(&*read.router()), skills(&*artifact.router()), "{kind}");
    }
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
        for recipe in RECIPES {
            let bytes = |data| artifact(&recipe, data).to_bytes().unwrap();
            prop_assert!(bytes(&one) == bytes(&other), "{recipe:?}");
        }
    }
}
