//! Files made to hurt: bounded work, a clear error, no panic.

use std::path::Path;

use proptest::prelude::*;

use super::{parse, parse_in};

fn only_error(text: &str) -> String {
    let found = parse(text).unwrap_err();
    let errors: Vec<_> = found.errors().map(ToString::to_string).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.concat()
}

#[test]
fn an_empty_file() {
    for text in ["", "\n\n", "# nothing\n", "---\n", "null\n", "~"] {
        assert_eq!(
            only_error(text),
            "config.yaml: error: the file is empty; it needs `models` and `tenants`",
            "{text:?}"
        );
    }
}

#[test]
fn tabs() {
    let error = only_error("models:\n\tgpt-4o: {}\n");
    assert!(error.starts_with("config.yaml:2:2: error: models: not valid YAML: tabs "), "{error}");
    assert!(error.ends_with("indent with spaces, not with tabs"), "{error}");
}

#[test]
fn bytes_that_are_no_text() {
    let found = parse_in(Path::new(""), b"models:\n  gpt-\xC3\xA4\xFF: {}\n").unwrap_err();
    assert_eq!(found.to_string(), "config.yaml:2:8: error: not UTF-8 text\n");
}

#[test]
fn an_unquoted_variable_in_braces() {
    let error = only_error("models:\n  a: {api_key: ${KEY}}\n");
    assert!(error.contains(":2:"), "{error}");
    assert!(error.ends_with("put quotes around a value that holds `${…}`"), "{error}");
}

#[test]
fn a_second_document() {
    let error = only_error("models: {}\n---\ntenants: {}\n");
    assert!(error.starts_with("config.yaml:2:1: error: a second document begins here"), "{error}");
}

#[test]
fn aliases_that_explode() {
    let mut text = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let references = vec![format!("*a{}", level - 1); 10].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{references}]\n"));
    }
    let error = only_error(&text);
    assert!(error.contains("takes more than 32 MiB of memory"), "{error}");
}

#[test]
fn one_long_text_repeated() {
    let items = vec!["*long"; 5_000].join(", ");
    let error = only_error(&format!("a: &long {}\nb: [{items}]\n", "x".repeat(100_000)));
    assert!(error.contains("takes more than 32 MiB of memory"), "{error}");
}

#[test]
fn nesting() {
    for text in ["[".repeat(100_000), "{a: ".repeat(10_000), "- ".repeat(10_000)] {
        let error = only_error(&text);
        assert!(error.starts_with("config.yaml:1:"), "{error}");
    }
    let mut text = String::from("a0: &a0 [x]\n");
    for level in 1..64 {
        text.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
    }
    assert!(only_error(&text).contains("nested deeper than 32 levels"));
}

#[test]
fn an_alias_to_itself() {
    let error = only_error("models: &m {a: *m}\n");
    assert!(error.starts_with("config.yaml:1:16: error: models.a: "), "{error}");
}

#[test]
fn too_large_a_file() {
    let error = only_error(&"#".repeat((1 << 20) + 1));
    assert_eq!(error, "config.yaml: error: the file is larger than 1 MiB");
}

#[test]
fn a_hundred_thousand_errors_are_counted() {
    let text: String = (0..100_000).map(|key| format!("k{key}: 1\n")).collect();
    let found = parse(&text).unwrap_err();
    assert_eq!(found.errors().count(), 200);
    assert!(found.omitted() >= 99_800, "{}", found.omitted());
    assert!(found.to_string().ends_with(" more\n"));
}

#[test]
fn keys_that_are_no_words() {
    for text in ["? [a]\n: b\n", "? {a: b}\n: c\n"] {
        let found = parse(text).unwrap_err();
        assert!(found.to_string().contains("keys are plain words"), "{found}");
    }
}

/// Pieces of YAML and of configurations, so that random files get past the first brackets.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "models",
        "routes",
        "tenants",
        "server",
        "tls",
        "gpt",
        "auto",
        "pool",
        "keys",
        "key",
        "hash",
        "router",
        "mf",
        "threshold",
        "price",
        "input",
        "output",
        "listen",
        ": ",
        ":\n",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "&a ",
        "*a",
        "\"",
        "'",
        "${CI_KEY}",
        "${",
        "$${",
        "!!str ",
        "!x ",
        "|",
        ">",
        "#",
        "---\n",
        "0.5",
        "-1",
        "1e999",
        "32MiB",
        "50ms",
        "~",
        "<<",
        "? ",
        "\t",
        "\u{FEFF}",
        "é",
        "🚂",
        "\0",
        "true",
        "openai",
        "redis",
        "redis://:p@h",
        "allow(",
    ];
    prop_oneof![4 => prop::sample::select(words.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse_in(Path::new(""), &bytes).map_err(|found| found.to_string());
    }

    #[test]
    fn no_text_panics(pieces in prop::collection::vec(piece(), 0..80)) {
        let text = pieces.concat();
        if let Err(found) = parse(&text) {
            prop_assert!(found.has_errors());
            prop_assert!(!found.to_string().contains("very-secret"), "{found}");
        }
    }

    #[test]
    fn no_cut_sample_panics(cut in 0_usize..4000, inserted in piece()) {
        let mut text = include_str!("../../fixtures/config/broken.yaml").to_owned();
        let cut = (0..=cut.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.insert_str(cut, &inserted);
        let found = parse(&text).map_err(|found| found.to_string()).unwrap_err();
        prop_assert!(!found.contains("very-secret") && !found.contains("hunter2"), "{found}");
    }
}
