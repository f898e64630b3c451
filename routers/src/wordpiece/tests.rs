use proptest::prelude::*;
use tokenizers::models::wordpiece::WordPiece as Reference;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{Model as _, NormalizedString, Normalizer as _};
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer as _};

use super::*;

/// A vocabulary that exercises every branch: whole words, pieces, wide characters, signs, accents.
fn vocabulary() -> Vec<String> {
    let words = "[PAD] [UNK] [CLS] [SEP] un ##aff ##able ##a ##b able a b ab abc ##c ##bc resume naive é ü ##é ß ##ß \
                 i ı ##i 中 國 日本 ##中 か ##か ア с т ст ##т ##о ς σ ##σ ; , . ! ? # ## - ’ « “ ¿ … € ° ² ＊ k å \
                 ## 각 ᄀ ##ᅡ 가 ##ᆨ 한 क ##ा का ##क ् ا ##ل ال 😀 ##😀 👍 1 ##2 12 ##123 x ##x";
    let mut words: Vec<String> =
        words.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
    words.dedup();
    let mut seen = std::collections::HashSet::new();
    words.retain(|word| seen.insert(word.clone()));
    words
}

struct Pair {
    ours: WordPiece,
    options: WordPieceOptions,
    reference: Reference,
}

impl Pair {
    fn new(vocabulary: &[String], options: WordPieceOptions) -> Self {
        let pieces: Vec<&str> = vocabulary.iter().map(String::as_str).collect();
        let map: serde_json::Map<_, _> =
            vocabulary.iter().zip(0u32..).map(|(piece, number)| (piece.clone(), number.into())).collect();
        let reference = serde_json::json!({
            "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": options.word_chars_max, "vocab": map,
        });
        let reference = serde_json::from_str(&reference.to_string()).unwrap();
        Self { ours: WordPiece::new(&pieces, "[UNK]", options).unwrap(), options, reference }
    }

    fn ours(&self, text: &str, tokens_max: usize) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.ours.tokenize(text, tokens_max, &mut WordPieceScratch::default(), |token| tokens.push(token));
        tokens
    }

    fn reference(&self, text: &str) -> Vec<u32> {
        let options = self.options;
        let normalizer = BertNormalizer::new(
            options.clean_text,
            options.split_ideographs,
            Some(options.strip_accents),
            options.lowercase,
        );
        let mut normalized = NormalizedString::from(text);
        normalizer.normalize(&mut normalized).unwrap();
        let mut words = PreTokenizedString::from(normalized);
        BertPreTokenizer.pre_tokenize(&mut words).unwrap();
        let splits = words.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        splits
            .into_iter()
            .flat_map(|(word, _, _)| self.reference.tokenize(word).unwrap())
            .map(|token| token.id)
            .collect()
    }

    fn assert_equal(&self, text: &str) {
        assert_eq!(self.ours(text, usize::MAX), self.reference(text), "{text:?} with {:?}", self.options);
    }
}

fn any_options() -> impl Strategy<Value = WordPieceOptions> {
    (any::<[bool; 4]>(), prop_oneof![Just(100usize), Just(5)]).prop_map(|(flags, word_chars_max)| {
        let [clean_text, split_ideographs, strip_accents, lowercase] = flags;
        WordPieceOptions { clean_text, split_ideographs, strip_accents, lowercase, word_chars_max }
    })
}

/// Text over the characters where tokenizers go wrong, long runs included.
fn tricky() -> impl Strategy<Value = String> {
    let atoms = prop_oneof![
        4 => proptest::sample::select(vec![
            "a", "b", "c", "ab", "Un", "aff", "able", "é", "e\u{301}", "\u{301}", "\u{327}", "İ", "I\u{307}", "ß", "ẞ",
            "Σ", "ς", "中", "國", "日本", "か", "が", "ｶﾞ", "각", "각", "का", "्", "ال", "😀", "👍🏽", "\u{200d}", "\u{200b}",
            "\0", "\u{fffd}", "\t", "\n", "\r", " ", "\u{a0}", "\u{3000}", "\u{2028}", "\u{85}", "\u{b}", "\u{c}", "\u{1c}",
            "\u{7f}", "\u{ad}", ";", "\u{37e}", "’", "«", "…", "#", "##", "[CLS]", "[UNK]", "\u{212a}", "\u{212b}",
            "\u{2126}", "\u{e000}", "\u{f900}", "\u{2f800}", "\u{2b820}", "\u{2b920}", "\u{1d165}", "\u{302e}", "\u{10ffff}",
        ]).prop_map(str::to_owned),
        2 => any::<char>().prop_map(String::from),
        1 => (any::<char>(), 90usize..120).prop_map(|(character, times)| character.to_string().repeat(times)),
        1 => "[ -~]{0,20}",
    ];
    proptest::collection::vec(atoms, 0..40).prop_map(|atoms| atoms.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn equals_the_reference_on_any_text(text in prop_oneof![tricky(), any::<String>()], options in any_options()) {
        let pair = Pair::new(&vocabulary(), options);
        prop_assert_eq!(pair.ours(&text, usize::MAX), pair.reference(&text));
    }

    #[test]
    fn a_limit_gives_the_first_tokens(text in tricky(), limit in 0usize..30) {
        let pair = Pair::new(&vocabulary(), WordPieceOptions::default());
        let all = pair.ours(&text, usize::MAX);
        prop_assert_eq!(pair.ours(&text, limit), &all[..limit.min(all.len())]);
    }
}

#[test]
fn every_character_is_treated_as_the_reference_does() {
    let pair = Pair::new(&vocabulary(), WordPieceOptions::default());
    let mut text = String::new();
    for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32) {
        // Alone, inside a word, and before a combining mark of another class.
        text.extend([' ', character, ' ', 'a', character, 'b', ' ', character, '\u{327}', 'x']);
        if text.len() > 4000 {
            pair.assert_equal(&text);
            text.clear();
        }
    }
    pair.assert_equal(&text);
}

#[test]
fn words_resolve_greedily_or_not_at_all() {
    let pair = Pair::new(&vocabulary(), WordPieceOptions::default());
    let number = |piece: &str| vocabulary().iter().position(|word| word == piece).unwrap() as u32;
    assert_eq!(pair.ours("UNAFFABLE", 9), ["un", "##aff", "##able"].map(number));
    assert_eq!(pair.ours("Résumé", 9), ["resume"].map(number));
    assert_eq!(pair.ours("abzz, ab", 9), ["[UNK]", ",", "ab"].map(number));
    assert_eq!(pair.ours(&"a".repeat(100), 200).len(), 100);
    assert_eq!(pair.ours(&"a".repeat(101), 200), ["[UNK]"].map(number));
    assert!(pair.ours("", 9).is_empty());
}

#[test]
fn huge_texts_are_read_in_linear_time_and_no_further_than_needed() {
    let pair = Pair::new(&vocabulary(), WordPieceOptions::default());
    for unit in ["a", " ", "\0", "é", "\u{301}", "中", "a ", "😀", "\u{301}\u{327}", "a\0", "!", "zz "] {
        let text = unit.repeat(1_000_000 / unit.len());
        assert!(pair.ours(&text, 512).len() <= 512, "{unit:?}");
    }
}

#[test]
fn a_vocabulary_is_checked() {
    let build = |pieces: &[&str]| WordPiece::new(pieces, "[UNK]", WordPieceOptions::default()).err();
    assert_eq!(build(&[]), Some(VocabularyError::Size { found: 0, max: 1 << 22 }));
    assert_eq!(build(&["a"]), Some(VocabularyError::NoUnknown("[UNK]".to_owned())));
    assert_eq!(build(&["[UNK]", "a", "b", "a"]), Some(VocabularyError::Duplicate { first: 1, second: 3 }));
    let long = "a".repeat(2000);
    assert_eq!(build(&["[UNK]", &long]), Some(VocabularyError::Long { piece: 1, bytes: 2000 }));
    assert_eq!(build(&["[UNK]", ""]), None);
}
