//! The comparison graph: which models no chain of comparisons links to the anchored ones.

use crate::bradley_terry::PairSum;

/// The groups of models, each ascending, that are linked with each other but with no anchored model.
///
/// Without any anchored model the largest group (of equals the first) counts as anchored.
#[must_use]
pub fn unlinked(models: usize, pairs: &[PairSum], anchored: &[bool]) -> Vec<Vec<usize>> {
    let mut parent: Vec<usize> = (0..models).collect();
    for pair in pairs {
        let (a, b) = (root(&mut parent, pair.model_a), root(&mut parent, pair.model_b));
        parent[a.max(b)] = a.min(b);
    }
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); models];
    for model in 0..models {
        groups[root(&mut parent, model)].push(model);
    }
    groups.retain(|group| !group.is_empty());
    let is_anchored = |group: &[usize]| group.iter().any(|&m| anchored.get(m).copied().unwrap_or_default());
    if anchored.contains(&true) {
        groups.retain(|group| !is_anchored(group));
    } else if let Some(largest) = (0..groups.len()).rev().max_by_key(|&group| groups[group].len()) {
        groups.remove(largest);
    }
    groups
}

/// The smallest model of a group, halving the path to it on the way.
fn root(parent: &mut [usize], mut model: usize) -> usize {
    while parent[model] != model {
        parent[model] = parent[parent[model]];
        model = parent[model];
    }
    model
}
