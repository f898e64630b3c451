//! From text to words: what to drop, where to cut, how to spell. A byte table serves ASCII, iterators the rest.

use std::str::CharIndices;

use unicode_categories::UnicodeCategories as _;
use unicode_normalization_alignments::UnicodeNormalization as _;

use super::WordPieceOptions;

/// What a byte of a text is to the tokenizer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ByteClass {
    /// Part of a word.
    Word,
    /// A word of its own.
    Punctuation,
    /// Between words.
    Space,
    /// Not there at all: what stands on its two sides joins.
    Dropped,
    /// Part of a character beyond ASCII.
    Wide,
}

/// The class of every byte, and its lower case.
#[derive(Debug)]
pub(super) struct ByteTable {
    classes: [ByteClass; 256],
    lower: [u8; 256],
}

impl ByteTable {
    pub(super) fn new(options: WordPieceOptions) -> Self {
        let class = |byte: u8| match char::from(byte) {
            character if !character.is_ascii() => ByteClass::Wide,
            character if options.clean_text && is_dropped(character) => ByteClass::Dropped,
            character if character.is_whitespace() => ByteClass::Space,
            character if is_punctuation(character) => ByteClass::Punctuation,
            _ => ByteClass::Word,
        };
        let lower = |byte: u8| if options.lowercase { byte.to_ascii_lowercase() } else { byte };
        Self {
            classes: std::array::from_fn(|byte| class(byte as u8)),
            lower: std::array::from_fn(|byte| lower(byte as u8)),
        }
    }

    pub(super) fn class(&self, byte: u8) -> ByteClass {
        self.classes[usize::from(byte)]
    }

    /// Maps each byte to its lower case, or to itself where case counts.
    pub(super) fn lower(&self) -> &[u8; 256] {
        &self.lower
    }

    /// The end of the run of word bytes that starts at `at`.
    pub(super) fn word_end(&self, bytes: &[u8], at: usize) -> usize {
        let run = bytes[at..].iter().take_while(|byte| self.class(**byte) == ByteClass::Word);
        at + run.count()
    }
}

/// The characters of a text up to where a word surely ends: white space, ASCII punctuation, an ideograph.
/// Dropped characters are left out.
pub(super) struct Segment<'a> {
    chars: CharIndices<'a>,
    start: usize,
    /// Where the text goes on after the segment.
    end: usize,
    options: WordPieceOptions,
    finished: bool,
    empty: bool,
}

impl<'a> Segment<'a> {
    pub(super) fn new(text: &'a str, start: usize, options: WordPieceOptions) -> Self {
        let chars = text[start..].char_indices();
        Self { chars, start, end: start, options, finished: false, empty: true }
    }
}

impl Iterator for Segment<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        while !self.finished {
            let Some((place, character)) = self.chars.next() else {
                self.finished = true;
                self.end = self.start + self.chars.offset();
                break;
            };
            if self.options.clean_text && is_dropped(character) {
                continue;
            }
            let ideograph = self.options.split_ideographs && is_ideograph(character);
            if ideograph || character.is_whitespace() || character.is_ascii_punctuation() {
                self.finished = true;
                self.end = self.start + place;
                let alone = ideograph && self.empty;
                if alone || character.is_whitespace() {
                    self.end += character.len_utf8();
                }
                return alone.then_some(character);
            }
            self.empty = false;
            return Some(character);
        }
        None
    }
}

/// Spells a segment's words as the vocabulary does and hands each to `each` with its length in characters,
/// until the segment ends or `each` wants no more. Returns where the text goes on.
pub(super) fn words(
    mut segment: Segment<'_>,
    options: WordPieceOptions,
    word: &mut String,
    each: impl FnMut(&str, usize) -> bool,
) -> usize {
    let mut splitter = Splitter { options, word, chars: 0, wanted: true, each };
    if options.strip_accents {
        let decomposed = (&mut segment).nfd().map(|(character, _)| character);
        splitter.take(decomposed.filter(|character| !character.is_mark_nonspacing()));
    } else {
        splitter.take(&mut segment);
    }
    segment.end
}

/// Cuts normalised characters at punctuation.
struct Splitter<'a, F> {
    options: WordPieceOptions,
    word: &'a mut String,
    /// Characters of the word so far. Those beyond the longest word are counted, not kept.
    chars: usize,
    wanted: bool,
    each: F,
}

impl<F: FnMut(&str, usize) -> bool> Splitter<'_, F> {
    fn take(&mut self, characters: impl Iterator<Item = char>) {
        self.word.clear();
        for character in characters {
            if self.options.lowercase {
                character.to_lowercase().for_each(|lower| self.push(lower));
            } else {
                self.push(character);
            }
            if !self.wanted {
                return;
            }
        }
        self.flush();
    }

    fn push(&mut self, character: char) {
        if character.is_whitespace() {
            self.flush();
        } else if is_punctuation(character) {
            self.flush();
            self.keep(character);
            self.flush();
        } else {
            self.keep(character);
        }
    }

    fn keep(&mut self, character: char) {
        self.chars += 1;
        if self.chars <= self.options.word_chars_max {
            self.word.push(character);
        }
    }

    fn flush(&mut self) {
        if self.chars > 0 && self.wanted {
            self.wanted = (self.each)(self.word, self.chars);
        }
        self.chars = 0;
        self.word.clear();
    }
}

/// What BERT's cleaning takes out: NUL, the replacement character, and control, format and private-use
/// characters other than tab and line ends.
fn is_dropped(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        '\0' | '\u{fffd}' => true,
        other => other.is_other(),
    }
}

/// What is a word of its own: every ASCII sign, and the punctuation of other scripts.
fn is_punctuation(character: char) -> bool {
    character.is_ascii_punctuation() || character.is_punctuation()
}

/// The blocks of CJK ideographs that BERT sets apart. The extension E block starts at 2B920 there, not at 2B820.
fn is_ideograph(character: char) -> bool {
    matches!(u32::from(character),
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x2_a6df
        | 0x2_a700..=0x2_b73f | 0x2_b740..=0x2_b81f | 0x2_b920..=0x2_ceaf | 0x2_f800..=0x2_fa1f)
}
