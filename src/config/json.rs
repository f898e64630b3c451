//! A tree of positioned nodes as JSON, in which numbers have the digits that were written.

use serde_json::{Number, Value};

use super::node::{Kind, Node, Scalar};

/// Writes a part of a document.
pub(super) fn write(node: &Node, text: &mut String) {
    match &node.kind {
        Kind::Scalar(scalar) => write_scalar(scalar, text),
        Kind::List(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                separate(place, text);
                write(item, text);
            }
            text.push(']');
        }
        Kind::Map(entries) => {
            text.push('{');
            for (place, entry) in entries.iter().enumerate() {
                separate(place, text);
                write_text(&entry.key, text);
                text.push(':');
                write(&entry.value, text);
            }
            text.push('}');
        }
    }
}

fn separate(place: usize, text: &mut String) {
    if place > 0 {
        text.push(',');
    }
}

fn write_scalar(scalar: &Scalar, text: &mut String) {
    if scalar.is_null() {
        text.push_str("null");
    } else if scalar.plain && is_literal(&scalar.text) {
        text.push_str(&scalar.text);
    } else {
        write_text(&scalar.text, text);
    }
}

/// What YAML and JSON mean the same by.
fn is_literal(text: &str) -> bool {
    matches!(text, "true" | "false") || serde_json::from_str::<Number>(text).is_ok()
}

fn write_text(value: &str, text: &mut String) {
    text.push_str(&Value::from(value).to_string());
}
