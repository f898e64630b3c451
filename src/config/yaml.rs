//! From the bytes of a file to a tree of positioned nodes.
//!
//! Duplicate keys and missing variables are reported here, in passing; a violation of the syntax ends the reading.
//! Size and depth are bounded, aliases included, whatever the file holds.

mod builder;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use serde_saphyr::granit_parser::{ErrorKind, Marker, Options, Parser, ScanError};

use self::builder::Builder;
use super::diagnostic::Position;
use super::node::Node;
use super::path::FieldPath;
use super::report::Report;

/// The largest file, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The most memory a tree may take, aliases and variables included, in bytes.
const TREE_BYTES_MAX: usize = 32 << 20;

/// The deepest nesting; a configuration needs six.
const DEPTH_MAX: usize = 32;

/// Looks up an environment variable.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The bytes of a file, or a little more than the most that [`read`] accepts.
pub(super) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a document. `None` when it is none, which was then reported.
pub(super) fn read(bytes: &[u8], environment: Environment<'_>, report: &Report) -> Option<Node> {
    if bytes.len() > FILE_BYTES_MAX {
        report.whole_file(format!("the file is larger than {} MiB", FILE_BYTES_MAX >> 20), None);
        return None;
    }
    let text = match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let valid = bytes.get(..error.valid_up_to()).unwrap_or_default();
            report.error(end(valid), &FieldPath::default(), "not UTF-8 text".to_owned(), None);
            return None;
        }
    };
    let mut options = Options::default();
    options.emit_comments = false;
    options.flow_nesting_limit = DEPTH_MAX;
    options.block_nesting_limit = DEPTH_MAX;
    let mut builder = Builder::new(environment, report);
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => builder.take(event, position(span.start))?,
            Err(error) => {
                let message = format!("not valid YAML: {}", error.info());
                report.error(position(*error.marker()), &builder.path(), message, syntax_hint(&error, text));
                return None;
            }
        }
    }
    builder.finish()
}

fn syntax_hint(error: &ScanError, text: &str) -> Option<String> {
    let line = text.lines().nth(error.marker().line().saturating_sub(1)).unwrap_or_default();
    let hint = if line.starts_with('\t') || error.info().contains("tab") {
        "indent with spaces, not with tabs"
    } else if line.contains("${") {
        "put quotes around a value that holds `${…}`"
    } else if *error.kind() == ErrorKind::UnknownAnchor {
        "put quotes around a text that begins with `*`"
    } else {
        "look at the brackets, quotes and indentation above it, too"
    };
    Some(hint.to_owned())
}

/// The position behind the last of these characters.
fn end(valid: &[u8]) -> Position {
    let text = String::from_utf8_lossy(valid);
    let line = 1 + text.matches('\n').count();
    Position { line, column: 1 + text.rsplit('\n').next().map_or(0, |last| last.chars().count()) }
}

fn position(marker: Marker) -> Position {
    Position { line: marker.line(), column: marker.col() + 1 }
}
