//! The keys of a JSON object of which perhaps only the beginning is at hand.

/// The top-level keys of the object at the start of `text`, as far as `text` goes. Of malformed text, some keys or none.
pub(super) fn of_first_object(text: &[u8]) -> Vec<String> {
    let mut keys = Vec::new();
    let mut depth = 0_u32;
    let mut expects_key = false;
    let mut position = 0;
    while let Some(&byte) = text.get(position) {
        position += 1;
        match byte {
            b'"' => {
                let Some(end) = end_of_string(text, position) else { break };
                if depth == 1 && expects_key {
                    let key = text.get(position..end).unwrap_or_default();
                    keys.push(String::from_utf8_lossy(key).into_owned());
                    expects_key = false;
                }
                position = end + 1;
            }
            b'{' | b'[' => {
                depth += 1;
                expects_key = depth == 1;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b',' => expects_key = depth == 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    keys
}

/// The position of the quote that ends the string starting at `start`.
fn end_of_string(text: &[u8], start: usize) -> Option<usize> {
    let mut position = start;
    loop {
        match text.get(position)? {
            b'"' => return Some(position),
            b'\\' => position += 2,
            _ => position += 1,
        }
    }
}
