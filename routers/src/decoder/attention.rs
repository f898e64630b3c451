//! Attention of a pass: every token sees what the prefix holds, the trunk as far as itself, and its own branch.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::prefix::KeysValues;
use crate::encoder::kernels;
use crate::vectors;

/// How heads are made up.
#[derive(Clone, Copy)]
pub(super) struct Heads {
    /// Heads of queries that see the same keys.
    pub(super) group: usize,
    /// Heads of keys and values.
    pub(super) keys: usize,
    pub(super) size: usize,
}

/// The tokens of a pass: a trunk, and branches that all follow it and do not see each other.
#[derive(Clone, Copy)]
pub(super) struct Pass<'a> {
    pub(super) trunk: &'a [u32],
    pub(super) branches: &'a [&'a [u32]],
}

/// One branch among a pass's tokens.
struct Branch {
    start: usize,
    tokens: usize,
}

impl Pass<'_> {
    /// All tokens, in the order of their states.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.trunk.iter().chain(self.branches.iter().copied().flatten()).copied()
    }

    pub(super) fn tokens(&self) -> usize {
        self.trunk.len() + self.branches.iter().map(|branch| branch.len()).sum::<usize>()
    }

    /// Where each token stands, after `past` others.
    pub(super) fn positions(&self, past: usize) -> impl Iterator<Item = usize> {
        let after = past + self.trunk.len();
        let branches = self.branches.iter().flat_map(move |branch| after..after + branch.len());
        (past..after).chain(branches)
    }

    /// The last token of every branch.
    pub(super) fn ends(&self) -> Vec<usize> {
        self.places().map(|branch| (branch.start + branch.tokens).saturating_sub(1)).collect()
    }

    fn places(&self) -> impl Iterator<Item = Branch> {
        self.branches.iter().scan(self.trunk.len(), |start, branch| {
            let place = Branch { start: *start, tokens: branch.len() };
            *start += branch.len();
            Some(place)
        })
    }

    /// How many scores each token has, and how many it would have if it saw the rest of its branch (or the trunk) too:
    /// these are computed as well, as a product knows no triangles.
    fn seen(&self, past: usize) -> impl Iterator<Item = (usize, usize)> {
        let after = past + self.trunk.len();
        let part =
            |before: usize, tokens: usize| (1..=tokens).map(move |seen| (before + seen, before + tokens));
        part(past, self.trunk.len())
            .chain(self.branches.iter().flat_map(move |branch| part(after, branch.len())))
    }

    fn longest(&self) -> usize {
        self.branches.iter().map(|branch| branch.len()).max().unwrap_or(0)
    }
}

/// Keys and values of one head that some of the pass's queries see.
struct Term<'a> {
    keys: MatRef<'a, f32>,
    values: MatRef<'a, f32>,
    /// Where the keys' scores begin among a query's.
    row: usize,
    /// The first query that sees them, and how many do.
    column: usize,
    columns: usize,
}

impl Heads {
    /// softmax(Kᵀ Q / √d) and the values so weighted, for all heads.
    ///
    /// `own` are keys and values of the pass's tokens, `past` those of what they follow, segment by segment with their
    /// tokens. `queries` and `into` hold, for each head of keys, each token's queries that see them, one after the
    /// other. `scores` is scratch.
    pub(super) fn attend(
        self,
        pass: &Pass<'_>,
        (past, own): (&[(usize, &KeysValues)], &KeysValues),
        queries: &[f32],
        scores: &mut Vec<f32>,
        into: &mut [f32],
    ) {
        let past_tokens: usize = past.iter().map(|(tokens, _)| tokens).sum();
        let (columns, height) = (pass.tokens() * self.group, past_tokens + pass.trunk.len() + pass.longest());
        let scale = 1.0 / (self.size as f32).sqrt();
        scores.resize(columns * height, 0.0);
        into.fill(0.0);
        let heads = queries.chunks_exact(self.size * columns).zip(into.chunks_exact_mut(self.size * columns));
        for (head, (queries, into)) in heads.enumerate() {
            let terms = self.terms(pass, (past, own), head);
            let queries = MatRef::from_column_major_slice(queries, self.size, columns);
            let mut into = MatMut::from_column_major_slice_mut(into, self.size, columns);
            for term in &terms {
                let scores = MatMut::from_column_major_slice_mut(scores, height, columns);
                let scores = scores.submatrix_mut(term.row, term.column, term.keys.ncols(), term.columns);
                let queries = queries.subcols(term.column, term.columns);
                matmul(scores, Accum::Replace, term.keys.transpose(), queries, scale, Par::Seq);
            }
            let tokens = scores.chunks_exact_mut(height * self.group).zip(pass.seen(past_tokens));
            for (scores, (seen, written)) in tokens {
                for scores in scores.chunks_exact_mut(height) {
                    kernels::softmax(&mut scores[..seen]);
                    scores[seen..written].fill(0.0);
                }
            }
            for term in &terms {
                let scores = MatRef::from_column_major_slice(scores, height, columns);
                let scores = scores.submatrix(term.row, term.column, term.keys.ncols(), term.columns);
                let into = into.as_mut().subcols_mut(term.column, term.columns);
                matmul(into, Accum::Add, term.values, scores, 1.0, Par::Seq);
            }
        }
        vectors::clear();
    }

    fn terms<'a>(
        self,
        pass: &Pass<'_>,
        (past, own): (&[(usize, &'a KeysValues)], &'a KeysValues),
        head: usize,
    ) -> Vec<Term<'a>> {
        let of_head = |all: &'a [f32], tokens: usize| {
            let part = &all[head * tokens * self.size..][..tokens * self.size];
            MatRef::from_column_major_slice(part, self.size, tokens)
        };
        let (tokens, mut row) = (pass.tokens(), 0);
        let mut terms = Vec::with_capacity(past.len() + 1 + pass.branches.len());
        for (tokens, segment) in past {
            let (keys, values) = (of_head(&segment.keys, *tokens), of_head(&segment.values, *tokens));
            terms.push(Term { keys, values, row, column: 0, columns: pass.tokens() * self.group });
            row += tokens;
        }
        let (keys, values) = (of_head(&own.keys, tokens), of_head(&own.values, tokens));
        let mut own = |row: usize, place: &Branch, seeing: &Branch| {
            let part = |all: MatRef<'a, f32>| all.subcols(place.start, place.tokens);
            let (column, columns) = (seeing.start * self.group, seeing.tokens * self.group);
            terms.push(Term { keys: part(keys), values: part(values), row, column, columns });
        };
        // Every token of the pass comes after the trunk or is part of it.
        own(row, &Branch { start: 0, tokens: pass.trunk.len() }, &Branch { start: 0, tokens });
        for branch in pass.places() {
            own(row + pass.trunk.len(), &branch, &branch);
        }
        terms.retain(|term| term.keys.ncols() > 0);
        terms
    }
}
