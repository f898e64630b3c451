//! Finds a few top-level values of a JSON object that is too long to hold, while it passes by.
//!
//! Observes only: it can neither alter, nor delay, nor fail what it watches.

/// Longest key and longest value that are kept; longer ones are passed over.
const KEY_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 64 * 1024;

/// Watches the bytes of one JSON object and keeps the text of its top-level `usage`.
#[derive(Debug, Default)]
pub struct UsageScanner {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// The last string begun at depth 1: a key, once a colon follows.
    key: Vec<u8>,
    /// Between a top-level key's colon and the comma or brace that ends its value.
    in_value: bool,
    capturing: bool,
    value: Vec<u8>,
    found: Option<Vec<u8>>,
    /// The object has been closed.
    closed: bool,
    characters: u64,
}

impl UsageScanner {
    /// Watches some more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.step(byte);
        }
    }

    /// The text of `usage` as last seen whole.
    #[must_use]
    pub fn usage(&self) -> Option<&str> {
        self.found.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Whether the object has come to its end.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.closed
    }

    /// The characters in its texts so far, keys included.
    #[must_use]
    pub fn characters(&self) -> u64 {
        self.characters
    }

    fn step(&mut self, byte: u8) {
        let ends_value = !self.in_string && self.depth == 1 && matches!(byte, b',' | b'}');
        if ends_value {
            self.end_value();
        } else if self.capturing {
            self.capture(byte);
        }
        if self.in_string {
            self.step_string(byte);
        } else {
            self.step_outside(byte);
        }
    }

    fn step_string(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
        } else if byte == b'\\' {
            self.escaped = true;
        } else if byte == b'"' {
            self.in_string = false;
            return;
        }
        // The first byte of each character alone.
        if byte & 0xc0 != 0x80 {
            self.characters += 1;
        }
        if self.depth == 1 && !self.in_value && self.key.len() < KEY_BYTES_MAX {
            self.key.push(byte);
        }
    }

    fn step_outside(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 && !self.in_value {
                    self.key.clear();
                }
            }
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.closed |= self.depth == 1;
                self.depth = self.depth.saturating_sub(1);
            }
            b':' if self.depth == 1 && !self.in_value => {
                self.in_value = true;
                self.capturing = self.key == b"usage";
                self.value.clear();
            }
            _ => {}
        }
    }

    fn capture(&mut self, byte: u8) {
        if self.value.len() == VALUE_BYTES_MAX {
            self.capturing = false;
        } else {
            self.value.push(byte);
        }
    }

    fn end_value(&mut self) {
        if self.capturing {
            self.found = Some(std::mem::take(&mut self.value));
        }
        self.in_value = false;
        self.capturing = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_top_level_usage_at_every_split() {
        let json = br#"{"a":"},\"usage\":1","b":{"usage":{"x":1}},"c":["usage",{"usage":2}], "usage" : {"prompt_tokens":3,"d":{"e":"}"}} ,"z":1}"#;
        for split in 0..json.len() {
            let mut scanner = UsageScanner::default();
            scanner.push(&json[..split]);
            scanner.push(&json[split..]);
            assert_eq!(
                scanner.usage().map(str::trim),
                Some(r#"{"prompt_tokens":3,"d":{"e":"}"}}"#),
                "split at {split}"
            );
        }
    }

    #[test]
    fn a_cut_object_has_no_usage() {
        let mut scanner = UsageScanner::default();
        scanner.push(br#"{"usage":{"prompt_tokens":3}"#);
        assert_eq!(scanner.usage(), None);
        assert!(!scanner.is_whole());
        scanner.push(b"}");
        assert!(scanner.is_whole());
        assert_eq!(scanner.characters(), "usageprompt_tokens".len() as u64);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut scanner = UsageScanner::default();
            scanner.push(&bytes);
            let _ = scanner.usage();
        }
    }
}
