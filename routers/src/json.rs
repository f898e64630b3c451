//! What is wrong with JSON, in JSON's own words: serde_json's messages name the types of this program, which mean nothing
//! to whoever wrote the file.

use serde_json::Error;

/// What is wrong, without the place.
#[must_use]
pub fn problem(error: &Error) -> String {
    let message = error.to_string();
    let message = message.strip_suffix(&place(error)).unwrap_or(&message);
    match message.rsplit_once(", expected ") {
        Some((found, expected)) => format!("{found}, expected {}", in_words(expected)),
        None => message.to_owned(),
    }
}

/// What is wrong, and at which line and column.
#[must_use]
pub fn problem_and_place(error: &Error) -> String {
    problem(error) + &place(error)
}

fn place(error: &Error) -> String {
    format!(" at line {} column {}", error.line(), error.column())
}

fn in_words(expected: &str) -> &str {
    match expected {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a map" => "an object",
        "a sequence" => "a list",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only what is wrong with them is looked at")]
    struct Raw {
        name: String,
        score: f64,
        turn: u32,
    }

    #[test]
    fn no_message_names_a_type_of_this_program() {
        for (text, expected) in [
            ("7", "invalid type: integer `7`, expected an object"),
            (r#"{"name": 1}"#, "invalid type: integer `1`, expected a string"),
            (r#"{"name": "x", "score": "f64"}"#, "invalid type: string \"f64\", expected a number"),
            (
                r#"{"turn": 1.5}"#,
                "invalid type: floating point `1.5`, expected a whole number that is not negative",
            ),
            (r#"{"name": "x"}"#, "missing field `score`"),
        ] {
            let error = serde_json::from_str::<Raw>(text).unwrap_err();
            assert_eq!(problem(&error), expected);
            assert!(
                problem_and_place(&error).starts_with(&format!("{expected} at line 1 column ")),
                "{text}"
            );
        }
    }
}
