//! Norm, softmax, rotation and loss out of operations that candle can differentiate.

use candle_core::{D, Result, Tensor};

/// x / √(mean x² + ε) · scale, over the last dimension (Zhang, Sennrich 2019, arXiv 1910.07467).
pub(super) fn rms_norm(x: &Tensor, scale: &Tensor, epsilon: f64) -> Result<Tensor> {
    let inverse = (x.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?.recip()?;
    x.broadcast_mul(&inverse)?.broadcast_mul(scale)
}

/// Softmax over the last dimension.
pub(super) fn softmax(x: &Tensor) -> Result<Tensor> {
    // A constant moves no softmax, so the greatest value needs no derivative.
    let powers = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
    powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)
}

/// Rotates pairs of the last dimension, each value with the one half the dimension further (Su et al. 2021, arXiv
/// 2104.09864), by the angles whose cosines and sines are given for the first half.
pub(super) fn rotate(x: &Tensor, cosines: &Tensor, sines: &Tensor) -> Result<Tensor> {
    let half = x.dim(D::Minus1)? / 2;
    let (first, second) = (x.narrow(D::Minus1, 0, half)?, x.narrow(D::Minus1, half, half)?);
    let left = (first.broadcast_mul(cosines)? - second.broadcast_mul(sines)?)?;
    let right = (second.broadcast_mul(cosines)? + first.broadcast_mul(sines)?)?;
    Tensor::cat(&[left, right], D::Minus1)
}

/// The sum over rows of log Σ exp(logits) − the target's logit, in nats. `logits` is rows × choices, `targets` rows × 1.
pub(super) fn cross_entropy(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let normaliser = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    (normaliser - shifted.gather(targets, D::Minus1)?)?.sum_all()
}

#[cfg(test)]
mod tests;
