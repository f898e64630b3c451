//! Who an artefact knows and where each model stands before any prompt is seen: shared by the routers that are
//! built on one global fit. Must not know how a prompt changes the skills.

use crate::identity;
use crate::router::{Candidate, Standing};

/// A factor of ten in odds is this many points on the Elo scale.
const ELO_PER_DECADE: f64 = 400.0;

/// Models with their global skills.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Roster {
    models: Vec<String>,
    prior: Vec<f64>,
    /// Whether comparisons, direct or over other models, link each model to the anchor.
    linked: Vec<bool>,
    anchor_skill: f64,
    anchor_elo: f64,
    /// Models placed afterwards, ascending by name: their rows follow those of the others.
    added: Vec<String>,
}

impl Roster {
    /// Models by ascending canonical name with their global skills and the components of the comparison graph
    /// they lie in. `anchor` is the model that the Elo scale is tied to, and the Elo it has.
    ///
    /// All lists are of one length, in which `anchor.0` lies: an artefact has verified it.
    pub(crate) fn new(models: &[String], prior: &[f64], components: &[u32], anchor: (usize, f64)) -> Self {
        let home = components.get(anchor.0);
        Self {
            models: models.to_vec(),
            prior: prior.to_vec(),
            linked: components.iter().map(|component| Some(component) == home).collect(),
            anchor_skill: prior.get(anchor.0).copied().unwrap_or_default(),
            anchor_elo: anchor.1,
            added: Vec::new(),
        }
    }

    /// With models that were placed afterwards, by ascending name, each with its global skill. They were compared
    /// with linked models, so they are linked.
    pub(crate) fn with_added<'a>(mut self, added: impl Iterator<Item = (&'a str, f64)>) -> Self {
        for (model, prior) in added {
            self.added.push(model.to_owned());
            self.prior.push(prior);
            self.linked.push(true);
        }
        self
    }

    /// A model's place: its row if its skill is comparable with the anchor's, else where its Elo puts it.
    ///
    /// A model that no comparison links to the anchor is placed by Elo alone: the difference of its row from
    /// the others is no estimate of anything.
    pub(crate) fn place(&self, name: &str, elo: Option<f64>) -> Option<Candidate> {
        let canonical = identity::canonical(name);
        // An artefact written before a spelling became known has it as a name of its own.
        let row = self.row(canonical).or_else(|| self.row(name));
        let row = row.filter(|&row| self.linked.get(row).copied().unwrap_or_default());
        let elo = elo.filter(|elo| elo.is_finite());
        let standing = row.map(Standing::Row).or_else(|| elo.map(Standing::Elo))?;
        Some(Candidate { name: canonical.to_owned(), standing })
    }

    fn row(&self, name: &str) -> Option<usize> {
        let find = |models: &[String]| models.binary_search_by(|model| model.as_str().cmp(name)).ok();
        find(&self.models).or_else(|| find(&self.added).map(|place| self.models.len() + place))
    }

    /// The global skill θ⁰ of a candidate; `None` for a row outside the artefact.
    pub(crate) fn prior(&self, standing: Standing) -> Option<f64> {
        match standing {
            Standing::Row(row) => self.prior.get(row).copied(),
            Standing::Elo(elo) => {
                let logits_per_point = std::f64::consts::LN_10 / ELO_PER_DECADE;
                Some(self.anchor_skill + (elo - self.anchor_elo) * logits_per_point)
            }
        }
    }
}
