//! The loss of a head on some examples, and its gradient.

use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatRef, Par};

use super::{Head, gelu, gelu_slope};
use crate::vectors::product;

/// The weighted mean of the labels' cross-entropy, and its derivatives by the three matrices.
pub(super) struct LossAndGradient {
    pub(super) loss: f64,
    pub(super) gradient: Head,
}

/// The loss and its gradient. `labels` are from 1 to 5, `weights` are not negative; one of each for a row of `hidden`.
pub(super) fn loss_and_gradient(
    head: &Head,
    hidden: MatRef<'_, f32>,
    labels: &[u8],
    weights: &[f32],
) -> LossAndGradient {
    let inner = product(hidden, head.down.transpose());
    let mut bent = inner.clone();
    bent.col_iter_mut().for_each(|column| column.iter_mut().for_each(|value| *value = gelu(*value)));
    let mut adapted = hidden.to_owned();
    matmul(adapted.as_mut(), Accum::Add, bent.as_ref(), head.up.transpose(), 1.0, Par::Seq);
    let logits = product(adapted.as_ref(), head.labels.transpose());
    let (loss, pull) = loss_and_pull(&logits, labels, weights);

    // Back through each product: by its left side times the right one's transpose, and the other way round.
    let by_adapted = product(pull.as_ref(), head.labels.as_ref());
    let mut by_inner = product(by_adapted.as_ref(), head.up.as_ref());
    for (by_inner, inner) in by_inner.col_iter_mut().zip(inner.col_iter()) {
        by_inner.iter_mut().zip(inner.iter()).for_each(|(pull, value)| *pull *= gelu_slope(*value));
    }
    let gradient = Head {
        labels: product(pull.transpose(), adapted.as_ref()),
        down: product(by_inner.transpose(), hidden),
        up: product(by_adapted.transpose(), bent.as_ref()),
    };
    LossAndGradient { loss, gradient }
}

/// The weighted mean of the cross-entropy, without the gradient.
pub(super) fn loss(head: &Head, hidden: MatRef<'_, f32>, labels: &[u8], weights: &[f32]) -> f64 {
    loss_and_pull(&head.logits(hidden), labels, weights).0
}

/// The loss, and its derivative by each logit.
fn loss_and_pull(logits: &Mat<f32>, labels: &[u8], weights: &[f32]) -> (f64, Mat<f32>) {
    let mut pull = Mat::zeros(logits.nrows(), logits.ncols());
    let all: f64 = weights.iter().copied().map(f64::from).sum();
    let mut loss = 0.0;
    let rows = logits.row_iter().zip(pull.row_iter_mut()).zip(labels.iter().zip(weights));
    for ((logits, pull), (label, weight)) in rows {
        let logits: Vec<f64> = logits.iter().copied().map(f64::from).collect();
        let normaliser = crate::causal::labels::log_sum(&logits);
        let share = f64::from(*weight) / all;
        for (place, (logit, pull)) in (1_u8..).zip(logits.iter().zip(pull.iter_mut())) {
            let target = f64::from(u8::from(place == *label));
            loss += share * target * (normaliser - logit);
            *pull = (share * ((logit - normaliser).exp() - target)) as f32;
        }
    }
    (loss, pull)
}
