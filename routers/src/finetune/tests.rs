//! A tiny network trained whole: it finds a rule, goes on to the same bits, and is read back as it was written.

mod bases;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use candle_core::Tensor;

use super::fixture::{Fixture, planted};
use super::*;
use crate::causal::{Reader, Template, skill};
use crate::decoder::{self, Decoder};

pub(super) const QUESTION_TOKENS_MAX: usize = 32;

fn base(folder: &Path, fixture: &Fixture) -> CausalModel {
    fixture.write(folder);
    CausalModel::load(folder).unwrap()
}

fn options(steps: usize) -> FinetuneOptions {
    FinetuneOptions {
        steps,
        batch: 8,
        learning_rate: 1e-3,
        warm_up: 10,
        dev_share: 0.2,
        question_tokens_max: QUESTION_TOKENS_MAX,
        ..FinetuneOptions::default()
    }
}

fn go_on(_: Event) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

pub(super) fn bits(tensor: &Tensor) -> Vec<u32> {
    let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// Enough for the rule.
const STEPS: usize = 120;

#[test]
fn a_planted_rule_is_learned_whole_and_read_back_the_same() {
    let (folder, data) = (tempfile::tempdir().unwrap(), planted(120));
    let model = base(folder.path(), &Fixture::llama(true));
    let (mut losses, mut measured, options) = (Vec::new(), Vec::new(), options(STEPS));
    let trained = finetune(model, &data, &options, &mut |event| {
        match event {
            Event::Step(step) => losses.push(step.loss),
            Event::Measured(measures) => measured.push(measures),
            Event::Checkpoint(path) => panic!("{}", path.display()),
        }
        ControlFlow::Continue(())
    });
    let Finetuned { model, measures } = trained.unwrap();
    assert_eq!((losses.len(), measured.as_slice()), (STEPS, &[measures][..]));
    assert!(losses[STEPS - 1] < 0.3 * losses[0], "{losses:?}");
    assert!(measures.pairwise_accuracy.unwrap() > 0.95 && measures.loss < 0.3, "{measures:?}");

    let pairs = [("red dog 3 runs", "alpha"), ("red dog 3 runs", "beta"), ("red dog sleeps", "alpha")];
    let logits = model.label_logits(&pairs, QUESTION_TOKENS_MAX).unwrap();
    let skills: Vec<f64> = logits.iter().copied().map(skill).collect();
    assert!(skills[0] > skills[1] && skills[0] > skills[2], "{skills:?}");
    for (precision, tolerance) in [(Precision::F32, 0.0), (Precision::Bf16, 0.3)] {
        let folder = tempfile::tempdir().unwrap();
        model.save(folder.path(), precision, QUESTION_TOKENS_MAX).unwrap();
        let read = CausalModel::load(folder.path()).unwrap();
        assert_eq!(read.labels, model.labels);
        let again = read.label_logits(&pairs, QUESTION_TOKENS_MAX).unwrap();
        assert!(gap(&logits, &again) <= tolerance, "{precision:?}: {logits:?} {again:?}");
        // As routers ask it: another network over the same folder, with labels of its own.
        let decoder = Arc::new(Decoder::load(folder.path(), decoder::Precision::F32).unwrap());
        let reader =
            Reader::untrained(decoder, Template::CURRENT, QUESTION_TOKENS_MAX, &["alpha", "beta"]).unwrap();
        let reader = reader.with_own_labels().unwrap();
        let asked: Vec<[f32; 5]> =
            pairs.iter().map(|(question, name)| reader.read(question, &[name]).unwrap()[0]).collect();
        assert!(gap(&again, &asked) < 1e-3, "{precision:?}: {again:?} {asked:?}");
    }
}

/// The largest difference of two logits.
fn gap(some: &[[f32; 5]], others: &[[f32; 5]]) -> f32 {
    let gaps = some.iter().flatten().zip(others.iter().flatten()).map(|(one, other)| (one - other).abs());
    gaps.fold(0.0, f32::max)
}

#[test]
fn an_interrupted_training_goes_on_to_the_same_bits() {
    let (folder, checkpoints, data) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), planted(40));
    let fixture = Fixture::qwen2();
    let base = || base(folder.path(), &fixture);
    let whole = finetune(base(), &data, &options(9), &mut go_on).unwrap();

    let resumed = FinetuneOptions {
        checkpoint_dir: Some(checkpoints.path().join("here")),
        checkpoint_every: 2,
        resume: true,
        ..options(9)
    };
    // Once between two checkpoints, once at one.
    for (last, step) in [(3, 3), (6, 6)] {
        let stopped = finetune(base(), &data, &resumed, &mut |event| match event {
            Event::Step(report) if report.step == last => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert!(matches!(stopped, Err(FinetuneError::Interrupted { step: at }) if at == step), "{stopped:?}");
    }
    let mut steps = Vec::new();
    let trained = finetune(base(), &data, &resumed, &mut |event| {
        if let Event::Step(report) = event {
            steps.push(report.step);
        }
        ControlFlow::Continue(())
    });
    let trained = trained.unwrap();
    assert_eq!(steps, [7, 8, 9]);
    assert_eq!(whole.model.weights.len(), trained.model.weights.len());
    for (name, weight) in &whole.model.weights {
        assert!(bits(weight) == bits(&trained.model.weights[name]), "{name}");
    }
    assert_eq!(whole.measures, trained.measures);
    let files = std::fs::read_dir(checkpoints.path().join("here")).unwrap().count();
    assert_eq!(files, 2, "old checkpoints are removed");

    // A finished training has nothing left to do; another one is refused.
    let finished = finetune(base(), &data, &resumed, &mut |event| panic!("{event:?}")).unwrap();
    assert_eq!(finished.measures, whole.measures);
    let other = FinetuneOptions { learning_rate: 2e-3, ..resumed };
    let refused = finetune(base(), &data, &other, &mut go_on).unwrap_err().to_string();
    assert!(refused.contains("`learning_rate` differs"), "{refused}");
}

#[test]
fn micro_batches_change_no_more_than_rounding_does() {
    let (folder, data) = (tempfile::tempdir().unwrap(), planted(40));
    let fixture = Fixture::llama(false);
    let train = |micro_batch| {
        let options = FinetuneOptions { micro_batch, ..options(3) };
        finetune(base(folder.path(), &fixture), &data, &options, &mut go_on).unwrap().measures.loss
    };
    assert!((train(8) - train(3)).abs() < 1e-3);
}

#[test]
fn nothing_to_learn_from_and_divergence_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Fixture::llama(true);
    let fails = |data, options: &FinetuneOptions| {
        finetune(base(folder.path(), &fixture), &data, options, &mut go_on).unwrap_err()
    };
    assert!(matches!(fails(planted(0), &options(1)), FinetuneError::NoExamples));
    let wild = FinetuneOptions { learning_rate: 1e30, warm_up: 0, ..options(5) };
    assert!(matches!(fails(planted(20), &wild), FinetuneError::Diverged { .. }));
}
