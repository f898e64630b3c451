//! "Did you mean": what someone who wrote an unknown word may have wanted.

use strsim::damerau_levenshtein;

/// More words than this are neither compared nor listed.
const COMPARED_MAX: usize = 2_000;
const LISTED_MAX: usize = 12;

/// A hint for an unknown word: the nearest of the known ones, or what they are.
pub(super) fn hint<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let known: Vec<&str> = known.into_iter().collect();
    nearest(word, &known).map(meant).or_else(|| listed(&known))
}

/// A hint for an unknown name where known ones begin with it, as dated names begin with undated ones, or else one is near; too many are
/// known to list them.
pub fn near<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    const BEGUN_MIN: usize = 4;
    let known: Vec<&str> = known.into_iter().collect();
    let begun = format!("{}_", plain(word));
    let longer: Vec<String> = known
        .iter()
        .filter(|known| begun.len() > BEGUN_MIN && plain(known).starts_with(&begun))
        .take(LISTED_MAX)
        .map(|known| format!("`{known}`"))
        .collect();
    match &longer[..] {
        [] => nearest(word, &known).map(meant),
        [one] => Some(format!("did you mean {one}?")),
        [all @ .., last] => Some(format!("did you mean {} or {last}?", all.join(", "))),
    }
}

fn meant(nearest: &str) -> String {
    format!("did you mean `{nearest}`?")
}

fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = plain(word);
    let edits_max = (word.chars().count() / 3).max(1);
    known
        .iter()
        .take(COMPARED_MAX)
        .map(|known| (damerau_levenshtein(&word, &plain(known)), *known))
        .filter(|(edits, known)| *edits <= edits_max && *edits < known.chars().count())
        .min()
        .map(|(_, known)| known)
}

/// Case and the choice of separator are no difference. A key that is far too long is no near miss either.
fn plain(word: &str) -> String {
    const CHARACTERS_MAX: usize = 64;
    word.chars()
        .take(CHARACTERS_MAX)
        .map(|character| if "-_. ".contains(character) { '_' } else { character.to_ascii_lowercase() })
        .collect()
}

fn listed(known: &[&str]) -> Option<String> {
    let words: Vec<String> = known.iter().take(LISTED_MAX).map(|known| format!("`{known}`")).collect();
    let rest = known.len().saturating_sub(LISTED_MAX);
    match (words.is_empty(), rest) {
        (true, _) => None,
        (false, 0) => Some(format!("allowed: {}", words.join(", "))),
        (false, rest) => Some(format!("allowed: {} and {rest} more", words.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_near_words_and_lists_otherwise() {
        let known = ["gpt-4o", "gpt-4o-mini", "local-llama"];
        let suggested = |word| hint(word, known).unwrap();
        assert_eq!(suggested("gpt4o"), "did you mean `gpt-4o`?");
        assert_eq!(suggested("GPT_4O_MINI"), "did you mean `gpt-4o-mini`?");
        assert_eq!(suggested("lcoal-llama"), "did you mean `local-llama`?");
        assert_eq!(suggested("claude"), "allowed: `gpt-4o`, `gpt-4o-mini`, `local-llama`");
        assert_eq!(hint("x", []), None);
        assert_eq!(near("gpt4o", known).unwrap(), "did you mean `gpt-4o`?");
        assert_eq!(near("claude", known), None);
        // Not the one that is nearest by letters, which is another model.
        let dated =
            ["gpt-4", "gpt-4-turbo-2024-04-09", "gpt-4o-2024-05-13", "gpt-4o-2024-08-06", "gpt-3.5-turbo"];
        assert_eq!(near("gpt-4-turbo", dated).unwrap(), "did you mean `gpt-4-turbo-2024-04-09`?");
        assert_eq!(
            near("gpt-4o", dated).unwrap(),
            "did you mean `gpt-4o-2024-05-13` or `gpt-4o-2024-08-06`?"
        );
    }

    #[test]
    fn one_letter_is_not_near_another() {
        assert_eq!(hint("z", ["a"]), Some("allowed: `a`".to_owned()));
    }
}
