//! What can be counted in a text without understanding it: how long it is, which characters it is made of, which
//! language, whether it asks for code, numbers or a poem. Beside an embedding, which knows what a text is about, these
//! say how it is written; learned heads read both.
//!
//! A fixed list of [`COUNT`] numbers, none far from 1. Must not know what they are used for.

mod characters;
mod lines;
mod words;

use characters::Characters;
use lines::Lines;
use words::Words;

/// Features of a text.
pub const COUNT: usize = lines::COUNT + words::COUNT + characters::COUNT;

/// Bytes of a text that are read.
const BYTES_MAX: usize = 8192;

/// Counts the features of a text into `into`, which holds [`COUNT`] values. The same text gives the same bits.
pub fn count(text: &str, into: &mut [f32]) {
    let text = &text[..text.floor_char_boundary(BYTES_MAX)];
    let (lines, rest) = into.split_at_mut(lines::COUNT.min(into.len()));
    let (words, characters) = rest.split_at_mut(words::COUNT.min(rest.len()));
    Lines::of(text).write(lines);
    Words::of(text).write(words);
    Characters::of(text).write(characters);
}

/// Whether a feature is a count or share of its own spread, to be brought to a common one before use; the others,
/// flags and histograms, are on one scale as they are.
#[must_use]
pub fn has_own_spread(place: usize) -> bool {
    let words = lines::COUNT;
    let characters = words + words::COUNT;
    place < words + words::OWN_SPREAD || (characters..characters + characters::OWN_SPREAD).contains(&place)
}

/// A count on a scale on which ten thousand is not far away.
fn log(count: u32) -> f32 {
    if count == 0 { 0.0 } else { (count as f32).ln_1p() }
}

/// A part of a whole, 0 of nothing.
fn share(part: u32, whole: u32) -> f32 {
    if whole == 0 { 0.0 } else { part as f32 / whole as f32 }
}

/// Sets the values of a slice, in order; what one has more than the other is left out.
fn set(into: &mut [f32], values: impl IntoIterator<Item = f32>) {
    into.iter_mut().zip(values).for_each(|(into, value)| *into = value);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(text: &str) -> Vec<f32> {
        let mut features = vec![f32::NAN; COUNT];
        count(text, &mut features);
        features
    }

    #[test]
    fn every_text_has_finite_features_of_moderate_size() {
        let long = "word ".repeat(100_000);
        let wide = "a".repeat(1 << 20);
        for text in ["", "\0", " \n\t\n", "A. b\nB) c\n", "¿Qué?", "їжак", "数学", "\u{10ffff}", &long, &wide]
        {
            let features = features(text);
            assert!(features.iter().all(|value| (0.0..=16.0).contains(value)), "{text:.20}: {features:?}");
        }
    }

    #[test]
    fn only_the_beginning_of_a_long_text_counts_and_is_cut_between_characters() {
        let long = "é".repeat(BYTES_MAX);
        assert_eq!(features(&long), features(&"é".repeat(BYTES_MAX / 2)));
        assert_eq!(features(&format!("a{long}")), features(&format!("a{}", "é".repeat(BYTES_MAX / 2 - 1))));
    }
}
