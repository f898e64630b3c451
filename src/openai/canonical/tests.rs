//! The laws of the canonical form: all spellings of a text give one, and two texts that differ give two.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn of(text: &str) -> Result<Vec<u8>, NotCanonical> {
    let mut written = Vec::new();
    Canonical::read(text.as_bytes())?.write(&mut |bytes| written.extend_from_slice(bytes));
    Ok(written)
}

#[test]
fn order_white_space_and_escapes_are_no_difference() {
    let one = of(r#"{"a":[1,{"x":"é🚀/","y":null}],"b":"\n"}"#).unwrap();
    for other in [
        " {\"b\" : \"\\u000a\",\r\n\t\"\\u0061\":[ 1 , {\"y\":null,\"x\":\"\\u00e9\\ud83d\\uDE80\\/\"} ] } ",
        r#"{"b":"\n","a":[1,{"y":null,"x":"\u00E9🚀/"}]}"#,
    ] {
        assert_eq!(of(other).unwrap(), one, "{other}");
    }
}

#[test]
fn whatever_else_differs_is_one() {
    let texts = [
        r#"{"t":1}"#,
        r#"{"t":1.0}"#,
        r#"{"t":1e0}"#,
        r#"{"t":"1"}"#,
        r#"{"t":[1]}"#,
        r#"{"t":[[1]]}"#,
        r#"{"t":[1,1]}"#,
        r#"{"t":[11]}"#,
        r#"{"t":null}"#,
        r#"{"t":"null"}"#,
        r#"{"t":{}}"#,
        r#"{"t":[]}"#,
        r#"{"t":[{}]}"#,
        r#"{"t":true,"u":false}"#,
        r#"{"t":false,"u":true}"#,
        r#"{"t":"\ud800"}"#,
        r#"{"t":"\udc00"}"#,
        r#"{"t":"\udc00\ud800"}"#,
        r#"{"t":"\ud800\ud800"}"#,
        r#"{"t":"\ud800\udc00"}"#,
        r#"{"t":"\ufffd"}"#,
        r#"{"T":1}"#,
        "{}",
        "[]",
    ];
    for (place, one) in texts.iter().enumerate() {
        for other in &texts[place + 1..] {
            assert_ne!(of(one).unwrap(), of(other).unwrap(), "{one} and {other}");
        }
    }
}

#[test]
fn a_key_that_occurs_twice_anywhere_has_no_form() {
    for twice in [r#"{"a":1,"a":1}"#, r#"[{"x":[{"a":1,"b":2,"\u0061":3}]}]"#] {
        assert_eq!(of(twice), Err(NotCanonical::Twice), "{twice}");
    }
    assert!(of(r#"[{"a":1},{"a":{"a":1}}]"#).is_ok(), "in two objects it may");
}

#[test]
fn deep_texts_are_refused_and_not_followed() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(of(&nested(DEPTH_MAX)).is_ok());
    assert_eq!(of(&nested(DEPTH_MAX + 1)), Err(NotCanonical::TooDeep));
    assert_eq!(of(&"{\"a\":".repeat(1_000_000)), Err(NotCanonical::TooDeep));
}

#[test]
fn what_is_no_json_has_no_form() {
    for broken in
        ["", " ", "{", "[1", "{\"a\"", "{\"a\":}", "{a:1}", "\"\\x\"", "\"\\u12\"", "[1 2]", "[1,]", "{} {}"]
    {
        assert_eq!(of(broken), Err(NotCanonical::NotJson), "{broken}");
    }
}

#[test]
fn values_at_the_top_can_be_asked_for() {
    let read =
        Canonical::read(br#" {"z":{"store":false},"st\u006fre" : true ,"text":"true","list":[1]}"#).unwrap();
    assert_eq!(read.top_level("store"), Some("true"));
    assert_eq!((read.top_level("text"), read.top_level("list")), (Some(""), Some("")));
    assert_eq!(read.top_level("nonesuch"), None);
    assert_eq!(Canonical::read(br#"[{"store":true}]"#).unwrap().top_level("store"), None);
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[ab\"\\\\,:{}]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[ab\"\\\\é]{0,2}", inner), 0..5)
                .prop_map(|members| Value::from(members.into_iter().collect::<Map<String, Value>>())),
        ]
    })
}

/// One of the many ways to write a value: white space, order and escapes as the numbers say.
fn spelled(value: &Value, dice: &mut impl Iterator<Item = u8>, out: &mut String) {
    let space = |dice: &mut dyn Iterator<Item = u8>| {
        ["", " ", "\n", "\t\r "][usize::from(dice.next().unwrap_or(0) % 4)]
    };
    out.push_str(space(dice));
    match value {
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                spelled(item, dice, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            let turn = usize::from(dice.next().unwrap_or(0));
            if !members.is_empty() {
                let by = turn % members.len();
                members.rotate_left(by);
            }
            if turn >= 128 {
                members.reverse();
            }
            out.push('{');
            for (place, (key, item)) in members.into_iter().enumerate() {
                out.push_str(if place > 0 { "," } else { "" });
                spelled(&json!(key), dice, out);
                out.push(':');
                spelled(item, dice, out);
            }
            out.push('}');
        }
        Value::String(text) => {
            out.push('"');
            for character in text.chars() {
                let plain = json!(character.to_string()).to_string();
                if dice.next().unwrap_or(0).is_multiple_of(3) {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                } else {
                    out.push_str(&plain[1..plain.len() - 1]);
                }
            }
            out.push('"');
        }
        other => out.push_str(&other.to_string()),
    }
    out.push_str(space(dice));
}

proptest! {
    #[test]
    fn every_spelling_gives_the_same(value in value(), dice in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut other = String::new();
        spelled(&value, &mut dice.into_iter(), &mut other);
        prop_assert_eq!(serde_json::from_str::<Value>(&other).unwrap(), value.clone());
        prop_assert_eq!(of(&other), of(&value.to_string()));
    }

    #[test]
    fn two_values_give_the_same_only_where_they_are_equal(one in value(), other in value()) {
        prop_assert_eq!(of(&one.to_string()) == of(&other.to_string()), one == other);
    }

    #[test]
    fn any_text_is_survived(text in "[\\[\\]{}\":,a1\\\\u\\x20-]{0,60}") {
        let read = of(&text);
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            prop_assert!(read.is_ok() || read == Err(NotCanonical::Twice), "{}", value);
        }
    }
}
