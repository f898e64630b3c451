//! Where the readers of a file leave what they find.

use std::cell::RefCell;
use std::sync::Arc;

use super::diagnostic::{Diagnostic, Diagnostics, Position, Severity};
use super::path::FieldPath;

/// Collects findings about one file. Shared by reference among all that read the file.
pub(super) struct Report {
    file: Arc<str>,
    found: RefCell<Diagnostics>,
}

impl Report {
    pub(super) fn new(file: Arc<str>) -> Self {
        Self { file, found: RefCell::default() }
    }

    /// The file, as findings name it.
    pub(super) fn file(&self) -> Arc<str> {
        Arc::clone(&self.file)
    }

    pub(super) fn error(&self, at: Position, path: &FieldPath, message: String, hint: Option<String>) {
        self.add(Severity::Error, Some(at), path, message, hint);
    }

    pub(super) fn warning(&self, at: Position, path: &FieldPath, message: String, hint: Option<String>) {
        self.add(Severity::Warning, Some(at), path, message, hint);
    }

    /// An error of the file as a whole, which has no place in it.
    pub(super) fn whole_file(&self, message: String, hint: Option<String>) {
        self.add(Severity::Error, None, &FieldPath::default(), message, hint);
    }

    /// Whether further findings would only be counted, so that looking for hints is wasted.
    pub(super) fn is_full(&self) -> bool {
        self.found.borrow().is_full()
    }

    pub(super) fn into_diagnostics(self) -> Diagnostics {
        self.found.into_inner()
    }

    fn add(
        &self,
        severity: Severity,
        position: Option<Position>,
        path: &FieldPath,
        message: String,
        hint: Option<String>,
    ) {
        let (file, path) = (Arc::clone(&self.file), path.to_string());
        self.found.borrow_mut().push(Diagnostic { severity, file, position, path, message, hint });
    }
}
