//! What is wrong with a configuration, for people and for programs.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

/// A place in a file, counted from 1; columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// Whether the configuration can be used all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It cannot.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

impl Severity {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One finding. Its texts never hold a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as the user named it.
    pub file: Arc<str>,
    /// Where in the file; `None` when the file could not be read at all.
    pub position: Option<Position>,
    /// The field, as in `tenants.research.pool[1]`; empty for the whole file.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnostic {
    /// One line: `config.yaml:12:7: error: tenants.research.pool[1]: no model …; did you mean …?`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.file)?;
        if let Some(Position { line, column }) = self.position {
            write!(formatter, ":{line}:{column}")?;
        }
        write!(formatter, ": {}: ", self.severity.name())?;
        if !self.path.is_empty() {
            write!(formatter, "{}: ", self.path)?;
        }
        formatter.write_str(&self.message)?;
        match &self.hint {
            Some(hint) => write!(formatter, "; {hint}"),
            None => Ok(()),
        }
    }
}

#[derive(Serialize)]
struct Json<'a> {
    severity: Severity,
    file: &'a str,
    line: Option<usize>,
    column: Option<usize>,
    path: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

impl Serialize for Diagnostic {
    /// An object with `severity`, `file`, `line`, `column`, `path`, `message` and `hint`.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Json {
            severity: self.severity,
            file: &self.file,
            line: self.position.map(|position| position.line),
            column: self.position.map(|position| position.column),
            path: &self.path,
            message: &self.message,
            hint: self.hint.as_deref(),
        }
        .serialize(serializer)
    }
}

/// All that is wrong with a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    omitted: usize,
}

/// More than anyone reads; bounds the work that a hostile file can cause.
const KEPT_MAX: usize = 200;

impl Diagnostics {
    /// Adds a finding. Past two hundred they are counted only.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        if self.is_full() {
            self.omitted += 1;
        } else {
            self.found.push(diagnostic);
        }
    }

    /// Adds all the findings of `other`.
    pub fn extend(&mut self, other: Self) {
        self.omitted += other.omitted;
        for diagnostic in other.found {
            self.push(diagnostic);
        }
    }

    /// Whether further findings would be counted only.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.found.len() >= KEPT_MAX
    }

    /// Whether any finding is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.omitted > 0 || self.errors().next().is_some()
    }

    /// Whether there is no finding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// The errors, in the order of the file.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        self.of(Severity::Error)
    }

    /// The warnings, in the order of the file.
    pub fn warnings(&self) -> impl Iterator<Item = &Diagnostic> {
        self.of(Severity::Warning)
    }

    /// How many findings were counted only.
    #[must_use]
    pub fn omitted(&self) -> usize {
        self.omitted
    }

    fn of(&self, severity: Severity) -> impl Iterator<Item = &Diagnostic> {
        let mut found: Vec<_> = self.found.iter().filter(|one| one.severity == severity).collect();
        found.sort_by_key(|one| one.position);
        found.into_iter()
    }
}

impl fmt::Display for Diagnostics {
    /// One line each, errors first.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in self.errors().chain(self.warnings()) {
            writeln!(formatter, "{diagnostic}")?;
        }
        match self.omitted {
            0 => Ok(()),
            omitted => writeln!(formatter, "and {omitted} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}
