//! Puts the parser's events together to a tree.

use std::collections::HashMap;

use serde_saphyr::granit_parser::{Event, ScalarStyle, Tag};

use super::{DEPTH_MAX, Environment, TREE_BYTES_MAX};
use crate::config::diagnostic::Position;
use crate::config::expand::{ExpandError, expand};
use crate::config::node::{Entry, Kind, Node, Scalar, shown};
use crate::config::path::FieldPath;
use crate::config::report::Report;

/// A collection whose end has not come yet.
struct Open {
    at: Position,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, lines: HashMap<String, usize>, key: Key },
}

/// What a mapping waits for.
enum Key {
    /// A key.
    Awaited,
    /// The value of this key.
    Read(String, Position),
    /// The value of a key that was refused.
    Refused,
}

pub(super) struct Builder<'a> {
    environment: Environment<'a>,
    report: &'a Report,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    bytes: usize,
    documents: usize,
    root: Option<Node>,
}

impl<'a> Builder<'a> {
    pub(super) fn new(environment: Environment<'a>, report: &'a Report) -> Self {
        let (open, anchors) = (Vec::new(), HashMap::new());
        Self { environment, report, open, anchors, bytes: 0, documents: 0, root: None }
    }

    /// Takes the parser's next event. `None` ends the reading; the reason was reported.
    pub(super) fn take(&mut self, event: Event<'_>, at: Position) -> Option<()> {
        match event {
            Event::DocumentStart(..) => self.start_document(at),
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                let plain = style == ScalarStyle::Plain && tag.is_none();
                let scalar = self.scalar(text.into_owned(), plain, at);
                let node = Node { at, kind: Kind::Scalar(scalar) };
                self.complete(node, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                self.open.push(Open { at, anchor, content: Content::List(Vec::new()) });
                Some(())
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at);
                let content = Content::Map { entries: Vec::new(), lines: HashMap::new(), key: Key::Awaited };
                self.open.push(Open { at, anchor, content });
                Some(())
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(anchor, at),
            _ => Some(()),
        }
    }

    fn start_document(&mut self, at: Position) -> Option<()> {
        self.documents += 1;
        if self.documents == 1 {
            return Some(());
        }
        let hint = "remove the `---` and what follows it".to_owned();
        self.report.error(at, &FieldPath::default(), "a second document begins here".to_owned(), Some(hint));
        None
    }

    fn scalar(&self, text: String, plain: bool, at: Position) -> Scalar {
        if self.awaits_key() {
            return Scalar { text, written: None, plain, broken: false };
        }
        match expand(&text, self.environment) {
            Ok(None) => Scalar { text, written: None, plain, broken: false },
            Ok(Some(expanded)) => Scalar { text: expanded, written: Some(text), plain, broken: false },
            Err(error) => {
                let hint = match &error {
                    ExpandError::Missing(_) => "export it, or write `$${` for a literal `${`",
                    _ => "write ${NAME}, or `$${` for a literal `${`",
                };
                self.report.error(at, &self.path(), error.to_string(), Some(hint.to_owned()));
                Scalar { text: String::new(), written: Some(text), plain, broken: true }
            }
        }
    }

    fn close(&mut self) -> Option<()> {
        let Open { at, anchor, content } = self.open.pop()?;
        let kind = match content {
            Content::List(items) => Kind::List(items),
            Content::Map { entries, .. } => Kind::Map(entries),
        };
        self.complete(Node { at, kind }, anchor)
    }

    /// A copy of an earlier node, as if it had been written here.
    fn alias(&mut self, anchor: usize, at: Position) -> Option<()> {
        let Some(original) = self.anchors.get(&anchor) else {
            self.report.error(at, &self.path(), "the alias is part of what it stands for".to_owned(), None);
            return None;
        };
        let (bytes, depth) = original.measure();
        if self.open.len() + depth > DEPTH_MAX {
            let message = format!("nested deeper than {DEPTH_MAX} levels");
            self.report.error(at, &self.path(), message, None);
            return None;
        }
        self.spend(bytes, at)?;
        let mut copy = self.anchors.get(&anchor)?.clone();
        copy.at = at;
        self.place(copy)
    }

    /// Counts a node that was read, remembers it under its anchor, and puts it where it belongs.
    fn complete(&mut self, node: Node, anchor: usize) -> Option<()> {
        let bytes = match &node.kind {
            Kind::Scalar(scalar) => scalar.text.len(),
            _ => 0,
        };
        self.spend(bytes + size_of::<Entry>(), node.at)?;
        if anchor != 0 {
            self.spend(node.measure().0, node.at)?;
            self.anchors.insert(anchor, node.clone());
        }
        self.place(node)
    }

    fn spend(&mut self, bytes: usize, at: Position) -> Option<()> {
        self.bytes += bytes;
        if self.bytes <= TREE_BYTES_MAX {
            return Some(());
        }
        let message = format!("the document takes more than {} MiB of memory", TREE_BYTES_MAX >> 20);
        self.report.error(
            at,
            &self.path(),
            message,
            Some("aliases and variables count each time".to_owned()),
        );
        None
    }

    fn place(&mut self, node: Node) -> Option<()> {
        if self.awaits_key() {
            self.key(node);
            return Some(());
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key, .. }) => {
                if let Key::Read(key, key_at) = std::mem::replace(key, Key::Awaited) {
                    entries.push(Entry { key, key_at, value: node });
                }
            }
        }
        Some(())
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { content: Content::Map { key: Key::Awaited, .. }, .. }))
    }

    fn key(&mut self, node: Node) {
        let path = self.path();
        let Some(Open { content: Content::Map { lines, key, .. }, .. }) = self.open.last_mut() else {
            return;
        };
        let Kind::Scalar(Scalar { text, written, .. }) = node.kind else {
            let message = format!("a key is {}", node.describe());
            self.report.error(node.at, &path, message, Some("keys are plain words".to_owned()));
            *key = Key::Refused;
            return;
        };
        // An alias may stand here for a value in which a variable was replaced. Keys are shown, values not.
        let text = written.unwrap_or(text);
        *key = match lines.get(&text) {
            Some(first) => {
                let message = format!("the key {} occurs twice", shown(&text));
                let hint = format!("it is on line {first} already");
                self.report.error(node.at, &path.key(&text), message, Some(hint));
                Key::Refused
            }
            None => {
                lines.insert(text.clone(), node.at.line);
                Key::Read(text, node.at)
            }
        };
    }

    fn refuse_tag(&self, tag: Option<&Tag>, at: Position) {
        if let Some(tag) = tag.filter(|tag| tag.core_suffix().is_none_or(|suffix| suffix != "str")) {
            let message = format!("the tag {} is not supported", shown(&tag.original()));
            self.report.error(at, &self.path(), message, Some("remove it".to_owned()));
        }
    }

    /// The field that is being read.
    pub(super) fn path(&self) -> FieldPath {
        self.open.iter().fold(FieldPath::default(), |path, open| match &open.content {
            Content::List(items) => path.index(items.len()),
            Content::Map { key: Key::Read(key, _), .. } => path.key(key),
            Content::Map { .. } => path,
        })
    }

    /// The document, once every event was taken.
    pub(super) fn finish(self) -> Option<Node> {
        let nothing = |node: &Node| matches!(&node.kind, Kind::Scalar(scalar) if scalar.is_null());
        let root = self.root.filter(|root| !nothing(root));
        if root.is_none() {
            let hint = "it needs `models` and `tenants`".to_owned();
            self.report.whole_file("the file is empty".to_owned(), Some(hint));
        }
        root
    }
}
