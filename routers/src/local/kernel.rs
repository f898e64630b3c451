//! How much a known prompt counts for a query of `sw`, by its cosine with it.

/// What nearness is measured against is at least this: a query like nothing known is not drawn to whatever is the least
/// unlike it.
const NEAREST_MIN: f32 = 0.05;

/// Turns cosines into weights γ^(S − 1), S the cosine over that of the nearest; what would weigh less than `least` gets 0.
pub(super) fn weigh(log_gamma: f64, least: f32, cosines: &mut [f32]) {
    let nearest = cosines.iter().fold(NEAREST_MIN, |nearest, cosine| nearest.max(*cosine));
    weigh_against(log_gamma, nearest, least, cosines);
}

/// The weights when the nearest prompt has this cosine.
pub(super) fn weigh_against(log_gamma: f64, nearest: f32, least: f32, cosines: &mut [f32]) {
    let octaves = (log_gamma * std::f64::consts::LOG2_E) as f32;
    let rise = octaves / nearest.max(NEAREST_MIN);
    pulp::Arch::new().dispatch(
        #[inline(always)]
        || {
            for value in cosines.iter_mut() {
                let weight = exp2(*value * rise - octaves);
                *value = if weight < least { 0.0 } else { weight };
            }
        },
    );
}

/// 2^x for x up to about 0, to 2·10⁻⁷ of its value; below −126, 2^−126. Without calls, so that loops over it are vectorised.
#[inline(always)]
fn exp2(x: f32) -> f32 {
    let x = x.clamp(-126.0, 126.0);
    let whole = (x + 0.5).floor();
    let rest = (x - whole) * std::f32::consts::LN_2;
    // The series of e^rest, |rest| ≤ ½ ln 2.
    let mut series = 1.0 / 720.0;
    for factor in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        series = series * rest + factor;
    }
    // The conversion is of a number from −126 to 126.
    series * f32::from_bits((whole as i32).wrapping_add(127).wrapping_shl(23).cast_unsigned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_two() {
        for step in -2600..=10 {
            let x = step as f32 * 0.0477;
            let (found, expected) = (f64::from(exp2(x)), f64::from(x).exp2());
            assert!((found / expected - 1.0).abs() < 3e-7, "{x}: {found} {expected}");
        }
        assert!(exp2(f32::NEG_INFINITY) > 0.0 && exp2(-1e9) < 1e-37);
    }

    #[test]
    fn the_nearest_weighs_one() {
        let mut weights = [0.6, 0.3, -0.3, 0.0];
        weigh(10.0, 1e-6, &mut weights);
        assert!((weights[0] - 1.0).abs() < 1e-5 && (weights[1] - (-5.0f32).exp()).abs() < 1e-6);
        assert!(weights[2] < f32::MIN_POSITIVE, "less than what counts");
        let mut weights = [0.001, 0.0];
        weigh(10.0, 0.0, &mut weights);
        assert!(weights[0] < 1e-3, "nothing is near: {weights:?}");
    }
}
