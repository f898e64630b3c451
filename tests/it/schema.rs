//! As much of JSON Schema as the gateway's own document needs.

use serde_json::Value;

/// Whether a value is as a schema says; if not, where and why.
pub(crate) fn check(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    let schema = resolved(document, schema);
    check_keywords(schema, at);
    let fail = |why: String| Err(format!("{at}: {why}: {value}"));
    if let Some(kinds) = schema.get("type") {
        let named = |kind: &Value| is_a(value, kind.as_str().unwrap());
        let fits = kinds.as_array().map_or_else(|| named(kinds), |kinds| kinds.iter().any(named));
        if !fits {
            return fail(format!("is no {kinds}"));
        }
    }
    if let Some(allowed) = schema.get("enum")
        && !allowed.as_array().unwrap().contains(value)
    {
        return fail(format!("is none of {allowed}"));
    }
    if let Some(least) = schema.get("minimum").and_then(Value::as_f64)
        && value.as_f64().is_some_and(|number| number < least)
    {
        return fail(format!("is less than {least}"));
    }
    if let Some(alternatives) = schema.get("oneOf") {
        let fits = |one: &&Value| check(document, one, value, at).is_ok();
        if alternatives.as_array().unwrap().iter().filter(fits).count() != 1 {
            return fail("is not exactly one of its alternatives".to_owned());
        }
    }
    if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
        for (place, item) in list.iter().enumerate() {
            check(document, items, item, &format!("{at}[{place}]"))?;
        }
    }
    value.as_object().map_or(Ok(()), |_| check_object(document, schema, value, at))
}

fn check_object(document: &Value, schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    for required in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
        if value.get(required.as_str().unwrap()).is_none() {
            return Err(format!("{at}: lacks {required}: {value}"));
        }
    }
    for (key, field) in value.as_object().unwrap() {
        let known = schema.get("properties").and_then(|known| known.get(key));
        match (known, schema.get("additionalProperties")) {
            (Some(known), _) => check(document, known, field, &format!("{at}.{key}"))?,
            (None, Some(Value::Bool(false))) => return Err(format!("{at}: {key} is not described: {value}")),
            (None, Some(other @ Value::Object(_))) => check(document, other, field, &format!("{at}.{key}"))?,
            (None, _) => {}
        }
    }
    Ok(())
}

/// What a reference stands for.
pub(crate) fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    match schema.get("$ref").and_then(Value::as_str) {
        Some(path) => {
            document.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("{path} is nowhere"))
        }
        None => schema,
    }
}

/// What is not checked must not be taken for checked.
fn check_keywords(schema: &Value, at: &str) {
    const KNOWN: [&str; 14] = [
        "type",
        "enum",
        "minimum",
        "oneOf",
        "items",
        "required",
        "properties",
        "additionalProperties",
        // Of what clients send, or for people.
        "description",
        "format",
        "pattern",
        "minItems",
        "maximum",
        "$ref",
    ];
    for key in schema.as_object().unwrap().keys() {
        assert!(KNOWN.contains(&key.as_str()), "{at}: {key} is not checked");
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => panic!("{kind} is no type"),
    }
}

#[test]
fn the_checker_can_fail() {
    use serde_json::json;
    let document = json!({"names": {"type": "array", "items": {"type": ["string", "null"]}}});
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {"a": {"$ref": "#/names"}, "b": {"oneOf": [{"type": "integer", "minimum": 1}, {"enum": ["x"]}]}},
    });
    let fits = |value: Value| check(&document, &schema, &value, "");
    assert_eq!(fits(json!({"a": ["n", null], "b": 1})), Ok(()));
    assert_eq!(fits(json!({"a": [], "b": "x"})), Ok(()));
    for bad in [
        json!([]),
        json!({}),
        json!({"a": [1]}),
        json!({"a": [], "c": 1}),
        json!({"a": [], "b": 0}),
        json!({"a": [], "b": "y"}),
        json!({"a": "n"}),
    ] {
        assert!(fits(bad.clone()).is_err(), "{bad}");
    }
}
