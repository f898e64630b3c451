//! `${NAME}` in values: the environment's part in a configuration.
//!
//! It works on values after the YAML has been read, so no variable can change the document's structure.

use thiserror::Error;

/// Why a value cannot be expanded. Names are shown, values never.
#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum ExpandError {
    #[error("the environment variable `{0}` is not set")]
    Missing(String),
    #[error("`${{` is never closed")]
    Unclosed,
    #[error("what stands between `${{` and `}}` is not the name of a variable")]
    NotAName,
}

/// Replaces every `${NAME}` by the variable's value; `$${` stands for `${` itself. `None`: there was nothing to
/// replace.
pub(super) fn expand(
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, ExpandError> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        let (name, after) = after.split_once('}').ok_or(ExpandError::Unclosed)?;
        if !is_name(name) {
            return Err(ExpandError::NotAName);
        }
        let value = environment(name).ok_or_else(|| ExpandError::Missing(name.to_owned()))?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(Some(expanded))
}

fn is_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(word) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<String> {
        (name == "KEY").then(|| "value ${KEY}".to_owned())
    }

    #[test]
    fn replaces_variables_once_and_keeps_the_rest() {
        let expanded = |text| expand(text, &environment);
        assert_eq!(expanded("plain $KEY $$ {KEY}"), Ok(None));
        assert_eq!(expanded("a ${KEY} b"), Ok(Some("a value ${KEY} b".to_owned())));
        assert_eq!(expanded("$${KEY}"), Ok(Some("${KEY}".to_owned())));
        assert_eq!(expanded("$$${KEY}"), Ok(Some("$${KEY}".to_owned())));
    }

    #[test]
    fn says_what_is_wrong() {
        let failed = |text| expand(text, &environment).unwrap_err();
        assert_eq!(failed("${OTHER}"), ExpandError::Missing("OTHER".to_owned()));
        assert_eq!(failed("x ${KEY"), ExpandError::Unclosed);
        for name in ["${}", "${1A}", "${A-B}", "${A:-b}", "${É}"] {
            assert_eq!(failed(name), ExpandError::NotAName, "{name}");
        }
    }
}
