//! How much a known prompt counts for a query, by its cosine with it.

/// What nearness is measured against is at least this: a query like nothing known is not drawn to whatever is the least
/// unlike it.
const NEAREST_MIN: f32 = 0.05;

/// A rule that makes weights of cosines.
pub trait Kernel: Send + Sync + std::fmt::Debug + 'static {
    /// The kind of router that weighs so.
    const KIND: &'static str;

    /// Whether far prompts may be taken together.
    const CLUSTERS: bool;

    /// Turns cosines into weights; `setting` is the kernel's own, and what would weigh less than `least` may get 0.
    fn weigh(setting: f64, least: f32, cosines: &mut [f32]);
}

/// γ^(S − 1), S the cosine over that of the nearest prompt (RouteLLM, arXiv 2406.18665, section 4.2); its setting is ln γ.
#[derive(Debug)]
pub struct Similarity;

/// 1 for the nearest prompts, 0 for the others; its setting is their number.
#[derive(Debug)]
pub struct Neighbours;

impl Kernel for Similarity {
    const KIND: &'static str = "sw";
    const CLUSTERS: bool = true;

    fn weigh(setting: f64, least: f32, cosines: &mut [f32]) {
        let nearest = cosines.iter().fold(NEAREST_MIN, |nearest, cosine| nearest.max(*cosine));
        Self::weigh_against(setting, nearest, least, cosines);
    }
}

impl Similarity {
    /// The weights when the nearest prompt has this cosine.
    pub(super) fn weigh_against(setting: f64, nearest: f32, least: f32, cosines: &mut [f32]) {
        let octaves = (setting * std::f64::consts::LOG2_E) as f32;
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
}

impl Kernel for Neighbours {
    const KIND: &'static str = "knn";
    const CLUSTERS: bool = false;

    fn weigh(setting: f64, _: f32, cosines: &mut [f32]) {
        let count = (setting as usize).min(cosines.len());
        let mut places: Vec<usize> = (0..cosines.len()).collect();
        if count < places.len() {
            // Of equally near ones the first.
            places.select_nth_unstable_by(count, |&a, &b| cosines[b].total_cmp(&cosines[a]).then(a.cmp(&b)));
        }
        cosines.fill(0.0);
        places.iter().take(count).for_each(|&place| cosines[place] = 1.0);
    }
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
        Similarity::weigh(10.0, 1e-6, &mut weights);
        assert!((weights[0] - 1.0).abs() < 1e-5 && (weights[1] - (-5.0f32).exp()).abs() < 1e-6);
        assert!(weights[2] < f32::MIN_POSITIVE, "less than what counts");
        let mut weights = [0.001, 0.0];
        Similarity::weigh(10.0, 0.0, &mut weights);
        assert!(weights[0] < 1e-3, "nothing is near: {weights:?}");
    }

    #[test]
    fn neighbours_count_alike_and_the_first_of_equals_wins() {
        let mut weights = [0.1, 0.7, 0.3, 0.3, -0.2];
        Neighbours::weigh(2.0, 0.0, &mut weights);
        assert_eq!(weights.map(|weight| weight as u8), [0, 1, 1, 0, 0]);
        Neighbours::weigh(9.0, 0.0, &mut weights);
        assert_eq!(weights.map(|weight| weight as u8), [1; 5]);
        Neighbours::weigh(3.0, 0.0, &mut []);
    }
}
