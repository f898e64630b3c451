//! A tokenizer from a GGUF file's metadata: byte-level byte-pair encoding, within words cut as the model's training had
//! them, or [SentencePiece's](super::pieces).

use std::path::Path;

use tokenizers::models::bpe::{BPE, Vocab};
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, PreTokenizerWrapper, SplitDelimiterBehavior, Tokenizer};

use super::DecoderError;
use super::config::unsupported;
use super::pieces::Pieces;
use crate::gguf::{Array, Gguf, Value};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";
const SPACE_PREFIX: &str = "tokenizer.ggml.add_space_prefix";
const ADD_BEGIN: &str = "tokenizer.ggml.add_bos_token";
const BEGIN: &str = "tokenizer.ggml.bos_token_id";

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
    let (tokens, mut tokenizer, begins) = match text(MODEL) {
        "gpt2" => {
            let words = words(path, text(PRE))?;
            let tokens = list_of_texts(file, TOKENS).map_err(refuse)?;
            let tokenizer = of_bytes(file, &tokens, words).map_err(refuse)?;
            (tokens, tokenizer, text(PRE) == "llama-bpe")
        }
        "llama" => {
            let tokens = list_of_texts(file, TOKENS).map_err(refuse)?;
            let tokenizer = of_pieces(file, &tokens).map_err(refuse)?;
            (tokens, tokenizer, true)
        }
        other => return Err(unsupported(path, format!("tokenizer `{other}`"), "gpt2, llama")),
    };
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
    let begin = file.value(BEGIN).and_then(Value::unsigned).and_then(|id| u32::try_from(id).ok());
    let begin = begin.filter(|_| is_on(file, ADD_BEGIN).unwrap_or(begins));
    if let Some((id, token)) = begin.and_then(|id| Some((id, tokens.get(usize::try_from(id).ok()?)?))) {
        tokenizer.with_post_processor(Some(beginning_with(token, id).map_err(refuse)?));
    }
    Ok(tokenizer)
}

/// Texts begin with this token, where special tokens are asked for.
fn beginning_with(token: &str, id: u32) -> Result<TemplateProcessing, String> {
    TemplateProcessing::builder()
        .try_single(vec![token.to_owned(), "$A".to_owned()])?
        .special_tokens(vec![(token.to_owned(), id)])
        .build()
        .map_err(|error| error.to_string())
}

/// Byte-level byte-pair encoding by a list of merges.
fn of_bytes(
    file: &Gguf<'_>,
    tokens: &[&str],
    (words, whole_words_first): (PreTokenizerWrapper, bool),
) -> Result<Tokenizer, String> {
    let merges = list_of_texts(file, MERGES)?.into_iter().map(|merge| {
        let parts = merge.split_once(' ').map(|(left, right)| (left.to_owned(), right.to_owned()));
        parts.ok_or_else(|| format!("`{merge}` in `{MERGES}` is no pair"))
    });
    let merges = merges.collect::<Result<Vec<_>, _>>()?;
    let vocabulary = tokens.iter().map(|token| (*token).to_owned()).zip(0u32..);
    let model = BPE::builder()
        .vocab_and_merges(vocabulary.collect::<Vocab>(), merges)
        .ignore_merges(whole_words_first)
        .build()
        .map_err(|source| source.to_string())?;
    let mut tokenizer = Tokenizer::new(model);
    if file.value(PRE).and_then(Value::text) == Some("qwen2") {
        tokenizer.with_normalizer(Some(NFC));
    }
    tokenizer.with_pre_tokenizer(Some(words)).with_decoder(Some(ByteLevel::default()));
    Ok(tokenizer)
}

/// Pieces with scores.
fn of_pieces(file: &Gguf<'_>, tokens: &[&str]) -> Result<Tokenizer, String> {
    let scores = list(file, SCORES)?.iter().map(|score| score.number().unwrap_or(f64::NEG_INFINITY));
    let kinds = list(file, KINDS)?.iter().map(|kind| kind.unsigned().unwrap_or_default());
    let pieces = Pieces {
        texts: tokens,
        scores: scores.collect(),
        kinds: kinds.collect(),
        add_space_prefix: is_on(file, SPACE_PREFIX).unwrap_or(true),
    };
    pieces.tokenizer()
}

fn is_on(file: &Gguf<'_>, key: &str) -> Option<bool> {
    file.value(key).and_then(Value::boolean)
}

fn list<'a>(file: &Gguf<'a>, key: &str) -> Result<Array<'a>, String> {
    let list = file.value(key).and_then(Value::array);
    list.ok_or_else(|| format!("metadata `{key}` is missing or no list; convert the model anew"))
}

fn list_of_texts<'a>(file: &Gguf<'a>, key: &str) -> Result<Vec<&'a str>, String> {
    let text =
        |value: Value<'a>| value.text().ok_or_else(|| format!("metadata `{key}` holds what is no text"));
    list(file, key)?.iter().map(text).collect()
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
