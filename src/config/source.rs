//! Where in the file every field stands, so that checks made long after parsing can point at it.
//!
//! Positions only: no value is kept, so a source cannot leak one.

use std::sync::Arc;

use super::diagnostic::{Diagnostic, Position, Severity};
use super::path::FieldPath;

/// The positions of a file's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    file: Arc<str>,
    root: Outline,
}

/// The position of a field and of what is below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outline {
    pub(super) at: Position,
    pub(super) below: Below,
}

/// What is below a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Below {
    /// A scalar has nothing below it.
    Nothing,
    /// The items of a list.
    Items(Vec<Outline>),
    /// The entries of a mapping.
    Fields(Vec<(String, Outline)>),
}

impl Source {
    pub(super) fn new(file: Arc<str>, root: Outline) -> Self {
        Self { file, root }
    }

    /// The source of what no file says: everything is at its beginning.
    pub(super) fn unwritten(name: &str) -> Self {
        Self::new(Arc::from(name), Outline { at: Position { line: 1, column: 1 }, below: Below::Nothing })
    }

    /// The file, as the user named it.
    #[must_use]
    pub fn file(&self) -> &str {
        &self.file
    }

    /// An error at a field, such as `["tenants", "research", "pool", "1"]`. A path that the file does not hold (a
    /// default) is shown at the nearest field above it.
    #[must_use]
    pub fn error(&self, path: &[&str], message: impl Into<String>, hint: Option<String>) -> Diagnostic {
        self.diagnostic(Severity::Error, path, message.into(), hint)
    }

    /// A warning at a field, named as for [`Source::error`].
    #[must_use]
    pub fn warning(&self, path: &[&str], message: impl Into<String>, hint: Option<String>) -> Diagnostic {
        self.diagnostic(Severity::Warning, path, message.into(), hint)
    }

    fn diagnostic(
        &self,
        severity: Severity,
        path: &[&str],
        message: String,
        hint: Option<String>,
    ) -> Diagnostic {
        let mut field = FieldPath::default();
        let mut outline = Some(&self.root);
        let mut position = self.root.at;
        for step in path {
            let items = matches!(outline, Some(Outline { below: Below::Items(_), .. }));
            field = match step.parse() {
                Ok(index) if items => field.index(index),
                _ => field.key(step),
            };
            outline = outline.and_then(|outline| outline.step(step));
            position = outline.map_or(position, |outline| outline.at);
        }
        let file = Arc::clone(&self.file);
        Diagnostic { severity, file, position: Some(position), path: field.to_string(), message, hint }
    }
}

impl Outline {
    fn step(&self, step: &str) -> Option<&Self> {
        match &self.below {
            Below::Nothing => None,
            Below::Items(items) => items.get(step.parse::<usize>().ok()?),
            Below::Fields(fields) => fields.iter().find(|(name, _)| name == step).map(|(_, below)| below),
        }
    }
}
