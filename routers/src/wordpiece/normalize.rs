//! From text to words: what to drop, where to cut, how to spell. A byte table serves ASCII, iterators the rest.

use std::str::CharIndices;

use unicode_categories::UnicodeCategories as _;
use unicode_normalization_alignments::UnicodeNormalization as _;

use super::WordPieceOptions;
use super::characters::{Spelling, Traits, is_dropped, is_ideograph, is_punctuation};

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

/// Spells the words that start at `start` as the vocabulary does and hands each to `each` with its length in
/// characters, up to white space or ASCII punctuation at the latest. Returns where the text goes on; that is
/// past `start`, unless `each` wanted no more.
pub(super) fn words(
    text: &str,
    start: usize,
    options: WordPieceOptions,
    word: &mut String,
    each: impl FnMut(&str, usize) -> bool,
) -> usize {
    word.clear();
    let mut splitter = Splitter { options, word, chars: 0, wanted: true, each };
    if options.strip_accents && options.lowercase {
        match splitter.take_uncased(text, start) {
            Ok(end) => return end,
            Err(complex) => {
                let mut segment = Segment::new(text, complex, options);
                splitter.take_decomposed(&mut segment);
                return segment.end;
            }
        }
    }
    let mut segment = Segment::new(text, start, options);
    if options.strip_accents {
        splitter.take_decomposed(&mut segment);
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
    /// Spells character by character, from a table. `Err` is the start of a word that needs decomposition.
    fn take_uncased(&mut self, text: &str, start: usize) -> Result<usize, usize> {
        let mut word_start = start;
        for (place, character) in text[start..].char_indices() {
            let (place, after) = (start + place, start + place + character.len_utf8());
            let traits = Traits::of(character);
            if self.options.clean_text && traits.is_dropped() {
                continue;
            }
            if traits.is_space() {
                self.flush();
                return Ok(after);
            }
            if character.is_ascii_punctuation() {
                self.flush();
                return Ok(place);
            }
            let alone = self.options.split_ideographs && traits.is_ideograph();
            match traits.spelling() {
                Spelling::Letter(letter) if !alone => self.keep(letter),
                Spelling::Letter(sign) | Spelling::Punctuation(sign) => {
                    self.flush();
                    self.keep(sign);
                    self.flush();
                    word_start = after;
                }
                Spelling::Nothing => {}
                Spelling::Complex => {
                    self.forget();
                    return Err(word_start);
                }
            }
            if !self.wanted {
                return Ok(after);
            }
        }
        self.flush();
        Ok(text.len())
    }

    fn take_decomposed(&mut self, segment: &mut Segment<'_>) {
        let decomposed = segment.nfd().map(|(character, _)| character);
        self.take(decomposed.filter(|character| !character.is_mark_nonspacing()));
    }

    fn take(&mut self, characters: impl Iterator<Item = char>) {
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
        self.forget();
    }

    fn forget(&mut self) {
        self.chars = 0;
        self.word.clear();
    }
}
