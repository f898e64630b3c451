//! Prompts of a known number of tokens: the same in every run.
#![expect(clippy::expect_used, reason = "without the embedder's vocabulary there is nothing to measure")]

use std::iter;

use pointsman_routers::wordpiece::{WordPiece, WordPieceOptions, WordPieceScratch};
use serde_json::Value;

/// Requests of several kinds, one a line.
pub(crate) const TEXT: &str = include_str!("prompts.txt");

/// The table of the embedder that the shipped router reads: its vocabulary decides what a token is.
const TABLE: &[u8] = include_bytes!("../routers/artifacts/static-minilm-256.safetensors");

/// How many prompts of one length there are: enough that no branch of the tokenizer is learned by heart.
pub(crate) const VARIANTS: usize = 16;

/// Prompts of exactly `tokens` tokens, each beginning at another place of the text.
pub(crate) fn of_tokens(tokens: usize) -> Vec<String> {
    let counter = TokenCounter::new();
    let words: Vec<&str> = TEXT.split_whitespace().collect();
    let prompt = |number: usize| {
        let start = number * words.len() / VARIANTS;
        let mut prompt = String::new();
        let mut left = tokens;
        for word in words.iter().cycle().skip(start) {
            let taken = counter.count(word);
            if taken > left {
                break;
            }
            left -= taken;
            prompt.push_str(word);
            prompt.push(' ');
        }
        // What is left of a last word that is too long is filled up with words of one token.
        prompt.extend(iter::repeat_n("and ", left));
        prompt.trim_end().to_owned()
    };
    (0..VARIANTS).map(prompt).collect()
}

/// Counts tokens as the router's embedder does.
struct TokenCounter(WordPiece);

impl TokenCounter {
    fn new() -> Self {
        let vocabulary = vocabulary().expect("the embedder's table holds its vocabulary");
        let pieces: Vec<&str> = vocabulary.split('\n').collect();
        let tokenizer = WordPiece::new(&pieces, "[UNK]", WordPieceOptions::default());
        Self(tokenizer.expect("the embedder itself reads this vocabulary"))
    }

    /// Tokens are counted word by word: white space always ends one.
    fn count(&self, text: &str) -> usize {
        let mut tokens = 0;
        self.0.tokenize(text, usize::MAX, &mut WordPieceScratch::default(), |_| tokens += 1);
        tokens
    }
}

/// The tensor `vocabulary` of a safetensors file: a length in 8 bytes, a JSON header of that length, the tensors.
fn vocabulary() -> Option<&'static str> {
    let (length, rest) = TABLE.split_first_chunk()?;
    let (header, tensors) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    let offset = |end: usize| usize::try_from(header["vocabulary"]["data_offsets"][end].as_u64()?).ok();
    std::str::from_utf8(tensors.get(offset(0)?..offset(1)?)?).ok()
}
