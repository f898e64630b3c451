//! Splits are pinned to golden values: they must not move between versions or platforms.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();

#[test]
fn hashes_are_those_of_sha_256_of_the_normalised_text() {
    // printf 'hello world' | sha256sum
    let expected = "b94d27b9934d3e08a52e52d7da7dabfa";
    for text in ["hello world", " Hello\t\n WORLD ", "HELLO\u{a0}world\u{2003}"] {
        assert_eq!(prompt_hash(text).to_string(), expected, "{text:?}");
    }
    // printf '' | sha256sum
    assert_eq!(prompt_hash(" \n").to_string(), "e3b0c44298fc1c149afbf4c8996fb924");
    assert_ne!(prompt_hash("helloworld"), prompt_hash("hello world"));
}

#[test]
fn folds_and_sides_stay_where_they_were() {
    let folds: Vec<u32> =
        ["", "a", "b", "hello world", "?"].map(|text| Split::new(7).fold(prompt_hash(text), TEN)).to_vec();
    assert_eq!(folds, GOLDEN_FOLDS);
}

/// By Python: `int.from_bytes(sha256(b"pointsman split 1\0" + (7).to_bytes(8, "little") + sha256(text)[:16])[:8], "big") * 10 >> 64`.
const GOLDEN_FOLDS: [u32; 5] = [2, 8, 4, 9, 0];

#[test]
fn shares_are_about_what_was_asked_for() {
    let prompts: Vec<PromptHash> =
        (0..20_000).map(|number| prompt_hash(&format!("prompt {number}"))).collect();
    let split = Split::new(1);
    for share in [0.0, 0.1, 0.5, 1.0] {
        let dev = prompts.iter().filter(|prompt| split.side(**prompt, share) == Side::Dev).count() as f64;
        // Four standard deviations of a binomial count.
        let width = 4.0 * (20_000.0 * share * (1.0 - share)).sqrt();
        assert!((dev - 20_000.0 * share).abs() <= width, "{share}: {dev}");
    }
    let mut sizes = [0_i32; 10];
    for prompt in &prompts {
        sizes[split.fold(*prompt, TEN) as usize] += 1;
    }
    assert!(sizes.iter().all(|size| (size - 2_000).abs() < 170), "{sizes:?}");
    let other: HashSet<PromptHash> =
        prompts.iter().copied().filter(|prompt| Split::new(2).fold(*prompt, TEN) == 0).collect();
    let both =
        prompts.iter().filter(|prompt| split.fold(**prompt, TEN) == 0 && other.contains(prompt)).count();
    assert!((100..300).contains(&both), "seeds are independent: {both} of about 200");
}

proptest! {
    #[test]
    fn white_space_and_case_never_move_a_prompt(words in prop::collection::vec("[a-zA-Z0-9?]{1,8}", 0..8), seed: u64) {
        let plain = prompt_hash(&words.join(" "));
        let shouted = prompt_hash(&format!("\n {} ", words.join(" \t\n").to_uppercase()));
        prop_assert_eq!(plain, shouted);
        prop_assert!(Split::new(seed).fold(plain, TEN) < 10);
    }

    #[test]
    fn dev_sides_are_nested(text in ".{0,20}", seed: u64, share in 0.0..1.0, more in 0.0..1.0) {
        let split = Split::new(seed);
        let prompt = prompt_hash(&text);
        if split.side(prompt, share) == Side::Dev {
            prop_assert_eq!(split.side(prompt, share.max(more)), Side::Dev);
        }
        let folds = NonZeroU32::new(seed as u32 | 1).unwrap();
        prop_assert!(split.fold(prompt, folds) < folds.get());
    }
}
