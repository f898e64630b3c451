//! Texts, divided by NUL: each gets a vector of unit length or none, the same bits alone and in a batch.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use pointsman_routers::{
    embed::{Embedder, StaticEmbedder, default_static},
    wordpiece::WordPieceScratch,
};

static EMBEDDER: LazyLock<StaticEmbedder> =
    LazyLock::new(|| default_static().expect("the shipped table is whole"));
const TOKENS_MAX: usize = 16;

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let texts: Vec<&str> = text.split('\0').chain([text.as_ref()]).collect();
    let batch = EMBEDDER.embed_batch(&texts).expect("a table embeds every text");
    for (text, row) in texts.iter().zip(batch.row_iter()) {
        let alone = EMBEDDER.embed(text);
        assert!(row.iter().zip(&alone).all(|(batch, alone)| batch.to_bits() == alone.to_bits()));
        let length = alone.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        assert!(length == 0.0 || (length - 1.0).abs() < 1e-4, "{length}");
        tokens(text);
    }
});

/// Fewer tokens are the beginning of more.
fn tokens(text: &str) {
    let cut = |tokens_max| {
        let mut tokens = Vec::new();
        let mut scratch = WordPieceScratch::default();
        EMBEDDER.tokenizer().tokenize(text, tokens_max, &mut scratch, |token| tokens.push(token));
        assert!(tokens.len() <= tokens_max);
        tokens
    };
    let more = cut(2 * TOKENS_MAX);
    assert_eq!(cut(TOKENS_MAX), more.get(..TOKENS_MAX).unwrap_or(&more));
}
