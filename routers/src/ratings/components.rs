//! The comparison graph: which models a chain of comparisons links.

use crate::bradley_terry::PairSum;

/// The component of each model, numbered from 0 by its first model.
pub(super) fn components(models: usize, pairs: &[PairSum]) -> Vec<u32> {
    let mut parent: Vec<usize> = (0..models).collect();
    for pair in pairs {
        let (a, b) = (root(&mut parent, pair.model_a), root(&mut parent, pair.model_b));
        parent[a.max(b)] = a.min(b);
    }
    let mut number_of_root = vec![None; models];
    let mut numbers = 0;
    let number = |model| {
        let number = number_of_root[root(&mut parent, model)].get_or_insert_with(|| {
            numbers += 1;
            numbers - 1
        });
        *number
    };
    (0..models).map(number).collect()
}

/// The groups of models, each ascending, that are linked with each other but with no anchored model.
///
/// Without any anchored model the largest group (of equals the first) counts as anchored.
pub(super) fn unlinked(components: &[u32], anchored: &[bool]) -> Vec<Vec<usize>> {
    let count = components.iter().max().map_or(0, |last| *last as usize + 1);
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (model, component) in components.iter().enumerate() {
        groups[*component as usize].push(model);
    }
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
