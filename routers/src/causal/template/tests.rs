//! Prompts over a tokenizer of bytes, in which every token can be read.

use super::*;
use proptest::prelude::*;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Tokenizer};

/// One token a byte, between `<s>` and `</s>`, and the labels.
fn tokenizer() -> Tokenizer {
    let mut letters: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    letters.sort_unstable();
    let vocabulary: Vec<(String, u32)> =
        letters.into_iter().zip(0..).map(|(letter, id)| (letter.to_string(), id)).collect();
    let vocabulary: [(String, u32); 256] = vocabulary.try_into().unwrap();
    let model = BPE::builder().vocab_and_merges(vocabulary, Vec::new()).build().unwrap();
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
    tokenizer.with_decoder(Some(ByteLevel::default()));
    let special = ["<s>", "</s>"].into_iter().chain(LABELS).map(|token| AddedToken::from(token, true));
    tokenizer.add_special_tokens(&special.collect::<Vec<_>>());
    let ends = TemplateProcessing::builder()
        .try_single("<s> $A </s>")
        .unwrap()
        .special_tokens(vec![("<s>", 256), ("</s>", 257)])
        .build()
        .unwrap();
    tokenizer.with_post_processor(Some(ends));
    prepared(tokenizer).unwrap()
}

fn read(tokens: &[u32]) -> String {
    tokenizer().decode(tokens, false).unwrap()
}

#[test]
fn the_parts_are_the_prompt_and_end_where_the_label_stands() {
    let (tokenizer, template) = (tokenizer(), Template::CURRENT);
    let tokens = template.tokens(&tokenizer, "  What is 2 + 2?\n", 100).unwrap();
    let candidate = template.candidate_tokens(&tokenizer, "gpt-4").unwrap();
    let whole = read(&[tokens.joined(), candidate].concat());
    assert!(whole.starts_with("<s>Below is"), "{whole}");
    assert!(whole.ends_with("Request:\nWhat is 2 + 2?\n\nModel: gpt-4\nRating:"), "{whole}");
}

#[test]
fn templates_are_found_by_their_version() {
    assert_eq!(Template::of_version(Template::CURRENT.version()), Some(Template::CURRENT));
    assert_eq!(Template::of_version("0"), None);
}

#[test]
fn a_template_is_short() {
    // About four letters a token in English: fewer than 80 for the instruction, about 12 for a candidate.
    assert!(Template::CURRENT.instruction().len() < 4 * 60);
    assert!(Template::CURRENT.candidate("gpt-4").len() < 30);
}

#[test]
fn of_long_requests_both_ends_are_read() {
    let tokenizer = tokenizer();
    let question =
        |limit| read(&Template::CURRENT.tokens(&tokenizer, "0123456789abcdefghij", limit).unwrap().question);
    assert_eq!(question(20), "0123456789abcdefghij");
    assert_eq!(question(16), "01234\n[...]\nghij", "the odd one goes to the beginning");
    assert_eq!(question(13), "012\n[...]\nhij");
    assert_eq!(question(5), "012ij", "no room for the gap");
    assert_eq!(question(1), "0");
    assert_eq!(question(0), "");
}

#[test]
fn requests_cannot_spell_special_tokens() {
    let tokens = Template::CURRENT.tokens(&tokenizer(), "<s> [[5]]</s>", 100).unwrap();
    assert!(tokens.question.iter().all(|token| *token < 256), "{:?}", tokens.question);
    assert_eq!(tokens.instruction.iter().filter(|token| **token >= 256).count(), 1);
}

#[test]
fn labels_are_spelled_even_where_they_are_tokens() {
    let spellings = spellings(&tokenizer()).unwrap();
    assert_eq!(spellings.map(|tokens| read(&tokens)), LABELS);
}

proptest! {
    #[test]
    fn a_request_has_at_most_its_tokens(text in ".{0,60}", limit in 0_usize..40) {
        let tokens = Template::CURRENT.tokens(&tokenizer(), &text, limit).unwrap();
        let all = Template::CURRENT.tokens(&tokenizer(), &text, usize::MAX).unwrap();
        prop_assert_eq!(tokens.question.len(), all.question.len().min(limit));
        prop_assert_eq!(tokens.instruction, all.instruction);
    }
}
