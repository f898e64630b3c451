//! Which characters a text is made of, and of which scripts.

use super::{log, set, share};

/// ASCII characters, and a few places among those of no use in a text for kinds of others.
const KINDS: usize = 128;
/// Scripts told apart, Latin left out.
const SCRIPTS: usize = 10;
/// Numbers that [`Characters::write`] writes.
pub(super) const COUNT: usize = OWN_SPREAD + SCRIPTS + 1 + KINDS;
/// The first of them are not yet on one scale.
pub(super) const OWN_SPREAD: usize = 6;

/// What the logarithms of the single characters' counts are divided by, so that all of them together weigh about as much
/// as an embedding of unit length.
const KINDS_SCALE: f32 = 20.0;

/// Counts over the characters of a text.
#[derive(Debug)]
pub(super) struct Characters {
    all: u32,
    upper: u32,
    letters: u32,
    scripts: [u32; SCRIPTS],
    /// Letters that Ukrainian has and Russian lacks.
    ukrainian: u32,
    kinds: [u32; KINDS],
}

impl Characters {
    pub(super) fn of(text: &str) -> Self {
        let mut counts =
            Self { all: 0, upper: 0, letters: 0, scripts: [0; SCRIPTS], ukrainian: 0, kinds: [0; KINDS] };
        text.chars().for_each(|character| counts.add(character));
        counts
    }

    fn add(&mut self, character: char) {
        self.all += 1;
        if let Some(count) = self.kinds.get_mut(kind(character)) {
            *count += 1;
        }
        if !character.is_alphabetic() {
            return;
        }
        self.letters += 1;
        self.upper += u32::from(character.is_uppercase());
        self.ukrainian += u32::from(matches!(character, 'і' | 'ї' | 'є' | 'ґ' | 'І' | 'Ї' | 'Є' | 'Ґ'));
        if let Some(count) = script(character).and_then(|script| self.scripts.get_mut(script)) {
            *count += 1;
        }
    }

    fn kinds_of(&self, characters: &[u8]) -> u32 {
        characters.iter().filter_map(|&one| self.kinds.get(usize::from(one))).sum()
    }

    pub(super) fn write(&self, into: &mut [f32]) {
        let root = |characters: &[u8]| share(self.kinds_of(characters), self.all).sqrt();
        let ascii: u32 = self.kinds.iter().skip(FIRST_PRINTABLE).sum();
        let of_all = [
            log(self.all),
            share(self.upper, self.all),
            root(b"0123456789"),
            root(b".,;:!?"),
            root(b"+-*/=^<>|&%_~"),
            share(self.all.saturating_sub(ascii), self.all).sqrt(),
        ];
        let scripts = self.scripts.iter().map(|&count| share(count, self.letters));
        let ukrainian = (20.0 * share(self.ukrainian, self.letters)).min(1.0);
        let kinds = self.kinds.iter().map(|&count| log(count) / KINDS_SCALE);
        set(into, of_all.into_iter().chain(scripts).chain([ukrainian]).chain(kinds));
    }
}

/// Below it, but for the tabulator and the line end, lie the kinds of characters outside ASCII.
const FIRST_PRINTABLE: usize = 5;

/// The place at which a character is counted.
fn kind(character: char) -> usize {
    match character {
        '\u{5}'..='\u{7f}' => character as usize,
        '\0'..='\u{4}' => 0,
        'Ѐ'..='ӿ' => 1,
        '\u{3040}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}' => 2,
        _ if character.is_alphabetic() => 3,
        _ => 4,
    }
}

/// The number of a letter's script; `None` for Latin.
fn script(letter: char) -> Option<usize> {
    Some(match letter as u32 {
        ..0x250 => return None,
        0x370..0x400 => 0,
        0x400..0x530 => 1,
        0x590..0x600 => 2,
        0x600..0x780 => 3,
        0x900..0xe00 => 4,
        0xe00..0xe80 => 5,
        0x3040..0x3100 => 6,
        0x3400..0xa000 => 7,
        0xac00..0xd7b0 => 8,
        _ => 9,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_told_apart() {
        let share_of = |text: &str, script: usize| Characters::of(text).scripts[script];
        assert_eq!(share_of("Ελλάδα", 0), 6);
        assert_eq!(share_of("Привет, мир", 1), 9);
        assert_eq!(share_of("สวัสดี", 5), Characters::of("สวัสดี").letters);
        assert_eq!(share_of("ひらがな", 6), 4);
        assert_eq!(share_of("数学", 7), 2);
        assert_eq!(Characters::of("Їжак").ukrainian, 1);
        assert_eq!(Characters::of("plain Latin, é too").scripts, [0; SCRIPTS]);
    }

    #[test]
    fn every_character_is_counted_once() {
        let text: String = (0..0x3000).filter_map(char::from_u32).collect();
        let counts = Characters::of(&text);
        assert_eq!(counts.kinds.iter().sum::<u32>(), counts.all);
    }
}
