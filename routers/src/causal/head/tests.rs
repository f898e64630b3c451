//! Gradients against differences, and rules that a head must find.

use super::gradient::{loss, loss_and_gradient};
use super::*;
use crate::causal::measure::{Scored, pairwise_accuracy};
use crate::causal::skill;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha12Rng;

fn matrix(rows: usize, columns: usize, random: &mut ChaCha12Rng) -> Mat<f32> {
    Mat::from_fn(rows, columns, |_, _| random.random_range(-1.0..1.0))
}

/// One of a head's matrices.
type Part = fn(&mut Head) -> &mut Mat<f32>;

#[test]
fn the_gradient_is_what_small_moves_say() {
    let mut random = ChaCha12Rng::seed_from_u64(1);
    let mut head = Head {
        labels: matrix(5, 4, &mut random),
        down: matrix(3, 4, &mut random),
        up: matrix(4, 3, &mut random),
    };
    let hidden = matrix(7, 4, &mut random);
    let (labels, weights) = ([1, 2, 3, 4, 5, 5, 1], [1.0, 0.5, 2.0, 1.0, 0.0, 1.0, 3.0]);
    let exact = loss_and_gradient(&head, hidden.as_ref(), &labels, &weights);
    assert!((exact.loss - loss(&head, hidden.as_ref(), &labels, &weights)).abs() < 1e-12);
    let parts: [(Part, &Mat<f32>); 3] = [
        (|head| &mut head.labels, &exact.gradient.labels),
        (|head| &mut head.down, &exact.gradient.down),
        (|head| &mut head.up, &exact.gradient.up),
    ];
    for (part, gradient) in parts {
        for row in 0..gradient.nrows() {
            for column in 0..gradient.ncols() {
                let mut moved = |by: f32| {
                    part(&mut head)[(row, column)] += by;
                    let moved = loss(&head, hidden.as_ref(), &labels, &weights);
                    part(&mut head)[(row, column)] -= by;
                    moved
                };
                let slope = (moved(0.01) - moved(-0.01)) / 0.02;
                assert!((slope - f64::from(gradient[(row, column)])).abs() < 2e-4, "{row} {column}: {slope}");
            }
        }
    }
}

#[test]
fn a_head_that_has_learned_nothing_is_the_base() {
    let mut random = ChaCha12Rng::seed_from_u64(2);
    let (rows, hidden) = (matrix(5, 6, &mut random), matrix(9, 6, &mut random));
    let head = Head { labels: rows.clone(), down: matrix(2, 6, &mut random), up: Mat::zeros(6, 2) };
    assert!(head.is_sound());
    let expected = &hidden * rows.transpose();
    assert!((head.logits(hidden.as_ref()) - expected).norm_max() < 1e-5);
    assert!(!Head { up: Mat::zeros(5, 2), ..head }.is_sound());
}

/// Hidden states, and the labels of a rule that is linear in them or in their absolute values.
fn planted(count: usize, is_linear: bool, seed: u64) -> (Mat<f32>, Vec<u8>) {
    let mut random = ChaCha12Rng::seed_from_u64(seed);
    let hidden = matrix(count, 16, &mut random);
    let label = |row: usize| {
        let (first, second) = (hidden[(row, 3)], hidden[(row, 7)]);
        let score = if is_linear { (first - second + 2.0) / 4.0 } else { (first.abs() + second.abs()) / 2.0 };
        crate::causal::label_of(f64::from(score))
    };
    let labels = (0..count).map(label).collect();
    (hidden, labels)
}

fn accuracy(head: &Head, hidden: &Mat<f32>, labels: &[u8]) -> f64 {
    let logits = head.logits(hidden.as_ref());
    let rows = logits.row_iter().zip(labels).map(|(row, label)| Scored {
        prompt: 0,
        score: f64::from(*label),
        skill: skill(std::array::from_fn(|place| row[place])),
    });
    pairwise_accuracy(&rows.collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_planted_rule_is_found() {
    // A rule that bends needs the adapter.
    for (is_linear, least) in [(true, 0.97), (false, 0.9)] {
        let (hidden, labels) = planted(2000, is_linear, 3);
        let (dev, dev_labels) = planted(500, is_linear, 4);
        let rows = Mat::zeros(5, 16);
        let data = |hidden, labels, weights| HeadData { hidden: Mat::as_ref(hidden), labels, weights };
        let (training, held_out) =
            (data(&hidden, &labels, &[1.0; 2000]), data(&dev, &dev_labels, &[1.0; 500]));
        let options = HeadOptions { learning_rate: 0.01, steps: 600, ..HeadOptions::default() };
        let mut reports = 0;
        let trained = train_head(&rows, &training, &held_out, &options, &mut |_| reports += 1).unwrap();
        let accuracy = accuracy(&trained.head, &dev, &dev_labels);
        assert!(
            accuracy > least,
            "{is_linear}: {accuracy}, {} to {}",
            trained.first_loss,
            trained.held_out_loss
        );
        assert!(trained.held_out_loss < trained.first_loss && reports > 0);
        let again = train_head(&rows, &training, &held_out, &options, &mut |_| ()).unwrap();
        assert!(trained == again, "the same seed gives the same bits");
    }
}

#[test]
fn training_stops_when_nothing_is_gained() {
    let mut random = ChaCha12Rng::seed_from_u64(5);
    let hidden = matrix(200, 8, &mut random);
    let mut labels = || (0..200).map(|_| random.random_range(1..=5_u8)).collect::<Vec<_>>();
    let (noise, other_noise) = (labels(), labels());
    let data = |labels| HeadData { hidden: hidden.as_ref(), labels, weights: &[1.0; 200] };
    let options = HeadOptions { learning_rate: 0.05, steps: 100_000, patience: 3, ..HeadOptions::default() };
    let mut last = 0;
    let trained =
        train_head(&Mat::zeros(5, 8), &data(&noise), &data(&other_noise), &options, &mut |at| last = at.step);
    assert!(last < 2000, "{last}");
    assert!(trained.unwrap().step <= last);
}

#[test]
fn what_does_not_fit_is_refused() {
    let hidden = Mat::zeros(2, 8);
    let refuse = |rows: Mat<f32>, labels: &[u8], weights: &[f32]| {
        let data = HeadData { hidden: hidden.as_ref(), labels, weights };
        train_head(&rows, &data, &data, &HeadOptions::default(), &mut |_| ()).unwrap_err().to_string()
    };
    assert!(refuse(Mat::zeros(5, 7), &[1, 2], &[1.0; 2]).contains("(5, 8)"));
    assert!(refuse(Mat::zeros(5, 8), &[1], &[1.0; 2]).contains("1 labels"));
    assert!(refuse(Mat::zeros(5, 8), &[1, 6], &[1.0; 2]).contains("is 6"));
    assert!(refuse(Mat::zeros(5, 8), &[1, 2], &[0.0; 2]).contains("no training examples"));
}
