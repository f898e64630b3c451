//! How a text is laid out: its lines, and the answers that it offers to choose from.

use super::{log, set};

/// Numbers that [`Lines::write`] writes.
pub(super) const COUNT: usize = 6;

/// Counts over the lines of a text.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: u32,
    /// Lines that end as statements of a programming language do.
    statements: u32,
    indented: u32,
    /// Lines that begin with a capital letter and a full stop or bracket: "A. …", "(B) …".
    options: u32,
    asks_for_an_option: bool,
    ends_with_a_line_end: bool,
}

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let mut counts = Self {
            asks_for_an_option: text.trim_end().ends_with("Answer:"),
            ends_with_a_line_end: text.ends_with('\n'),
            ..Self::default()
        };
        for line in text.lines() {
            counts.lines += 1;
            counts.statements += u32::from(line.trim_end().ends_with([';', '{', '}', ':']));
            counts.indented += u32::from(line.starts_with("  ") || line.starts_with('\t'));
            counts.options += u32::from(is_option(line));
        }
        counts
    }

    pub(super) fn write(&self, into: &mut [f32]) {
        let flags =
            [self.asks_for_an_option, self.ends_with_a_line_end].map(|flag| f32::from(u8::from(flag)));
        let counts = [self.lines, self.statements, self.indented, self.options].map(log);
        set(into, counts.into_iter().chain(flags));
    }
}

fn is_option(line: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix('(').unwrap_or(line);
    matches!(line.as_bytes(), [b'A'..=b'Z', b'.' | b')', b' ' | b'\t', ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_and_code_are_seen() {
        let exam = Lines::of("Which?\nA. one\n (B) two\nC) three\nAt last\nAnswer:");
        assert_eq!((exam.options, exam.asks_for_an_option), (3, true));
        let code = Lines::of("fn main() {\n    print();\n}\n");
        assert_eq!((code.statements, code.indented, code.ends_with_a_line_end), (3, 1, true));
    }
}
