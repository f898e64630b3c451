//! Reading a `tokenizer.json`, whatever it holds.

use tokenizers::Tokenizer;

/// The tokenizer of a `tokenizer.json`'s bytes, or what is wrong with them.
pub(crate) fn parse(bytes: &[u8]) -> Result<Tokenizer, String> {
    // The library panics on some malformed files: on a decoder of an unknown kind when it reads them, on a
    // template whose special token is missing when it first encodes a text.
    let read = std::panic::catch_unwind(|| {
        let tokenizer = Tokenizer::from_bytes(bytes)?;
        tokenizer.encode("", true).map(|_| tokenizer)
    });
    read.map_err(|_| "the tokenizers library broke down on it".to_owned())?
        .map_err(|source| source.to_string())
}
