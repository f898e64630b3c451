//! How frequent each piece is, and how much less a frequent piece should count.

/// Where the pieces' frequencies come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Frequencies {
    /// Zipf's law: a vocabulary is sorted by frequency, so the piece at rank r has a share near 1 / (r · ln V).
    Rank,
    /// Counts of each piece in a corpus; pieces are smoothed towards the rank's share.
    Counts(Vec<u64>),
}

/// The `a` of smooth inverse frequency.
const SMOOTHING: f64 = 1e-3;

/// Pseudo-tokens by which counts are smoothed towards Zipf's law.
const PRIOR_TOKENS: f64 = 1e5;

/// The weight of every piece, a / (a + p) (Arora, Liang, Ma: "A simple but tough-to-beat baseline for sentence
/// embeddings", ICLR 2017, §3).
pub(super) fn weights(frequencies: &Frequencies, pieces: usize) -> Vec<f64> {
    let harmonic: f64 = (1..=pieces).map(|rank| 1.0 / rank as f64).sum();
    let by_rank = (1..=pieces).map(|rank| 1.0 / (rank as f64 * harmonic));
    let shares: Vec<f64> = match frequencies {
        Frequencies::Rank => by_rank.collect(),
        Frequencies::Counts(counts) => {
            let total = counts.iter().sum::<u64>() as f64 + PRIOR_TOKENS;
            let counts = counts.iter().map(|count| *count as f64).chain(std::iter::repeat(0.0));
            by_rank.zip(counts).map(|(share, count)| (count + PRIOR_TOKENS * share) / total).collect()
        }
    };
    shares.into_iter().map(|share| SMOOTHING / (SMOOTHING + share)).collect()
}
