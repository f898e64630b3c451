//! A GGUF file: refused, or a table of contents whose tensors all lie within it, and no larger than it can hold.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pointsman_routers::gguf::{Gguf, Value};

fuzz_target!(|bytes: &[u8]| {
    let Ok(file) = Gguf::parse(bytes) else { return };
    let values: usize = file
        .tensors()
        .map(|(_, tensor)| {
            assert!(tensor.has_shape(&tensor.shape()));
            let values = tensor.to_floats();
            assert_eq!(values.len(), tensor.count());
            values.len()
        })
        .sum();
    // The type with the most values to a byte has 32 in 18.
    assert!(values <= bytes.len() * 2);
    for key in ["general.architecture", "tokenizer.ggml.tokens", "a.text", "texts", "numbers"] {
        if let Some(list) = file.value(key).and_then(Value::array) {
            assert!(list.len() <= bytes.len() && list.iter().count() == list.len());
        }
    }
});
