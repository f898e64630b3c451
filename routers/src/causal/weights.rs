//! What the training of a causal router learns beside the decoder, and what must hold of it.

use super::{Head, Template};
use crate::artifact::ArtifactProblem;
use crate::artifact::check::{magnitudes, refuse};

/// What stands between the labels' logits z_m(x) = logsumexp(ℓ₄, ℓ₅) − logsumexp(ℓ₁, ℓ₂, ℓ₃) and skills:
/// θ_m(x) = θ⁰_m + slope · (z_m(x) − level_m).
#[derive(Debug, Clone, PartialEq)]
pub struct CausalWeights {
    /// The version of the template that the decoder was asked by.
    pub template: String,
    /// Dimensions of the decoder's hidden states.
    pub width: usize,
    /// Most tokens of a question; of a longer one its middle is left out. At least 16.
    pub question_tokens_max: u32,
    /// The models that the decoder is asked about, by their rows, ascending; at least one. The others move as their rating says.
    pub asked: Vec<u32>,
    /// The mean of z over the calibration sample, of each of these.
    pub levels: Vec<f32>,
    /// Those of them that are asked about, too, where a model is placed by its rating: their places in `asked`, ascending, at least one.
    pub references: Vec<u32>,
    /// How far z moves skills.
    pub slope: f64,
    /// Rows for the labels and an adapter before them; none where the labels are tokens of the decoder's own vocabulary.
    pub head: Option<Head>,
}

/// A question is cut to no less than this.
const QUESTION_TOKENS_MIN: u32 = 16;

impl CausalWeights {
    /// Whether the parts fit together, for so many models.
    pub(crate) fn check(&self, models: usize) -> Result<(), ArtifactProblem> {
        if Template::of_version(&self.template).is_none() {
            let reason = format!("is of version {:?}, which this release does not know", self.template);
            return Err(refuse("template", reason));
        }
        if self.question_tokens_max < QUESTION_TOKENS_MIN {
            let reason = format!("is {}, expected {QUESTION_TOKENS_MIN} at least", self.question_tokens_max);
            return Err(refuse("question_tokens_max", reason));
        }
        ascending("asked_models", &self.asked, models)?;
        ascending("asked_references", &self.references, self.asked.len())?;
        if self.levels.len() != self.asked.len() {
            let reason = format!("has {} values, expected {}", self.levels.len(), self.asked.len());
            return Err(refuse("asked_levels", reason));
        }
        magnitudes("asked_levels", self.levels.iter().map(|&level| f64::from(level)))?;
        magnitudes("slope", [self.slope].into_iter())?;
        match &self.head {
            Some(head) if !head.is_sound() || head.labels.ncols() != self.width => {
                Err(refuse("head_labels", "does not fit the adapter, or holds what is no number".to_owned()))
            }
            Some(Head { labels, down, up }) => {
                [("head_labels", labels), ("head_down", down), ("head_up", up)].into_iter().try_for_each(
                    |(name, part)| {
                        let values = part.col_iter().flat_map(|column| column.iter());
                        magnitudes(name, values.map(|&value| f64::from(value)))
                    },
                )
            }
            None => Ok(()),
        }
    }
}

/// Places of something that there is `count` of.
fn ascending(name: &'static str, places: &[u32], count: usize) -> Result<(), ArtifactProblem> {
    if places.is_empty() || places.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(refuse(name, "must ascend, and not be empty".to_owned()));
    }
    match places.last() {
        Some(&last) if last as usize >= count => {
            Err(refuse(name, format!("names number {last}, there are {count}")))
        }
        _ => Ok(()),
    }
}
