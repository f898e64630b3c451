//! A tokenizer from a GGUF file's metadata: byte-level byte-pair encoding, within words cut as the model's training had
//! them.

use std::path::Path;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

use super::DecoderError;
use super::config::unsupported;
use crate::gguf::{Array, Gguf, Value};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// The kinds of tokens that texts are cut at before they are cut into words.
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

// Words of tiktoken's `cl100k_base`: contractions, letters; digits, of which models differ in how many go together;
// then marks, line ends and spaces.
const BEFORE_DIGITS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|";
const AFTER_DIGITS: &str = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Builds the tokenizer that a file describes.
pub(super) fn tokenizer(path: &Path, file: &Gguf<'_>) -> Result<Tokenizer, DecoderError> {
    let refuse = |reason: String| DecoderError::Tokenizer { path: path.to_owned(), reason };
    let text = |key: &str| file.value(key).and_then(Value::text).unwrap_or_default();
    let list = |key: &str| {
        let list = file.value(key).and_then(Value::array);
        list.ok_or_else(|| refuse(format!("metadata `{key}` is missing or no list; convert the model anew")))
    };
    if text(MODEL) != "gpt2" {
        return Err(unsupported(path, format!("tokenizer `{}`", text(MODEL)), "gpt2"));
    }
    let (words, whole_words_first) = words(path, text(PRE))?;
    let (tokens, merges) = (texts(list(TOKENS)?, TOKENS).map_err(refuse)?, list(MERGES)?);
    let merges = texts(merges, MERGES).map_err(refuse)?.into_iter().map(|merge| {
        let parts = merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
        parts.ok_or_else(|| refuse(format!("`{merge}` in `{MERGES}` is no pair")))
    });
    let merges = merges.collect::<Result<Vec<_>, _>>()?;
    let vocabulary = tokens.iter().map(|token| (*token).to_owned()).zip(0u32..);
    let model = BPE::builder()
        .vocab_and_merges(vocabulary.collect::<Vocab>(), merges)
        .ignore_merges(whole_words_first)
        .build()
        .map_err(|source| refuse(source.to_string()))?;
    let mut tokenizer = Tokenizer::new(model);
    if text(PRE) == "qwen2" {
        tokenizer.with_normalizer(Some(NFC));
    }
    tokenizer.with_pre_tokenizer(Some(words)).with_decoder(Some(ByteLevel::default()));
    let of_kind = |wanted: u64| {
        let kinds = file.value(KINDS).and_then(Value::array);
        let kinds = kinds.iter().flat_map(Array::iter).map(|kind| kind.unsigned() == Some(wanted));
        let chosen = tokens.iter().zip(kinds).filter(|(_, chosen)| *chosen);
        chosen
            .map(|(token, _)| AddedToken::from(*token, wanted == CONTROL).normalized(false))
            .collect::<Vec<_>>()
    };
    tokenizer.add_special_tokens(&of_kind(CONTROL));
    tokenizer.add_tokens(&of_kind(USER_DEFINED));
    Ok(tokenizer)
}

fn texts<'a>(list: Array<'a>, key: &str) -> Result<Vec<&'a str>, String> {
    let text =
        |value: Value<'a>| value.text().ok_or_else(|| format!("metadata `{key}` holds what is no text"));
    list.iter().map(text).collect()
}

/// How texts are cut into words, and whether a word that is a token is taken whole whatever its merges say.
fn words(path: &Path, name: &str) -> Result<(PreTokenizerWrapper, bool), DecoderError> {
    let refuse = |source: tokenizers::Error| DecoderError::Tokenizer {
        path: path.to_owned(),
        reason: source.to_string(),
    };
    let bytes = |words: bool| ByteLevel::new(false, true, words).into();
    let split = |digits: &str| {
        let pattern = SplitPattern::Regex(format!("{BEFORE_DIGITS}{digits}{AFTER_DIGITS}"));
        Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(refuse)
    };
    let sequence = |first: PreTokenizerWrapper, second| Sequence::new(vec![first, second]).into();
    match name {
        "default" | "gpt-2" | "" => Ok((bytes(true), false)),
        "smollm" => Ok((sequence(Digits::new(true).into(), bytes(true)), false)),
        "qwen2" => Ok((sequence(split(r"\p{N}")?.into(), bytes(false)), false)),
        "llama-bpe" => Ok((sequence(split(r"\p{N}{1,3}")?.into(), bytes(false)), true)),
        other => Err(unsupported(
            path,
            format!("pre-tokenizer `{other}`"),
            "default, gpt-2, smollm, qwen2, llama-bpe",
        )),
    }
}
