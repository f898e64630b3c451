//! What single characters are to BERT, and how an uncased vocabulary spells them.
//!
//! The Unicode tables are searched once per page of 256 characters, when a text first needs it; afterwards a
//! character costs one array look-up.

use std::sync::OnceLock;

use unicode_categories::UnicodeCategories as _;
use unicode_normalization_alignments::char::{canonical_combining_class, decompose_canonical};

/// How an uncased vocabulary spells a character, whatever stands around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// As one character, part of a word.
    Letter(char),
    /// As one character that is a word of its own.
    Punctuation(char),
    /// Not at all.
    Nothing,
    /// In a way that only a decomposition of the whole word can tell.
    Complex,
}

/// What is known of a character: its spelling in the low bits, flags above.
#[derive(Debug, Clone, Copy)]
pub(super) struct Traits(u32);

const CHARACTER: u32 = (1 << 21) - 1;
const DROPPED: u32 = 1 << 21;
const SPACE: u32 = 1 << 22;
const IDEOGRAPH: u32 = 1 << 23;
const PUNCTUATION: u32 = 1 << 24;
const NOTHING: u32 = 1 << 25;
const COMPLEX: u32 = 1 << 26;

const PAGE: usize = 256;
const PAGES: usize = (char::MAX as usize + 1) / PAGE;

static TABLE: [OnceLock<Box<[Traits; PAGE]>>; PAGES] = [const { OnceLock::new() }; PAGES];

impl Traits {
    /// Looks a character up.
    pub(super) fn of(character: char) -> Self {
        let number = character as usize;
        let page = TABLE[number / PAGE].get_or_init(|| {
            let first = (number / PAGE * PAGE) as u32;
            // Surrogates are no characters and are never asked for.
            let traits = |offset| char::from_u32(first + offset).map_or(Self(COMPLEX), Self::search);
            Box::new(std::array::from_fn(|offset| traits(offset as u32)))
        });
        page[number % PAGE]
    }

    /// Whether BERT's cleaning takes it out.
    pub(super) fn is_dropped(self) -> bool {
        self.0 & DROPPED != 0
    }

    /// Whether it is white space.
    pub(super) fn is_space(self) -> bool {
        self.0 & SPACE != 0
    }

    /// Whether it is an ideograph, a word of its own.
    pub(super) fn is_ideograph(self) -> bool {
        self.0 & IDEOGRAPH != 0
    }

    /// How an uncased vocabulary spells it.
    pub(super) fn spelling(self) -> Spelling {
        match char::from_u32(self.0 & CHARACTER) {
            _ if self.0 & NOTHING != 0 => Spelling::Nothing,
            Some(character) if self.0 & (COMPLEX | PUNCTUATION) == 0 => Spelling::Letter(character),
            Some(character) if self.0 & COMPLEX == 0 => Spelling::Punctuation(character),
            _ => Spelling::Complex,
        }
    }

    fn search(character: char) -> Self {
        let flag = |is: bool, flag: u32| if is { flag } else { 0 };
        let spelling = match spell(character) {
            Spelling::Letter(letter) => u32::from(letter),
            Spelling::Punctuation(sign) => u32::from(sign) | PUNCTUATION,
            Spelling::Nothing => NOTHING,
            Spelling::Complex => COMPLEX,
        };
        Self(
            spelling
                | flag(is_dropped(character), DROPPED)
                | flag(character.is_whitespace(), SPACE)
                | flag(is_ideograph(character), IDEOGRAPH),
        )
    }
}

/// Decomposes, drops accents, brings to lower case. Decomposition also sorts marks within a word; that shows
/// only where a mark stays, so such characters are complex.
fn spell(character: char) -> Spelling {
    let (mut letters, mut marked, mut last) = (0, false, '\0');
    decompose_canonical(character, |part| {
        if !part.is_mark_nonspacing() {
            marked |= canonical_combining_class(part) != 0;
            for lower in part.to_lowercase() {
                (letters, last) = (letters + 1, lower);
            }
        }
    });
    match letters {
        _ if marked || last.is_whitespace() => Spelling::Complex,
        0 => Spelling::Nothing,
        1 if is_punctuation(last) => Spelling::Punctuation(last),
        1 => Spelling::Letter(last),
        _ => Spelling::Complex,
    }
}

/// What BERT's cleaning takes out: NUL, the replacement character, and control, format and private-use
/// characters other than tab and line ends.
pub(super) fn is_dropped(character: char) -> bool {
    match character {
        '\t' | '\n' | '\r' => false,
        '\0' | '\u{fffd}' => true,
        other => other.is_other(),
    }
}

/// What is a word of its own: every ASCII sign, and the punctuation of other scripts.
pub(super) fn is_punctuation(character: char) -> bool {
    character.is_ascii_punctuation() || character.is_punctuation()
}

/// The blocks of CJK ideographs that BERT sets apart. The extension E block starts at 2B920 there, not at 2B820.
pub(super) fn is_ideograph(character: char) -> bool {
    matches!(u32::from(character),
        0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x2_a6df
        | 0x2_a700..=0x2_b73f | 0x2_b740..=0x2_b81f | 0x2_b920..=0x2_ceaf | 0x2_f800..=0x2_fa1f)
}

#[cfg(test)]
mod tests {
    use super::{Spelling, Traits};

    #[test]
    fn spellings() {
        let spelling = |character| Traits::of(character).spelling();
        assert_eq!(spelling('É'), Spelling::Letter('e'));
        assert_eq!(spelling('й'), Spelling::Letter('и'));
        assert_eq!(spelling('…'), Spelling::Punctuation('…'));
        assert_eq!(spelling('\u{37e}'), Spelling::Punctuation(';'));
        assert_eq!(spelling('\u{301}'), Spelling::Nothing);
        assert_eq!(spelling('각'), Spelling::Complex);
        assert_eq!(spelling('\u{1d165}'), Spelling::Complex);
        assert!(Traits::of('\u{200b}').is_dropped() && Traits::of('\u{3000}').is_space());
        assert!(Traits::of('語').is_ideograph() && !Traits::of('か').is_ideograph());
    }
}
