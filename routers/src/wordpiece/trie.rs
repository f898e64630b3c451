//! The vocabulary as a double-array trie over bytes: one array look-up per byte of a word.
//!
//! Child `b` of the node at `n` lives at `base(n) XOR b` and names `n` as its parent (Aoe, "An Efficient
//! Digital Search Algorithm by Using a Double-Array Structure", IEEE TSE 15(9), 1989; the XOR in place of the
//! sum keeps a node's children inside one block of 256).

use std::collections::{BTreeSet, HashMap};

use super::VocabularyError;

const NONE: u32 = u32::MAX;
/// Most pieces of a vocabulary, and most bytes of a piece: keeps every number in 32 bits.
const PIECES_MAX: usize = 1 << 22;
const PIECE_BYTES_MAX: usize = 1024;
/// Free places, counted from the end, on which siblings are tried.
const PLACES_TRIED: usize = 64;

#[derive(Debug, Clone, Copy)]
struct Node {
    base: u32,
    parent: u32,
    piece: u32,
}

const FREE: Node = Node { base: 0, parent: NONE, piece: NONE };

#[derive(Debug)]
pub(super) struct Trie {
    nodes: Vec<Node>,
    continuation: Option<u32>,
}

/// The pieces below a node, not yet placed.
struct Pending {
    node: usize,
    first: usize,
    last: usize,
    depth: usize,
}

impl Trie {
    /// Places every piece; `continuation` is the prefix under which pieces that continue a word are found.
    pub(super) fn build(pieces: &[&str], continuation: &str) -> Result<Self, VocabularyError> {
        let mut sorted = number(pieces)?;
        sorted.sort_unstable();
        // The root takes the first place of the first block and is its own parent: never a child.
        let mut nodes = vec![FREE; 256];
        nodes[0].parent = 0;
        let mut free = FreePlaces((1..256).collect());
        let mut pending = vec![Pending { node: 0, first: 0, last: sorted.len(), depth: 0 }];
        while let Some(Pending { node, mut first, last, depth }) = pending.pop() {
            if let Some((_, piece)) = sorted[first..last].first().filter(|(bytes, _)| bytes.len() == depth) {
                nodes[node].piece = *piece;
                first += 1;
            }
            let groups = group(&sorted, first, last, depth);
            if groups.is_empty() {
                continue;
            }
            let base = free.take(&mut nodes, &groups);
            nodes[node].base = base as u32;
            for (byte, first, last) in groups {
                let child = base ^ usize::from(byte);
                nodes[child].parent = node as u32;
                pending.push(Pending { node: child, first, last, depth: depth + 1 });
            }
        }
        let mut trie = Self { nodes, continuation: None };
        trie.continuation = continuation.bytes().try_fold(trie.root(), |node, byte| trie.child(node, byte));
        Ok(trie)
    }

    /// Where the first piece of a word is looked up.
    pub(super) fn root(&self) -> u32 {
        0
    }

    /// Where the others are looked up.
    pub(super) fn continuation(&self) -> u32 {
        self.continuation.unwrap_or(NONE)
    }

    /// The longest piece below `start` that `text`, its bytes mapped by `spelling`, begins with, and its length.
    pub(super) fn longest(&self, start: u32, text: &[u8], spelling: &[u8; 256]) -> Option<(u32, usize)> {
        let mut node = start;
        let mut found = None;
        for (place, byte) in text.iter().enumerate() {
            let Some(child) = self.child(node, spelling[usize::from(*byte)]) else { break };
            node = child;
            let piece = self.nodes[node as usize].piece;
            if piece != NONE {
                found = Some((piece, place + 1));
            }
        }
        found
    }

    fn child(&self, node: u32, byte: u8) -> Option<u32> {
        let child = self.nodes.get(node as usize)?.base ^ u32::from(byte);
        (self.nodes.get(child as usize)?.parent == node && child != 0).then_some(child)
    }
}

/// Pieces with their numbers, checked.
fn number<'a>(pieces: &[&'a str]) -> Result<Vec<(&'a [u8], u32)>, VocabularyError> {
    if pieces.is_empty() || pieces.len() > PIECES_MAX {
        return Err(VocabularyError::Size { found: pieces.len(), max: PIECES_MAX });
    }
    let mut seen = HashMap::with_capacity(pieces.len());
    for (number, piece) in (0u32..).zip(pieces) {
        if piece.len() > PIECE_BYTES_MAX {
            return Err(VocabularyError::Long { piece: number, bytes: piece.len() });
        }
        if let Some(first) = seen.insert(piece.as_bytes(), number) {
            return Err(VocabularyError::Duplicate { first, second: number });
        }
    }
    Ok(seen.into_iter().collect())
}

/// The children of a node: byte, and the range of sorted pieces below it.
fn group(sorted: &[(&[u8], u32)], first: usize, last: usize, depth: usize) -> Vec<(u8, usize, usize)> {
    let mut groups: Vec<(u8, usize, usize)> = Vec::new();
    for (place, (bytes, _)) in
        sorted[first..last].iter().enumerate().map(|(offset, piece)| (first + offset, piece))
    {
        let byte = bytes[depth];
        match groups.last_mut() {
            Some((same, _, end)) if *same == byte => *end = place + 1,
            _ => groups.push((byte, place, place + 1)),
        }
    }
    groups
}

/// The places that hold no node yet.
struct FreePlaces(BTreeSet<usize>);

impl FreePlaces {
    /// Takes a free place for every child and returns the base that leads to them. An only child fits anywhere
    /// and fills the oldest gap; siblings are tried on the newest places, then get a block of their own.
    fn take(&mut self, nodes: &mut Vec<Node>, groups: &[(u8, usize, usize)]) -> usize {
        let bytes = || groups.iter().map(|(byte, _, _)| usize::from(*byte));
        let first = bytes().next().unwrap_or(0);
        let fits = |base: &usize| bytes().all(|byte| nodes[base ^ byte].parent == NONE);
        let bases = |place: &usize| place ^ first;
        let found = match groups {
            [_] => self.0.first().map(bases),
            _ => self.0.iter().rev().take(PLACES_TRIED).map(bases).find(fits),
        };
        let base = found.unwrap_or_else(|| {
            let block = nodes.len();
            nodes.resize(block + 256, FREE);
            self.0.extend(block..block + 256);
            block
        });
        for byte in bytes() {
            self.0.remove(&(base ^ byte));
        }
        base
    }
}
