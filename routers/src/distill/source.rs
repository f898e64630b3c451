//! What a table takes over from an encoder's tokenizer.

use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper};

use super::DistillError;
use crate::encoder::Encoder;
use crate::wordpiece::WordPieceOptions;

/// The encoder's vocabulary and spelling.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) vocabulary: Vec<String>,
    pub(super) unknown: String,
    pub(super) tokenizer: WordPieceOptions,
    /// The special tokens before and after a text.
    before: u32,
    after: u32,
}

impl Source {
    /// Reads it off the encoder's tokenizer, which must be BERT's.
    pub(super) fn of(encoder: &Encoder) -> Result<Self, DistillError> {
        let refuse = |what: &str| DistillError::Tokenizer(what.to_owned());
        let tokenizer = encoder.tokenizer();
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else {
            return Err(refuse("the model is not WordPiece"));
        };
        let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() else {
            return Err(refuse("the normalizer is not BertNormalizer"));
        };
        if !matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_))) {
            return Err(refuse("the pre-tokenizer is not BertPreTokenizer"));
        }
        if model.continuing_subword_prefix != "##" {
            return Err(refuse("pieces that continue a word do not start with ##"));
        }
        let empty = tokenizer.encode("", true).map_err(|source| refuse(&source.to_string()))?;
        let &[before, after] = empty.get_ids() else {
            return Err(refuse("a text does not stand between two special tokens"));
        };
        let options = WordPieceOptions {
            clean_text: normalizer.clean_text,
            split_ideographs: normalizer.handle_chinese_chars,
            strip_accents: normalizer.strip_accents.unwrap_or(normalizer.lowercase),
            lowercase: normalizer.lowercase,
            word_chars_max: model.max_input_chars_per_word,
        };
        let vocabulary = in_order(tokenizer.get_vocab(true)).ok_or_else(|| {
            refuse("the vocabulary is not numbered without gaps, or a piece has a line break")
        })?;
        Ok(Self { vocabulary, unknown: model.unk_token.clone(), tokenizer: options, before, after })
    }

    /// A text of these pieces, as the encoder reads it.
    pub(super) fn sequence(&self, pieces: &[u32]) -> Vec<u32> {
        let mut sequence = Vec::with_capacity(pieces.len() + 2);
        sequence.push(self.before);
        sequence.extend_from_slice(pieces);
        sequence.push(self.after);
        sequence
    }

    /// Pieces that no text has, or that say nothing: special tokens, unknown words, places kept free.
    pub(super) fn is_silent(&self, piece: &str) -> bool {
        piece == self.unknown || (piece.len() > 2 && piece.starts_with('[') && piece.ends_with(']'))
    }
}

/// The pieces in the order of their numbers.
fn in_order(vocabulary: std::collections::HashMap<String, u32>) -> Option<Vec<String>> {
    let mut numbered: Vec<(u32, String)> =
        vocabulary.into_iter().map(|(piece, number)| (number, piece)).collect();
    numbered.sort_unstable();
    let gapless =
        (0u32..).zip(&numbered).all(|(place, (number, piece))| place == *number && !piece.contains('\n'));
    gapless.then(|| numbered.into_iter().map(|(_, piece)| piece).collect())
}
