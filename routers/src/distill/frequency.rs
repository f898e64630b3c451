//! How frequent each piece is, and how much less a frequent piece should count.

/// The `a` of smooth inverse frequency, chosen on held-out prompts among 1e-3 … 1e-1 and none at all.
const SMOOTHING: f64 = 1e-1;

/// Tokens' worth of trust in Zipf's law against the counts.
const PRIOR_TOKENS: f64 = 1e5;

/// Each piece's share of all tokens. A vocabulary is sorted by frequency, so by Zipf's law the piece at rank r
/// has a share near 1 / (r · ln V); counts, where there are any, correct that.
pub(super) fn shares(counts: &[u64]) -> Vec<f64> {
    let harmonic: f64 = (1..=counts.len()).map(|rank| 1.0 / rank as f64).sum();
    let total = counts.iter().sum::<u64>() as f64 + PRIOR_TOKENS;
    (1..=counts.len())
        .zip(counts)
        .map(|(rank, count)| (*count as f64 + PRIOR_TOKENS / (rank as f64 * harmonic)) / total)
        .collect()
}

/// The weight of a piece of this share, a / (a + p) (Arora, Liang, Ma: "A simple but tough-to-beat baseline for
/// sentence embeddings", ICLR 2017, §3).
pub(super) fn weight(share: f64) -> f64 {
    SMOOTHING / (SMOOTHING + share)
}

#[cfg(test)]
mod tests {
    use super::{shares, weight};

    #[test]
    fn shares_sum_to_one_and_follow_the_counts() {
        let by_rank = shares(&[0; 1000]);
        assert!((by_rank.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(by_rank.is_sorted_by(|a, b| a > b));
        let mut counts = [0; 1000];
        counts[900] = 1_000_000;
        let counted = shares(&counts);
        assert!((counted.iter().sum::<f64>() - 1.0).abs() < 1e-9);
        assert!(counted[900] > 0.9 && weight(counted[900]) < weight(counted[0]));
    }
}
