//! A field as its reader sees it: what is there, where it stands, and how to complain about it.
//!
//! A reader that finds something wrong reports it, gives up that field alone and goes on, so that one run shows
//! every error.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::diagnostic::Position;
use super::json;
use super::node::{Kind, Node, Scalar, shown};
use super::path::FieldPath;
use super::report::Report;
use super::source::Outline;
use super::suggest;

/// What all the readers of one file share.
pub(super) struct Reader<'a> {
    pub(super) report: &'a Report,
    /// Paths in the file are relative to this.
    pub(super) directory: &'a Path,
    /// The files that the file names, so far.
    pub(super) files: RefCell<BTreeSet<PathBuf>>,
}

/// A field that is there.
#[derive(Clone)]
pub(super) struct Value<'a> {
    pub(super) reader: &'a Reader<'a>,
    node: &'a Node,
    path: FieldPath,
    /// The position of its key, or its own.
    named_at: Position,
}

impl<'a> Value<'a> {
    pub(super) fn root(reader: &'a Reader<'a>, node: &'a Node) -> Self {
        Self { reader, node, path: FieldPath::default(), named_at: node.at }
    }

    /// Complains about the value.
    pub(super) fn error(&self, message: impl Into<String>, hint: impl Into<Option<String>>) {
        // Nothing has no place of its own.
        let nothing = matches!(&self.node.kind, Kind::Scalar(scalar) if scalar.is_null());
        let at = if nothing { self.named_at } else { self.node.at };
        self.reader.report.error(at, &self.path, message.into(), hint.into());
    }

    /// Complains about the value's name, or about what it lacks.
    pub(super) fn error_at_name(&self, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.reader.report.error(self.named_at, &self.path, message.into(), hint.into());
    }

    /// Remarks on the value.
    pub(super) fn warning(&self, message: impl Into<String>, hint: impl Into<Option<String>>) {
        self.reader.report.warning(self.node.at, &self.path, message.into(), hint.into());
    }

    /// Whether it is a mapping.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.kind, Kind::Map(_))
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.kind, Kind::List(_))
    }

    /// The positions of what is below it.
    pub(super) fn outline(&self) -> Outline {
        self.node.outline(Some(self.named_at))
    }

    /// The value as JSON.
    pub(super) fn to_json(&self) -> String {
        let mut text = String::new();
        json::write(self.node, &mut text);
        text
    }

    fn expected(&self, expected: &str) {
        self.error(format!("expects {expected}, found {}", self.node.describe()), None);
    }

    /// The value as a scalar, complaining if it is none. A scalar that was complained about is none, either.
    pub(super) fn scalar(&self, expected: &str) -> Option<&'a Scalar> {
        match &self.node.kind {
            Kind::Scalar(scalar) if scalar.broken => None,
            Kind::Scalar(scalar) if scalar.is_null() => {
                let hint = "give it one, or remove the key".to_owned();
                self.error(format!("has no value: expects {expected}"), hint);
                None
            }
            Kind::Scalar(scalar) => Some(scalar),
            _ => {
                self.expected(expected);
                None
            }
        }
    }

    /// The value as a text that is not empty.
    pub(super) fn text(&self, expected: &str) -> Option<&'a str> {
        let text = self.scalar(expected)?.text.as_str();
        if text.is_empty() {
            self.error(format!("is empty: expects {expected}"), None);
            return None;
        }
        Some(text)
    }

    /// The value as one of a few words.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let scalar = self.scalar("a word")?;
        let chosen = choices.iter().find(|(word, _)| *word == scalar.text).map(|(_, choice)| *choice);
        if chosen.is_none() {
            let hint = self.hint(&scalar.text, choices.iter().map(|(word, _)| *word));
            self.error(format!("{} is not allowed here", scalar.shown()), hint);
        }
        chosen
    }

    /// The value as one of the names in `known`, which are names of `what`. Nothing is checked against no names:
    /// their absence was reported.
    pub(super) fn name(&self, what: &str, known: &BTreeSet<&str>) -> Option<&'a str> {
        let text = self.text(&format!("the name of a {what}"))?;
        if !known.is_empty() && !known.contains(text) {
            let hint = self.hint(text, known.iter().copied());
            self.error(format!("no {what} {}", self.scalar(what)?.shown()), hint);
            return None;
        }
        Some(text)
    }

    /// The items of a list.
    pub(super) fn items(&self, expected: &str) -> Vec<Self> {
        let Kind::List(items) = &self.node.kind else {
            self.expected(expected);
            return Vec::new();
        };
        let item = |(index, node): (usize, &'a Node)| {
            let path = self.path.index(index);
            Self { reader: self.reader, node, path, named_at: node.at }
        };
        items.iter().enumerate().map(item).collect()
    }

    /// What `read` makes of every item, complaining if two are equal or none is there.
    pub(super) fn distinct<T: PartialEq>(&self, expected: &str, read: impl Fn(&Self) -> Option<T>) -> Vec<T> {
        let items = self.items(expected);
        if items.is_empty() && self.is_list() {
            self.error("is empty", format!("expects {expected}"));
        }
        let mut found = Vec::new();
        for item in items {
            match read(&item) {
                Some(one) if found.contains(&one) => item.error("is listed twice", None),
                Some(one) => found.push(one),
                None => {}
            }
        }
        found
    }

    /// The entries of a mapping whose keys are free.
    pub(super) fn entries(&self, expected: &str) -> Vec<(&'a str, Self)> {
        let Kind::Map(entries) = &self.node.kind else {
            self.expected(expected);
            return Vec::new();
        };
        entries
            .iter()
            .map(|entry| (entry.key.as_str(), self.field(&entry.key, &entry.value, entry.key_at)))
            .collect()
    }

    /// The fields of a mapping whose keys are known.
    pub(super) fn fields(&self, expected: &str) -> Option<Fields<'a>> {
        if !self.is_map() {
            self.expected(expected);
            return None;
        }
        Some(Fields { of: self.clone(), rest: self.entries(expected), known: Vec::new() })
    }

    /// What may have been meant by `word`.
    pub(super) fn hint<'k>(&self, word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
        if self.reader.report.is_full() { None } else { suggest::hint(word, known) }
    }

    fn field(&self, key: &str, node: &'a Node, named_at: Position) -> Self {
        Self { reader: self.reader, node, path: self.path.key(key), named_at }
    }
}

/// The fields of a mapping, each to be taken once. Whatever is left at the end is unknown.
#[must_use = "unknown keys are found by `finish`"]
pub(super) struct Fields<'a> {
    of: Value<'a>,
    rest: Vec<(&'a str, Value<'a>)>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The field `key`, if it is there.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.known.push(key);
        let index = self.rest.iter().position(|(name, _)| *name == key)?;
        Some(self.rest.swap_remove(index).1)
    }

    /// What `read` makes of the field `key`; `None` when it is absent or wrong.
    pub(super) fn read<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        self.take(key).and_then(|value| read(&value))
    }

    /// The field `key`, complaining if it is absent.
    pub(super) fn require(&mut self, key: &'static str, hint: &str) -> Option<Value<'a>> {
        let value = self.take(key);
        if value.is_none() {
            self.of.error_at_name(format!("lacks `{key}`"), hint.to_owned());
        }
        value
    }

    /// The mapping itself.
    pub(super) fn of(&self) -> &Value<'a> {
        &self.of
    }

    /// Complains about every field that was not asked for.
    pub(super) fn finish(self) {
        for (key, value) in self.rest {
            let hint = match key {
                "<<" => Some("merge keys are not part of YAML 1.2: repeat the fields".to_owned()),
                _ => value.hint(key, self.known.iter().copied()),
            };
            value.error_at_name(format!("unknown key {}", shown(key)), hint);
        }
    }
}
