use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::wordpiece::WordPieceOptions;

fn shipped() -> &'static StaticEmbedder {
    static SHIPPED: OnceLock<StaticEmbedder> = OnceLock::new();
    SHIPPED.get_or_init(|| default_static().unwrap())
}

/// A table small enough to be mangled thousands of times.
fn small() -> StaticTable {
    let vocabulary = ["[UNK]", "a", "b", "##c", "é", "中"].map(str::to_owned).to_vec();
    StaticTable {
        vocabulary,
        unknown: "[UNK]".to_owned(),
        tokenizer: WordPieceOptions::default(),
        dim: 3,
        vectors: vec![0, 0, 0, 3, 4, 0, -3, -4, 0, 0, 0, 127, 1, 1, 1, 5, 0, 12],
        scales: vec![0.0, 0.5, 0.5, 0.001, 1.0, 2.0],
        encoder: "an encoder".to_owned(),
        method: "by hand".to_owned(),
    }
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|value| value * value).sum::<f32>().sqrt()
}

#[test]
fn a_vector_is_the_weighted_sum_of_its_pieces() {
    let embedder = StaticEmbedder::load(small().to_bytes().unwrap()).unwrap();
    assert_eq!(embedder.embed("a"), [0.6, 0.8, 0.0]);
    assert_eq!(embedder.embed("B a a"), [0.6, 0.8, 0.0]);
    let sum = [1.5f32, 2.0, 0.127];
    for (value, expected) in embedder.embed("ac").iter().zip(sum) {
        assert!((value - expected / length(&sum)).abs() < 1e-6);
    }
    // Nothing known, nothing left after cancelling, nothing at all.
    for text in ["zzz", "a b", ""] {
        assert_eq!(embedder.embed(text), [0.0; 3], "{text}");
    }
}

#[test]
fn the_shipped_table_is_small_and_whole() {
    assert!(DEFAULT_TABLE.len() < 10_000_000);
    assert_eq!(shipped().dim(), 256);
    assert_eq!(shipped().fingerprint().len(), 64);
}

#[test]
fn the_shipped_table_knows_what_texts_are_about() {
    let topics = [
        [
            "Write a Python function that reverses a list.",
            "Write a function in Python to find the largest number.",
        ],
        [
            "What can I cook for dinner with chicken and rice?",
            "Give me a recipe for tomato soup with garlic bread.",
        ],
        ["Solve the equation x^2 - 5x + 6 = 0.", "Solve for x: 3x + 7 = 22."],
        ["¿Cuál es la capital de Francia?", "¿Cuáles son las ciudades más grandes de España?"],
    ];
    let vectors = topics.map(|texts| texts.map(|text| shipped().embed(text)));
    let near = |a: &[f32], b: &[f32]| -> f32 { a.iter().zip(b).map(|(a, b)| a * b).sum() };
    for (topic, [a, b]) in vectors.iter().enumerate() {
        for (_, others) in vectors.iter().enumerate().filter(|(other, _)| *other != topic) {
            for other in others {
                assert!(near(a, b) > near(a, other).max(near(b, other)) + 0.1, "{:?}", topics[topic]);
            }
        }
    }
}

#[test]
fn a_batch_gives_the_same_bits_as_one_by_one() {
    let texts = ["", "Hello, world!", "Как дела?", "x = [i for i in range(10)]"];
    let batch = Embedder::embed_batch(shipped(), &texts).unwrap();
    for (text, row) in texts.iter().zip(batch.row_iter()) {
        let alone: Vec<u32> = shipped().embed(text).into_iter().map(f32::to_bits).collect();
        assert_eq!(row.iter().map(|value| value.to_bits()).collect::<Vec<_>>(), alone);
    }
}

#[test]
fn only_the_first_tokens_of_a_long_text_count() {
    let start = "word ".repeat(TOKENS_MAX);
    assert_eq!(shipped().embed(&start), shipped().embed(&format!("{start} and other things")));
}

proptest! {
    #[test]
    fn any_text_gives_unit_length_or_zero(text in prop_oneof![any::<String>(), "\\PC{0,400}", "[a-z ]{0,2000}"]) {
        let vector = shipped().embed(&text);
        let length = length(&vector);
        prop_assert!(length == 0.0 || (length - 1.0).abs() < 1e-5, "{length}");
    }

    #[test]
    fn damaged_tables_are_refused(place in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut bytes = small().to_bytes().unwrap();
        let whole = StaticEmbedder::load(bytes.clone()).unwrap();
        let place = place.index(bytes.len());
        bytes[place] ^= flip;
        // A change that is still a valid table (of the manifest's free text, say) must show in the fingerprint,
        // unless it is of the padding or of the spelling of the header.
        if let Ok(other) = StaticEmbedder::load(bytes) {
            let same = other.embed("ac é 中") == whole.embed("ac é 中");
            prop_assert!(same || other.fingerprint() != whole.fingerprint());
        }
    }

    #[test]
    fn truncated_tables_are_refused(length in any::<prop::sample::Index>()) {
        let bytes = small().to_bytes().unwrap();
        let cut = bytes[..length.index(bytes.len())].to_vec();
        prop_assert!(StaticEmbedder::load(cut).is_err());
    }

    #[test]
    fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(StaticEmbedder::load(bytes).is_err());
    }
}

#[test]
fn errors_say_what_is_wrong() {
    let refused = |change: fn(&mut StaticTable)| {
        let mut table = small();
        change(&mut table);
        table.to_bytes().err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(refused(|table| table.vocabulary.truncate(5)).contains("has 5 lines, there are 6 scales"));
    assert!(refused(|table| table.scales[2] = f32::NAN).contains("`scales`: holds NaN at 2"));
    assert!(refused(|table| table.dim = 0).contains("dim is 0"));
    assert!(refused(|table| table.dim = 4).contains("holds 18 values for 6 pieces of 4"));
    assert!(refused(|table| table.unknown = "?".to_owned()).is_empty());
    let mut table = small();
    table.unknown = "?".to_owned();
    let error = StaticEmbedder::load(table.to_bytes().unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "static embedder: the vocabulary lacks `?`");
}

#[test]
fn equal_tables_give_equal_bytes() {
    assert_eq!(small().to_bytes().unwrap(), small().to_bytes().unwrap());
}
