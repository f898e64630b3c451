//! How large steps are: up in a line, then down along half a cosine (Loshchilov, Hutter 2017, arXiv 1608.03983).

/// The share of the largest step size at a step from 1 to `steps`, the first `warm_up` of which lead up to it.
///
/// Never zero: no step is in vain.
pub(crate) fn share(step: usize, warm_up: usize, steps: usize) -> f64 {
    let warm_up = warm_up.min(steps);
    if step <= warm_up {
        return step as f64 / warm_up as f64;
    }
    let done = (step - warm_up) as f64 / (steps - warm_up + 1) as f64;
    0.5 * (1.0 + (std::f64::consts::PI * done.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn steps_grow_then_shrink_and_none_is_zero() {
        let shares: Vec<f64> = (1..=10).map(|step| share(step, 4, 10)).collect();
        assert_eq!(shares[..4], [0.25, 0.5, 0.75, 1.0]);
        assert!(shares[3..].windows(2).all(|pair| pair[0] > pair[1]) && shares[9] > 0.0, "{shares:?}");
        assert!(share(1, 0, 1) > 0.0 && share(3, 5, 3) > 0.9);
    }
}
