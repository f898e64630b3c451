//! Who can be compared with whom: models linked by battles, and models that have beaten each other over some chain.

/// An edge from the first to the second: the first has beaten the second, or tied with it.
pub(super) type Win = (usize, usize);

/// The groups of models that chains of battles link, each ascending, by their first model.
pub(super) fn linked(models: usize, wins: &[Win]) -> Vec<Vec<usize>> {
    let both_ways: Vec<Win> =
        wins.iter().flat_map(|&(winner, loser)| [(winner, loser), (loser, winner)]).collect();
    // Where every edge has its reverse, to be linked and to be linked both ways is the same.
    mutual(models, &both_ways)
}

/// The groups of models that have beaten each other over some chain of wins and ties, each ascending, by their first
/// model: the strongly connected components (Kosaraju's algorithm).
pub(super) fn mutual(models: usize, wins: &[Win]) -> Vec<Vec<usize>> {
    let forward = neighbours(models, wins.iter().copied());
    let backward = neighbours(models, wins.iter().map(|&(winner, loser)| (loser, winner)));
    let mut finished = Vec::with_capacity(models);
    let mut seen = vec![false; models];
    for model in 0..models {
        walk(&forward, model, &mut seen, &mut finished);
    }
    let mut groups = Vec::new();
    let mut seen = vec![false; models];
    for &model in finished.iter().rev() {
        let mut group = Vec::new();
        walk(&backward, model, &mut seen, &mut group);
        group.sort_unstable();
        groups.push(group);
    }
    groups.retain(|group| !group.is_empty());
    groups.sort_unstable();
    groups
}

fn neighbours(models: usize, edges: impl Iterator<Item = Win>) -> Vec<Vec<usize>> {
    let mut neighbours = vec![Vec::new(); models];
    for (from, to) in edges {
        neighbours[from].push(to);
    }
    neighbours
}

/// Goes through everything not yet seen that can be reached, depth first, and appends each model once all behind it
/// is done. Without recursion: a chain may be as long as there are models.
fn walk(neighbours: &[Vec<usize>], start: usize, seen: &mut [bool], finished: &mut Vec<usize>) {
    if std::mem::replace(&mut seen[start], true) {
        return;
    }
    let mut path = vec![(start, 0)];
    while let Some((model, next)) = path.last_mut() {
        let Some(&neighbour) = neighbours[*model].get(*next) else {
            finished.push(*model);
            path.pop();
            continue;
        };
        *next += 1;
        if !std::mem::replace(&mut seen[neighbour], true) {
            path.push((neighbour, 0));
        }
    }
}
