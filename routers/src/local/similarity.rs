//! `sw`: Bradley–Terry, every battle at γ^(S − 1), S the cosine of its prompt over that of the nearest (RouteLLM, arXiv
//! 2406.18665, section 4.2, for any number of models).
//!
//! θ(x) maximises Σ w_i [y_i log σ(s_i(θ_a − θ_b)) + (1 − y_i) log σ(s_i(θ_b − θ_a))] − (ρ/2) Σ (θ_m − θ⁰_m)² over the
//! battles i, each at its prompt's weight times its source's, s_i its source's scale, y_i ½ for a tie; so ρ counts battles
//! at the nearest prompt.

use super::clusters::{Asked, Clusters};
use super::kernel::weigh;
use super::tally::Layout;
use super::{Kernel, LocalWeights, fit, hide_twins};
use crate::index::Probe;

/// Prompts may be left out whose weight moves no skill by more.
const NEGLIGIBLE: f64 = 1e-4;

/// All battles by similarity; its setting is ln γ.
#[derive(Debug)]
pub struct Similarity {
    layout: Layout,
    pub(super) clusters: Option<Clusters>,
    /// What may be left out.
    least: f32,
}

impl Kernel for Similarity {
    const KIND: &'static str = "sw";

    fn new(weights: &LocalWeights, _: &[f64]) -> Self {
        let layout = Layout::new(&weights.evidence);
        let pull = layout.pull(&weights.evidence);
        // All that is left out together turns the gradient by no more than √2 · pull · least, and the curvature is at
        // least ρ.
        let least = NEGLIGIBLE * weights.ridge / (std::f64::consts::SQRT_2 * pull.max(1.0));
        let is_clustered = !weights.evidence.clusters.is_empty();
        Self {
            clusters: is_clustered.then(|| Clusters::new(&weights.evidence, &layout)),
            layout,
            least: (least as f32).clamp(1e-30, 1e-3),
        }
    }

    /// All wins at their weights.
    fn sums(&self, weights: &LocalWeights, embedding: &[f32], is_blind: bool) -> Vec<f32> {
        let LocalWeights { evidence, setting, .. } = weights;
        let probe = Probe::new(embedding);
        let mut sums = vec![0.0; self.layout.length()];
        if let Some(clusters) = &self.clusters {
            let asked = Asked { embedding, probe: &probe, setting: *setting, least: self.least, is_blind };
            clusters.add(evidence, &self.layout, &asked, &mut sums);
        } else {
            let mut of_prompts = vec![0.0; evidence.index.len()];
            evidence.index.cosines(0..of_prompts.len(), &probe, &mut of_prompts);
            if is_blind {
                hide_twins(&mut of_prompts);
            }
            weigh(*setting, self.least, &mut of_prompts);
            self.layout.add(evidence, 0..of_prompts.len(), &of_prompts, &mut sums);
        }
        sums
    }

    fn solve(&self, sums: &[f32], prior: &[f64], ridge: f64) -> Vec<f64> {
        fit::shifts(self.layout.meetings(sums), prior, ridge)
    }
}
