//! BERT's word-piece tokenizer, made for the hot path: any text in, token numbers out, no allocation per token.
//!
//! Equal, token for token, to `BertNormalizer`, `BertPreTokenizer` and `WordPiece` of the `tokenizers` crate
//! (same Unicode tables), except that special tokens spelled out in a text are plain text here: what a user
//! types never becomes a control token. Must not know what the numbers are used for.

mod characters;
mod normalize;
mod trie;

use serde::{Deserialize, Serialize};

use normalize::{ByteClass, ByteTable};
use trie::Trie;

/// How texts are brought into the vocabulary's form. The fields mean what they mean in `BertNormalizer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WordPieceOptions {
    /// Drop control characters, turn every white space into a space.
    pub clean_text: bool,
    /// Make a word of every ideograph.
    pub split_ideographs: bool,
    /// Decompose, then drop combining accents.
    pub strip_accents: bool,
    /// Bring to lower case.
    pub lowercase: bool,
    /// A longer word, in characters after normalisation, is unknown as a whole.
    pub word_chars_max: usize,
}

impl Default for WordPieceOptions {
    /// What uncased BERT models use.
    fn default() -> Self {
        Self {
            clean_text: true,
            split_ideographs: true,
            strip_accents: true,
            lowercase: true,
            word_chars_max: 100,
        }
    }
}

/// Why a vocabulary was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum VocabularyError {
    /// It has no piece, or more than the format can number.
    #[error("a vocabulary holds 1 to {max} pieces, this one has {found}")]
    Size {
        /// Pieces found.
        found: usize,
        /// The most there may be.
        max: usize,
    },
    /// The piece for unknown words is missing.
    #[error("the vocabulary lacks `{0}`")]
    NoUnknown(String),
    /// Two pieces are spelled the same.
    #[error("pieces {first} and {second} are the same")]
    Duplicate {
        /// The earlier one.
        first: u32,
        /// The later one.
        second: u32,
    },
    /// A piece is longer than any word can be.
    #[error("piece {piece} is {bytes} bytes long")]
    Long {
        /// The piece.
        piece: u32,
        /// Its length.
        bytes: usize,
    },
}

/// The tokenizer: a vocabulary and how texts are normalised for it.
#[derive(Debug)]
pub struct WordPiece {
    options: WordPieceOptions,
    bytes: ByteTable,
    trie: Trie,
    unknown: u32,
}

/// Memory that calls hand on to each other, so that a call allocates nothing once it is warm.
#[derive(Debug, Default)]
pub struct WordPieceScratch {
    word: String,
    pieces: Vec<u32>,
}

/// Starts a piece that continues a word.
const CONTINUATION: &str = "##";

impl WordPiece {
    /// Builds the tokenizer. The number of a piece is its place in `vocabulary`.
    ///
    /// # Errors
    /// When the vocabulary is empty, too large, names a piece twice or lacks `unknown`.
    pub fn new(
        vocabulary: &[&str],
        unknown: &str,
        options: WordPieceOptions,
    ) -> Result<Self, VocabularyError> {
        let trie = Trie::build(vocabulary, CONTINUATION)?;
        let unknown = vocabulary
            .iter()
            .position(|piece| *piece == unknown)
            .and_then(|place| u32::try_from(place).ok())
            .ok_or_else(|| VocabularyError::NoUnknown(unknown.to_owned()))?;
        Ok(Self { options, bytes: ByteTable::new(options), trie, unknown })
    }

    /// The number that unknown words get.
    #[must_use]
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// Calls `emit` with each token of `text` in turn, at most `tokens_max` times, without special tokens.
    ///
    /// Takes time linear in the length of the text, and stops reading it once `tokens_max` is reached.
    pub fn tokenize(
        &self,
        text: &str,
        tokens_max: usize,
        scratch: &mut WordPieceScratch,
        emit: impl FnMut(u32),
    ) {
        let WordPieceScratch { word, pieces } = scratch;
        let mut output = Output { tokenizer: self, pieces, left: tokens_max, emit };
        let bytes = text.as_bytes();
        let mut at = 0;
        while let (Some(&byte), true) = (bytes.get(at), output.left > 0) {
            at = match self.bytes.class(byte) {
                ByteClass::Dropped | ByteClass::Space => at + 1,
                ByteClass::Punctuation => {
                    output.word(&bytes[at..=at], 1);
                    at + 1
                }
                ByteClass::Word | ByteClass::Wide => {
                    let end = self.bytes.word_end(bytes, at);
                    match bytes.get(end).map(|byte| self.bytes.class(*byte)) {
                        // What follows may belong to the word.
                        Some(ByteClass::Dropped | ByteClass::Wide) => {
                            normalize::words(text, at, self.options, word, |word, chars| {
                                output.word(word.as_bytes(), chars)
                            })
                        }
                        _ => {
                            output.word(&bytes[at..end], end - at);
                            end
                        }
                    }
                }
            };
        }
        word.shrink_to(WORD_BYTES_KEPT);
    }
}

/// A word buffer that an odd text has grown beyond this is given back.
const WORD_BYTES_KEPT: usize = 4096;

/// Where words go: cut into pieces, counted, handed to the caller.
struct Output<'a, F> {
    tokenizer: &'a WordPiece,
    pieces: &'a mut Vec<u32>,
    left: usize,
    emit: F,
}

impl<F: FnMut(u32)> Output<'_, F> {
    /// Emits a word of `chars` characters by greedy longest match, ASCII letters in either case. Says whether
    /// more words are wanted.
    fn word(&mut self, word: &[u8], chars: usize) -> bool {
        self.pieces.clear();
        if chars > self.tokenizer.options.word_chars_max || !self.cut(word) {
            self.pieces.clear();
            self.pieces.push(self.tokenizer.unknown);
        }
        for piece in self.pieces.iter().take(self.left) {
            (self.emit)(*piece);
        }
        self.left = self.left.saturating_sub(self.pieces.len());
        self.left > 0
    }

    /// Cuts a word into pieces; `false` when it does not come out even, and is unknown as a whole.
    fn cut(&mut self, word: &[u8]) -> bool {
        let Self { tokenizer: WordPiece { trie, bytes, .. }, pieces, .. } = self;
        let mut rest = word;
        let mut start = trie.root();
        while !rest.is_empty() {
            let Some((piece, length)) = trie.longest(start, rest, bytes.lower()) else { return false };
            pieces.push(piece);
            rest = &rest[length..];
            start = trie.continuation();
        }
        true
    }
}

#[cfg(test)]
mod tests;
