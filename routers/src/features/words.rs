//! Which words a text is made of: what it asks for, in which language, with how many numbers.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::LazyLock;

use super::{log, set, share};

/// Classes of English words that tell what a text is after, a line each.
const CLASSES: [&str; 13] = [
    "what how why who whom whose when where which",
    "write create make generate give list explain describe tell provide compose draft design summarize translate \
     rewrite edit suggest discuss compare analyze outline",
    "story poem song haiku essay blog lyrics character dialogue scene fiction novel joke letter email tweet article \
     rap script roleplay imagine pretend",
    "many much total each every per twice half percent average times remaining left altogether cost costs sold spend \
     earn more less than fewer",
    "equation solve integer integers function prove theorem polynomial triangle probability matrix angle sum product \
     derivative integral calculate compute value maximum minimum vector graph number",
    "code python javascript java html css sql script program class def return import print array loop api bug compile \
     algorithm c# c++ rust golang bash php regex json dataframe typescript react",
    "if then all some must either unless only therefore except not none never cannot false true following correct \
     statement",
    "i my me i'm we our us mine",
    "you your yours yourself",
    "the of and to in a is that for it as was on are with by",
    "please thanks thank hello hi hey",
    "difference between similar similarities versus vs advantages disadvantages pros cons better best",
    "step steps plan strategy ideas tips recommend recipe guide tutorial schedule",
];

/// The commonest words of languages in Latin letters, a line each.
const LANGUAGES: [&str; 15] = [
    "the of and to is in that for it you with what how are on this be can do from",
    "el la los las de que y en un una es por con para como qué se del al cómo cuál lo",
    "le la les des et est un une que qui dans pour je vous comment quel quelle du pas ce",
    "der die das und ist ein eine wie ich nicht mit zu für was auf den von kann sind im",
    "o os as de que e em um uma é por com para como não você do da são qual",
    "il lo gli di che è un una per con come non sono del della i cosa mi nel",
    "el la els les de què i en un una és per amb com quin del dels quina fer són",
    "de het een van en is in dat op te hoe voor met niet wat zijn ik je kan",
    "i w z na się nie jest to do jak co czy że od po",
    "ve bir bu için ile ne nasıl da de mi olarak en daha çok",
    "của là và có cho một những không các được trong người",
    "yang dan di untuk dengan apa itu ini adalah dari bagaimana",
    "och att det som en är på för av med hur jag inte vad",
    "a az és hogy egy nem is mi milyen van meg ki",
    "eta da bat du ez dira zer nola dut egin euskal",
];

/// Classes, then languages.
const MARKS: usize = CLASSES.len() + LANGUAGES.len();

/// Numbers that [`Words::write`] writes.
pub(super) const COUNT: usize = 12 + 2 + MARKS;

/// The first of them are not yet on one scale.
pub(super) const OWN_SPREAD: usize = COUNT - LANGUAGES.len();

/// A long word has more characters.
const LONG: u32 = 8;

/// The classes and languages that a word belongs to, a bit each, by the word's hash.
static MARKS_OF: LazyLock<HashMap<u64, u32, BuildHasherDefault<Hashed>>> = LazyLock::new(|| {
    let mut marks = HashMap::default();
    for (mark, line) in CLASSES.iter().chain(&LANGUAGES).enumerate() {
        for word in line.split_whitespace() {
            *marks.entry(hash_of(word)).or_insert(0) |= 1 << mark;
        }
    }
    marks
});

/// The hash of a key that is one already.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(HASH_FACTOR));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Counts over the words of a text.
#[derive(Debug, Default)]
pub(super) struct Words {
    words: u32,
    letters: u32,
    long: u32,
    /// Of capital letters alone, more than one.
    capital: u32,
    /// Words of each class, words of each language.
    marks: [u32; MARKS],
    /// What the first word is.
    first: u32,
    numbers: u32,
    digits_max: u32,
    sentences: u32,
    questions: u32,
    quotes: u32,
    brackets: u32,
    markup: u32,
    /// A hash of each word.
    hashes: Vec<u64>,
}

impl Words {
    pub(super) fn of(text: &str) -> Self {
        let mut counts = Self::default();
        let mut word = Word::default();
        for character in text.chars() {
            if character.is_alphanumeric()
                || (word.characters > 0 && matches!(character, '\'' | '’' | '+' | '#'))
            {
                word.push(character);
                continue;
            }
            counts.finish(&mut word);
            match character {
                '.' | '!' => counts.sentences += 1,
                '?' => (counts.questions, counts.sentences) = (counts.questions + 1, counts.sentences + 1),
                '"' | '“' => counts.quotes += 1,
                '(' | ')' | '[' | ']' | '{' | '}' => counts.brackets += 1,
                '\\' | '$' => counts.markup += 1,
                _ => {}
            }
        }
        counts.finish(&mut word);
        counts.hashes.sort_unstable();
        counts.hashes.dedup();
        counts
    }

    /// Takes a finished word into the counts, and makes room for the next.
    fn finish(&mut self, word: &mut Word) {
        if word.characters == 0 {
            return;
        }
        let marks = MARKS_OF.get(&word.hash).copied().unwrap_or_default();
        if self.words == 0 {
            self.first = marks;
        }
        self.words += 1;
        self.letters += word.characters;
        self.long += u32::from(word.characters > LONG);
        self.capital += u32::from(word.characters > 1 && word.upper == word.characters);
        if word.digits == word.characters {
            self.numbers += 1;
            self.digits_max = self.digits_max.max(word.digits);
        }
        let mut left = marks;
        while let Some(count) = self.marks.get_mut(left.trailing_zeros() as usize) {
            *count += 1;
            left &= left - 1;
        }
        self.hashes.push(word.hash);
        *word = Word::default();
    }

    pub(super) fn write(&self, into: &mut [f32]) {
        let of_all = [
            log(self.words),
            share(self.letters, self.words).min(16.0),
            share(self.long, self.words),
            share(self.capital, self.words),
            share(self.hashes.len() as u32, self.words),
            log(self.numbers),
            log(self.digits_max),
            share(self.words, self.sentences.max(1)).ln_1p(),
            log(self.questions),
            log(self.quotes),
            log(self.brackets),
            log(self.markup),
        ];
        let first = [0, 1].map(|class| ((self.first >> class) & 1) as f32);
        let (classes, languages) = self.marks.split_at(CLASSES.len());
        let classes = classes.iter().map(|&count| share(count, self.words).sqrt());
        let most = languages.iter().copied().max().unwrap_or_default();
        // The language with most of its words, the first of equals; none where no language has any.
        let spoken = languages.iter().position(|&count| count == most && most > 0);
        let languages = (0..languages.len()).map(|place| f32::from(u8::from(Some(place) == spoken)));
        set(into, of_all.into_iter().chain(first).chain(classes).chain(languages));
    }
}

/// The word being read.
#[derive(Debug)]
struct Word {
    characters: u32,
    upper: u32,
    digits: u32,
    /// Of the characters in lower case.
    hash: u64,
}

/// FNV-1a's offset and prime (Fowler, Noll and Vo).
const HASH_START: u64 = 0xcbf2_9ce4_8422_2325;
const HASH_FACTOR: u64 = 0x0100_0000_01b3;

impl Default for Word {
    fn default() -> Self {
        Self { characters: 0, upper: 0, digits: 0, hash: HASH_START }
    }
}

impl Word {
    fn push(&mut self, character: char) {
        self.characters += 1;
        self.digits += u32::from(character.is_ascii_digit());
        let is_upper = character.is_uppercase();
        self.upper += u32::from(is_upper);
        if is_upper {
            character.to_lowercase().for_each(|lower| self.hash = hashed(self.hash, lower));
        } else {
            self.hash = hashed(self.hash, if character == '’' { '\'' } else { character });
        }
    }
}

fn hashed(hash: u64, character: char) -> u64 {
    (hash ^ u64::from(u32::from(character))).wrapping_mul(HASH_FACTOR)
}

fn hash_of(word: &str) -> u64 {
    word.chars().fold(HASH_START, hashed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn language(text: &str) -> Option<usize> {
        let mut features = [0.0; COUNT];
        Words::of(text).write(&mut features);
        features[COUNT - LANGUAGES.len()..].iter().position(|&flag| flag > 0.5)
    }

    #[test]
    fn languages_are_told_apart() {
        assert_eq!(language("What is the capital of the country?"), Some(0));
        assert_eq!(language("¿Cuál es la capital de España y por qué?"), Some(1));
        assert_eq!(language("Quelle est la capitale de la France ?"), Some(2));
        assert_eq!(language("Was ist die Hauptstadt und wie groß ist sie?"), Some(3));
        assert_eq!(language("Quina és la capital dels Països i per què?"), Some(6));
        assert_eq!(language("0 1 2"), None);
    }

    #[test]
    fn words_are_counted() {
        let counts = Words::of("Don't PANIC: write 42 lines of C++ code, then 7 more lines!");
        assert_eq!((counts.words, counts.capital, counts.numbers, counts.digits_max), (12, 1, 2, 2));
        assert_eq!(counts.hashes.len(), 11, "`lines` twice");
        assert_eq!((counts.marks[5], counts.marks[1]), (2, 1), "c++ and code; write");
    }

    #[test]
    fn no_two_listed_words_have_one_hash() {
        let words = CLASSES.iter().chain(&LANGUAGES).flat_map(|line| line.split_whitespace());
        let distinct: std::collections::BTreeSet<&str> = words.collect();
        assert_eq!(MARKS_OF.len(), distinct.len());
    }
}
