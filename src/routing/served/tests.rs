use serde_json::Value;

use super::*;

/// Logits with these differences.
fn assert_labels(answer: &Value, expected: [f32; 5]) {
    let found = labels_in(answer.to_string().as_bytes()).unwrap();
    let is_near = |(found, expected): (&f32, f32)| (found - expected).abs() < 1e-6;
    assert!(found.iter().zip(expected).all(is_near), "{found:?}");
}

fn refused(answer: &Value) -> String {
    labels_in(answer.to_string().as_bytes()).unwrap_err().to_string()
}

#[test]
fn labels_are_read_of_either_shape() {
    let listed = json!([
        {"token": "[[5]]", "logprob": -0.5, "bytes": [91]}, {"token": " [[4]]", "logprob": -1.5},
        {"token": "[[1]]", "logprob": -2.0}, {"token": "x", "logprob": -9.0},
    ]);
    let expected = [-2.0, -9.0, -9.0, -1.5, -0.5];
    // A conversation's; some servers answer completions so, too.
    let content = json!([{"token": "[[5]]", "logprob": -0.5, "top_logprobs": listed}]);
    assert_labels(&json!({"choices": [{"message": {}, "logprobs": {"content": content}}]}), expected);
    let mapped = json!({"[[5]]": -0.5, " [[4]]": -1.5, "[[1]]": -2.0, "x": -9.0});
    let completions =
        json!({"tokens": ["[[5]]"], "token_logprobs": [-0.5], "top_logprobs": [mapped], "text_offset": [0]});
    assert_labels(&json!({"choices": [{"index": 0, "text": "", "logprobs": completions}]}), expected);
}

#[test]
fn an_answer_without_labels_says_what_it_lacks() {
    for without in [
        json!({"choices": [{"text": "[[5]]", "logprobs": null}]}),
        json!({"choices": [{"text": "[[5]]"}]}),
        json!({"choices": []}),
        json!({"choices": [{"logprobs": {"content": []}}]}),
        json!({"choices": [{"logprobs": {"top_logprobs": [null]}}]}),
        json!({"choices": [{"logprobs": {"top_logprobs": [{}]}}]}),
    ] {
        assert!(refused(&without).contains("without logprobs"), "{without}");
    }
    let prose = json!({"choices": [{"logprobs": {"top_logprobs": [{"The": -0.1, "5": -3.0}]}}]});
    assert!(refused(&prose).contains("was not trained to label"));
    assert!(refused(&json!({"error": "no such model"})).contains("none of this API's"));
    assert!(labels_in(b"<html>").is_err());
}

#[test]
fn vectors_come_out_of_unit_length() {
    let openai = json!({"data": [{"index": 0, "embedding": [3.0, 0.0, -4.0]}]}).to_string();
    for (answer, is_openai) in
        [(openai.as_str(), true), ("[[3, 0, -4]]", false), ("[[3e30, 0, -4e30]]", false)]
    {
        let row = vector_in(answer.as_bytes(), is_openai).unwrap();
        assert_eq!((row.nrows(), row.ncols()), (1, 3));
        for (column, expected) in [0.6, 0.0, -0.8].into_iter().enumerate() {
            assert!((row[(0, column)] - expected).abs() < 1e-6, "{answer}: {row:?}");
        }
    }
    assert_eq!(
        vector_in(b"[[0, 0]]", false).unwrap(),
        Mat::<f32>::zeros(1, 2),
        "a text of nothing that is known"
    );
    for wrong in ["[[1, 2], [3, 4]]", "[]", "[1, 2]", "{\"data\": []}", "[[1e39, 2]]", "[[null]]", ""] {
        assert!(vector_in(wrong.as_bytes(), false).is_err(), "{wrong}");
    }
    assert!(vector_in(b"[[1]]", true).is_err());
}
