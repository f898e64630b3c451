//! Texts as weighted bags of pieces: a sparse matrix, and the ridge regression on it.
//!
//! Dense blocks here are row-major slices of a fixed width: a row per text, or a row per piece.

/// A row per text: the share that each piece has in the text's vector, summing to one.
pub(super) struct Bags {
    /// Piece and share; text `i` has the entries `starts[i]..starts[i + 1]`.
    entries: Vec<(u32, f64)>,
    starts: Vec<usize>,
    pieces: usize,
}

/// Rounds after which the regression stops in any case.
const ROUNDS_MAX: usize = 200;
/// The regression stops when every column's residual has shrunk to this part.
const TOLERANCE: f64 = 1e-4;

impl Bags {
    /// Counts pieces and weights them; a text of weightless pieces gets an empty row.
    pub(super) fn new(sequences: &[Vec<u32>], weights: &[f64]) -> Self {
        let mut bags = Self { entries: Vec::new(), starts: vec![0], pieces: weights.len() };
        for sequence in sequences {
            let mut sorted = sequence.clone();
            sorted.sort_unstable();
            let start = bags.entries.len();
            for run in sorted.chunk_by(|a, b| a == b) {
                let weight = weights.get(run[0] as usize).copied().unwrap_or(0.0) * run.len() as f64;
                if weight > 0.0 {
                    bags.entries.push((run[0], weight));
                }
            }
            let sum: f64 = bags.entries[start..].iter().map(|(_, weight)| weight).sum();
            bags.entries[start..].iter_mut().for_each(|(_, weight)| *weight /= sum);
            bags.starts.push(bags.entries.len());
        }
        bags
    }

    /// Number of texts.
    pub(super) fn texts(&self) -> usize {
        self.starts.len() - 1
    }

    /// Texts' vectors from pieces' vectors: A x.
    pub(super) fn pool(&self, pieces: &[f64], width: usize) -> Vec<f64> {
        let mut texts = vec![0.0; self.texts() * width];
        for (text, bag) in texts.chunks_exact_mut(width).zip(self.rows()) {
            for &(piece, share) in bag {
                add_scaled(text, share, &pieces[piece as usize * width..][..width]);
            }
        }
        texts
    }

    /// What texts hand back to their pieces: Aᵀ y.
    pub(super) fn spread(&self, texts: &[f64], width: usize) -> Vec<f64> {
        let mut pieces = vec![0.0; self.pieces * width];
        for (text, bag) in texts.chunks_exact(width).zip(self.rows()) {
            for &(piece, share) in bag {
                add_scaled(&mut pieces[piece as usize * width..][..width], share, text);
            }
        }
        pieces
    }

    /// The change D of the pieces' vectors that minimises ‖A D − R‖² + λ ‖D‖², R the texts' `residual`.
    ///
    /// D = Aᵀ (A Aᵀ + λ)⁻¹ R, by conjugate gradients on all columns at once (Hestenes, Stiefel 1952). Pieces
    /// that no text has stay as they are.
    pub(super) fn ridge(&self, residual: Vec<f64>, width: usize, lambda: f64) -> Vec<f64> {
        let mut solution = vec![0.0; residual.len()];
        let mut direction = residual.clone();
        let mut rest = residual;
        let start = column_products(&rest, &rest, width);
        let mut lengths = start.clone();
        for _ in 0..ROUNDS_MAX {
            let done = |(length, start): (&f64, &f64)| *length <= TOLERANCE * TOLERANCE * start;
            if lengths.iter().zip(&start).all(done) {
                break;
            }
            let mut image = self.pool(&self.spread(&direction, width), width);
            add_scaled(&mut image, lambda, &direction);
            let steps = ratios(&lengths, &column_products(&direction, &image, width));
            let back: Vec<f64> = steps.iter().map(|step| -step).collect();
            add_columns(&mut solution, &steps, &direction);
            add_columns(&mut rest, &back, &image);
            let shorter = column_products(&rest, &rest, width);
            let turns = ratios(&shorter, &lengths);
            for (direction, rest) in direction.chunks_exact_mut(width).zip(rest.chunks_exact(width)) {
                for ((direction, turn), rest) in direction.iter_mut().zip(&turns).zip(rest) {
                    *direction = rest + turn * *direction;
                }
            }
            lengths = shorter;
        }
        self.spread(&solution, width)
    }

    fn rows(&self) -> impl Iterator<Item = &[(u32, f64)]> {
        self.starts.windows(2).map(|ends| &self.entries[ends[0]..ends[1]])
    }
}

/// a += factor · b.
fn add_scaled(a: &mut [f64], factor: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += factor * b);
}

/// Adds to every row of `a` that of `b`, each column by its own factor.
fn add_columns(a: &mut [f64], factors: &[f64], b: &[f64]) {
    for (a, b) in a.chunks_exact_mut(factors.len()).zip(b.chunks_exact(factors.len())) {
        for ((a, factor), b) in a.iter_mut().zip(factors).zip(b) {
            *a += factor * b;
        }
    }
}

/// The inner product of each column of `a` with that of `b`.
fn column_products(a: &[f64], b: &[f64], width: usize) -> Vec<f64> {
    let mut products = vec![0.0; width];
    for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
        for ((product, a), b) in products.iter_mut().zip(a).zip(b) {
            *product += a * b;
        }
    }
    products
}

/// Quotients, 0 where there is nothing left to divide.
fn ratios(above: &[f64], below: &[f64]) -> Vec<f64> {
    above.iter().zip(below).map(|(above, below)| if *below > 0.0 { above / below } else { 0.0 }).collect()
}

#[cfg(test)]
mod tests {
    use super::Bags;

    #[test]
    fn shares_sum_to_one_and_transpose() {
        let bags = Bags::new(&[vec![2, 0, 2], vec![1], vec![]], &[1.0, 0.0, 0.5]);
        let pooled = bags.pool(&[1.0, 10.0, 3.0], 1);
        assert_eq!(pooled, [2.0, 0.0, 0.0]);
        assert_eq!(bags.spread(&[1.0, 1.0, 1.0], 1), [0.5, 0.0, 0.5]);
    }

    #[test]
    fn ridge_solves_the_normal_equations() {
        let sequences: Vec<Vec<u32>> =
            (0..12u32).map(|text| vec![text % 5, text % 3, text * text % 7]).collect();
        let bags = Bags::new(&sequences, &[1.0, 0.5, 2.0, 1.0, 0.3, 1.0, 0.7, 1.0]);
        let residual: Vec<f64> = (0..24).map(|value| f64::from(value * 7 % 11) - 5.0).collect();
        let change = bags.ridge(residual.clone(), 2, 0.1);
        // At the minimum Aᵀ (A D − R) + λ D = 0.
        let missing: Vec<f64> =
            bags.pool(&change, 2).iter().zip(&residual).map(|(made, wanted)| made - wanted).collect();
        for (gradient, change) in bags.spread(&missing, 2).iter().zip(&change) {
            assert!((gradient + 0.1 * change).abs() < 1e-3, "{gradient} {change}");
        }
        // Piece 7 is in no text.
        assert_eq!(change[14..], [0.0, 0.0]);
    }
}
