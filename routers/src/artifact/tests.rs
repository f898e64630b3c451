use std::collections::BTreeMap;
use std::sync::OnceLock;

use faer::Mat;
use proptest::prelude::*;

use super::*;
use crate::mf::MfWeights;
use crate::reading::ReadingWeights;

fn ratings() -> Ratings {
    let models = ["amber", "beryl", "mixtral-8x7b-instruct-v0.1"].map(str::to_owned).to_vec();
    Ratings { models, prior: vec![0.5, -0.75, 0.25], components: vec![0, 7, 0] }
}

fn weights() -> MfWeights {
    let gate = Mat::from_fn(5, 2, |row, column| if row == column { 20.0 } else { -0.5 });
    let map =
        |domain: usize| Mat::from_fn(5, 2, |row, column| row as f32 - 1.5 * column as f32 + domain as f32);
    let mut weights = MfWeights {
        reading: ReadingWeights { gate, ..ReadingWeights::plain(4) },
        projections: vec![map(0), map(1)],
        factors: Mat::from_fn(3, 2, |row, column| (row * row) as f32 - column as f32),
    };
    weights.centre();
    weights
}

fn provenance() -> Provenance {
    let source = Source {
        name: "votes.json".to_owned(),
        sha256: "00".repeat(32),
        rows: 12,
        licence: "MIT".to_owned(),
    };
    Provenance {
        embedder: "a space".to_owned(),
        anchor: Anchor::arena(),
        sources: vec![source],
        training_prompts: vec![PromptHash([9; 16]), PromptHash([1; 16]), PromptHash([9; 16])],
        seed: u64::MAX,
        metrics: BTreeMap::from([("log_loss".to_owned(), serde_json::json!({"votes": 0.625}))]),
    }
}

fn sample() -> CalibrationSample {
    let shifts = Mat::from_fn(5, 3, |row, column| row as f64 * (column as f64 - 1.0));
    CalibrationSample::quantise(&shifts, &[3, 1, 4, 1, 5])
}

fn small() -> Artifact {
    Artifact::new(ratings(), Body::Mf(weights()), provenance(), sample()).unwrap()
}

/// The file of the small artefact.
fn file() -> &'static [u8] {
    static FILE: OnceLock<Vec<u8>> = OnceLock::new();
    FILE.get_or_init(|| small().to_bytes().unwrap())
}

fn problem(bytes: &[u8]) -> ArtifactProblem {
    let error = Artifact::from_bytes(bytes, "my.safetensors").unwrap_err();
    assert_eq!(error.to_string(), format!("router artefact `my.safetensors`: {}", error.problem));
    error.problem
}

/// The small artefact's file with another manifest, under a digest that fits.
fn with_manifest(change: impl Fn(&mut serde_json::Value)) -> Vec<u8> {
    let text = Manifest::describe(&small()).to_json().unwrap();
    let mut manifest = serde_json::from_str(&text).unwrap();
    change(&mut manifest);
    container::write(&manifest.to_string(), &[]).unwrap()
}

#[test]
fn what_is_written_is_read() {
    let read = Artifact::from_bytes(file(), "my.safetensors").unwrap();
    assert_eq!(read, small());
    assert_eq!(read.to_bytes().unwrap(), file());
    assert_eq!(read.provenance().training_prompts, [PromptHash([1; 16]), PromptHash([9; 16])]);
    assert_eq!(read.embedder_fingerprint(), "a space");
}

#[test]
fn an_empty_sample_and_no_prompts_can_be_written() {
    let provenance = Provenance { training_prompts: vec![], ..provenance() };
    let empty = CalibrationSample::quantise(&Mat::zeros(0, 3), &[]);
    let artifact = Artifact::new(ratings(), Body::Mf(weights()), provenance, empty).unwrap();
    assert_eq!(Artifact::from_bytes(&artifact.to_bytes().unwrap(), "").unwrap(), artifact);
}

#[test]
fn a_sample_keeps_its_shifts_to_half_a_step() {
    let shifts = Mat::from_fn(2, 3, |row, column| [[0.6, -2.5, 0.01], [0.0, 0.0, 0.0]][row][column]);
    let sample = CalibrationSample::quantise(&shifts, &[7, 8]);
    for column in 0..3 {
        let kept = sample.of_row(column).unwrap();
        assert!((kept[0] - shifts[(0, column)]).abs() <= 2.5 / 32767.0 / 2.0 + 1e-7, "{kept:?}");
        assert_eq!(kept[1].to_bits(), 0.0f64.to_bits(), "nothing stays nothing");
    }
    let mixed = sample.mixed(&[0.5, 1.0, 0.0]);
    assert!((mixed[0] + 2.2).abs() < 1e-4, "{mixed:?}");
    assert_eq!((sample.len(), sample.prompt_tokens(), sample.of_row(3)), (2, [7, 8].as_slice(), None));
    // What was rounded once is not rounded again.
    let kept: Vec<Vec<f64>> = (0..3).map(|column| sample.of_row(column).unwrap()).collect();
    let again = Mat::from_fn(2, 3, |row, column| kept[column][row]);
    assert_eq!(CalibrationSample::quantise(&again, &[7, 8]), sample);
}

/// Prompts of which the router makes the same share a row in the file, and none in memory.
#[test]
fn rows_that_repeat_are_written_once() {
    let shifts = Mat::from_fn(400, 3, |prompt, model| if prompt % 3 == model { 0.25 } else { -0.125 });
    let tokens: Vec<u32> = (0..400).collect();
    let artifact = small().recalibrated(CalibrationSample::quantise(&shifts, &tokens)).unwrap();
    let distinct = Mat::from_fn(400, 3, |prompt, model| (prompt * 3 + model) as f64);
    let plain = small().recalibrated(CalibrationSample::quantise(&distinct, &tokens)).unwrap();
    let [short, long] = [&artifact, &plain].map(|artifact| artifact.to_bytes().unwrap());
    assert!(short.len() + 400 * 5 < long.len(), "{} {}", short.len(), long.len());
    assert_eq!(Artifact::from_bytes(&short, "short").unwrap(), artifact);
    assert_eq!(Artifact::from_bytes(&long, "long").unwrap(), plain);
}

#[test]
fn a_sample_of_other_models_is_refused() {
    let sample = CalibrationSample::quantise(&Mat::zeros(1, 4), &[1]);
    let problem = small().recalibrated(sample).unwrap_err().to_string();
    assert!(problem.contains("`calibration_shifts` is of 4 models, expected 3"), "{problem}");
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let refused = |change: fn(&mut MfWeights)| {
        let mut weights = weights();
        change(&mut weights);
        Artifact::new(ratings(), Body::Mf(weights), provenance(), sample()).unwrap_err().to_string()
    };
    let unrated = |change: fn(&mut Ratings)| {
        let mut ratings = ratings();
        change(&mut ratings);
        Artifact::new(ratings, Body::Mf(weights()), provenance(), sample()).unwrap_err().to_string()
    };
    assert!(refused(|weights| weights.projections[1][(0, 1)] = 1e7).contains("`projections` holds 10000000"));
    assert!(
        refused(|weights| drop(weights.projections.pop())).contains("serves 1 domains, the gate tells 2")
    );
    assert!(refused(|weights| weights.projections[0] = Mat::zeros(4, 2)).contains("(4, 2), expected (5, 2)"));
    assert!(unrated(|ratings| ratings.prior[0] += 0.1).contains("`prior` has a column of mean 0.03"));
    assert!(refused(|weights| weights.factors[(0, 1)] += 0.1).contains("`factors` has a column of mean"));
    assert!(unrated(|ratings| ratings.models.swap(0, 1)).contains("`amber` follows `beryl`"));
    assert!(
        refused(|weights| weights.factors = Mat::zeros(2, 2)).contains("has shape (2, 2), expected 3 rows")
    );
    assert!(refused(|weights| weights.factors = Mat::zeros(3, 0)).contains("has shape (3, 0)"));
    assert!(refused(|weights| weights.reading.gate = Mat::zeros(4, 2)).contains("expected 5 rows"));
    assert!(refused(|weights| weights.reading.gate[(1, 1)] = f32::NAN).contains("`gate` holds NaN"));
    assert!(refused(|weights| weights.reading.feature_scale = vec![1.0]).contains("has 1 values"));
    assert!(
        refused(|weights| weights.reading.feature_centre = vec![1.0]).contains("has 1 values, expected 0")
    );
    assert!(unrated(|ratings| ratings.components.push(1)).contains("`components` has 4 values, expected 3"));
    assert!(unrated(|ratings| ratings.models.clear()).contains("it names no models"));
    let provenance = Provenance { anchor: Anchor { model: "cobalt".to_owned(), elo: 1.0 }, ..provenance() };
    let error = Artifact::new(ratings(), Body::Mf(weights()), provenance, sample()).unwrap_err().to_string();
    assert!(error.contains("the anchor `cobalt` is not one of its models"), "{error}");
}

#[test]
fn models_are_added_once() {
    let model = |name: &str| Added { model: name.to_owned(), prior: 0.75, mix: vec![0.5, 0.0, -0.25] };
    let source = Source { name: "mine.jsonl".to_owned(), ..provenance().sources[0].clone() };
    let add = |to: Artifact, model| to.adding(model, [PromptHash([4; 16])], [source.clone()]);
    let two = add(add(small(), model("cobalt")).unwrap(), model("azure")).unwrap();
    let read = Artifact::from_bytes(&two.to_bytes().unwrap(), "").unwrap();
    assert_eq!(read, two);
    let names: Vec<&str> = read.added().iter().map(|added| added.model.as_str()).collect();
    assert_eq!(names, ["azure", "cobalt"]);
    assert_eq!(read.provenance().training_prompts.len(), 3);
    assert_eq!(read.provenance().sources.len(), 3);
    let recalibrated = read.clone().recalibrated(sample()).unwrap();
    assert_eq!(recalibrated, read, "a new sample keeps the added models");
    let refused = |model| add(two.clone(), model).unwrap_err().to_string();
    assert!(refused(model("amber")).contains("`amber` is added and known already"));
    assert!(refused(model("azure")).contains("`azure` follows `azure`"));
    assert!(
        refused(Added { mix: vec![1.0], ..model("new") }).contains("`added_mix` has 1 columns, expected 3")
    );
    assert!(refused(Added { prior: f64::NAN, ..model("new") }).contains("`added_prior` holds NaN"));
}

#[test]
fn errors_say_what_is_wrong() {
    assert!(matches!(problem(b"<html>Not found</html>"), ArtifactProblem::NotSafetensors(_)));
    let foreign = safetensors::serialize(Vec::<(&str, safetensors::tensor::TensorView<'_>)>::new(), None);
    assert_eq!(problem(&foreign.unwrap()), ArtifactProblem::NoManifest);
    let newer = with_manifest(|manifest| manifest["format_version"] = 2.into());
    assert_eq!(problem(&newer), ArtifactProblem::NewerFormat { found: 2 });
    let other = with_manifest(|manifest| manifest["kind"] = "augury".into());
    assert_eq!(problem(&other), ArtifactProblem::UnknownKind { found: "augury".to_owned() });
    let kind = small().of_kind("sw", "my.safetensors").unwrap_err();
    assert_eq!(kind.problem, ArtifactProblem::Kind { found: "mf".to_owned(), expected: "sw".to_owned() });
    assert!(small().of_kind("mf", "my.safetensors").is_ok());
    let missing = problem(&with_manifest(|_| ()));
    assert_eq!(missing, ArtifactProblem::Tensor { name: "feature_scale", reason: "is missing".to_owned() });
    let empty = problem(&with_manifest(|manifest| manifest["dim"] = 0.into())).to_string();
    assert!(empty.contains("`dim` is 0, expected 1 to 65536"), "{empty}");
    let mut damaged = file().to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    assert!(matches!(problem(&damaged), ArtifactProblem::Digest { .. }));
}

proptest! {
    #[test]
    fn a_changed_file_is_refused_or_means_the_same(place in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = file().to_vec();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        if let Ok(read) = Artifact::from_bytes(&bytes, "") {
            prop_assert_eq!(read, small());
        }
    }

    #[test]
    fn a_truncated_file_is_refused(length in any::<prop::sample::Index>()) {
        let cut = &file()[..length.index(file().len())];
        prop_assert!(Artifact::from_bytes(cut, "").is_err());
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(Artifact::from_bytes(&bytes, "").is_err());
    }

    /// Foreign tensors and manifests under a digest that fits.
    #[test]
    fn forged_files_do_not_panic(dim in 0_u64..70_000, values in prop::collection::vec(any::<f32>(), 0..9)) {
        let text = Manifest::describe(&small()).to_json().unwrap();
        let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
        manifest["dim"] = dim.into();
        let names = ["bias", "components", "factors", "prior", "projection", "topic_projection", "topics"];
        let tensors: Vec<OwnedTensor> = names.map(|name| OwnedTensor::f32(name, &values)).into_iter().collect();
        let bytes = container::write(&manifest.to_string(), &tensors).unwrap();
        prop_assert!(Artifact::from_bytes(&bytes, "").is_err());
    }
}
