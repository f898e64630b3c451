//! How well skills order a prompt's models.

/// A model's true score on a prompt, and its predicted skill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Tells prompts apart.
    pub prompt: u32,
    /// 0..=1.
    pub score: f64,
    /// θ.
    pub skill: f64,
}

/// Of all pairs of models that a prompt's scores tell apart, the share that its skills order the same way; equal skills
/// count half. `None` when there is no such pair.
///
/// `scored` has the rows of a prompt side by side.
#[must_use]
pub fn pairwise_accuracy(scored: &[Scored]) -> Option<f64> {
    let (mut right, mut pairs) = (0.0, 0_u64);
    for of_prompt in scored.chunk_by(|one, other| one.prompt == other.prompt) {
        for (place, one) in of_prompt.iter().enumerate() {
            for other in of_prompt.iter().skip(place + 1) {
                let by_score = one.score.total_cmp(&other.score);
                if by_score.is_eq() {
                    continue;
                }
                let by_skill = one.skill.total_cmp(&other.skill);
                right += if by_skill.is_eq() { 0.5 } else { f64::from(u8::from(by_skill == by_score)) };
                pairs += 1;
            }
        }
    }
    (pairs > 0).then(|| right / pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted_within_prompts() {
        let scored = |prompt, score, skill| Scored { prompt, score, skill };
        let rows = [
            scored(1, 0.0, -1.0),
            scored(1, 0.5, 2.0),
            scored(1, 1.0, 1.0),
            scored(2, 1.0, 0.0),
            scored(2, 0.0, 0.0),
            scored(2, 1.0, 9.0),
        ];
        // Prompt 1: two of three; prompt 2: a half and one of two, the equal scores make no pair.
        assert_eq!(pairwise_accuracy(&rows), Some(3.5 / 5.0));
        assert_eq!(pairwise_accuracy(&rows[..1]), None);
    }
}
