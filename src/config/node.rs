//! A YAML document as a tree in which every part knows its position.
//!
//! It knows nothing of which fields there are. It holds secrets, so it is never printed.

use super::diagnostic::Position;
use super::source::{Below, Outline};

/// A part of the document.
#[derive(Clone)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) kind: Kind,
}

/// What a part is.
#[derive(Clone)]
pub(super) enum Kind {
    Scalar(Scalar),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Position,
    pub(super) value: Node,
}

/// A text, number, word or nothing: what it is meant as is for its reader to say.
#[derive(Clone)]
pub(super) struct Scalar {
    /// The value, `${…}` replaced.
    pub(super) text: String,
    /// The value as it was written, where `${…}` was replaced in it; only this may be shown.
    pub(super) written: Option<String>,
    /// Neither quoted nor a block.
    pub(super) plain: bool,
    /// An error about it was already reported.
    pub(super) broken: bool,
}

impl Node {
    /// What it is, in words for an error.
    pub(super) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(scalar) if scalar.is_null() => "nothing",
            Kind::Scalar(_) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// Bytes of memory, roughly, and depth: what an alias to it would cost.
    pub(super) fn measure(&self) -> (usize, usize) {
        let (bytes, depth) = match &self.kind {
            Kind::Scalar(scalar) => (scalar.text.len(), 0),
            Kind::List(items) => items.iter().map(Self::measure).fold((0, 0), widen),
            Kind::Map(entries) => entries.iter().map(Entry::measure).fold((0, 0), widen),
        };
        (bytes + size_of::<Entry>(), depth + 1)
    }

    /// The positions alone. A collection in a mapping is best shown at its key.
    pub(super) fn outline(&self, key_at: Option<Position>) -> Outline {
        let at = key_at.unwrap_or(self.at);
        match &self.kind {
            Kind::Scalar(_) => Outline { at: self.at, below: Below::Nothing },
            Kind::List(items) => {
                Outline { at, below: Below::Items(items.iter().map(|item| item.outline(None)).collect()) }
            }
            Kind::Map(entries) => {
                let field = |entry: &Entry| (entry.key.clone(), entry.value.outline(Some(entry.key_at)));
                Outline { at, below: Below::Fields(entries.iter().map(field).collect()) }
            }
        }
    }
}

impl Entry {
    fn measure(&self) -> (usize, usize) {
        let (bytes, depth) = self.value.measure();
        (bytes + self.key.len(), depth)
    }
}

impl Scalar {
    /// Written as nothing at all, or as YAML's `null`.
    pub(super) fn is_null(&self) -> bool {
        self.plain
            && self.written.is_none()
            && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The value as an error may show it: as it was written, on one line, not too long.
    pub(super) fn shown(&self) -> String {
        shown(self.written.as_deref().unwrap_or(&self.text))
    }
}

/// A text of the file as an error may show it: in backticks, on one line, not too long.
pub(super) fn shown(text: &str) -> String {
    const CHARACTERS_MAX: usize = 60;
    let mut line: String = text
        .chars()
        .take(CHARACTERS_MAX)
        .map(|character| if character.is_control() { '\u{FFFD}' } else { character })
        .collect();
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        line.push('…');
    }
    format!("`{line}`")
}

fn widen(total: (usize, usize), one: (usize, usize)) -> (usize, usize) {
    (total.0 + one.0, total.1.max(one.1))
}
