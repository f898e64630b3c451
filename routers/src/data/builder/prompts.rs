//! Prompts numbered as they come, and put in order at the end.

use crate::data::{DataError, Prompt};
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Prompts numbered as they come: one per source and turns.
#[derive(Debug, Default)]
pub(super) struct Prompts {
    prompts: Vec<Prompt>,
    /// By digest, so that texts are held once.
    numbers: HashMap<[u8; 32], u32>,
}

impl Prompts {
    /// The number of a prompt.
    pub(super) fn number(
        &mut self,
        source: u16,
        category: Option<String>,
        language: Option<String>,
        turns: Vec<String>,
    ) -> Result<u32, DataError> {
        let next = self.prompts.len();
        let next = u32::try_from(next).map_err(|_| DataError::TooMany { what: "prompts", limit: next })?;
        let number = *self.numbers.entry(digest(source, &turns)).or_insert(next);
        match self.prompts.get_mut(number as usize) {
            Some(prompt) => {
                prompt.category = smallest(prompt.category.take(), category);
                prompt.language = smallest(prompt.language.take(), language);
            }
            None => self.prompts.push(Prompt { source, category, language, turns }),
        }
        Ok(number)
    }

    /// The prompts in order, and the place of each number among them.
    pub(super) fn sorted(mut self, source_places: &[u16]) -> (Vec<Prompt>, Vec<u32>) {
        for prompt in &mut self.prompts {
            prompt.source = super::place(source_places, usize::from(prompt.source));
        }
        let mut prompts: Vec<(u32, Prompt)> = (0..).zip(self.prompts).collect();
        prompts.sort_unstable_by(|(_, one), (_, other)| {
            (one.source, &one.turns).cmp(&(other.source, &other.turns))
        });
        let mut places = vec![0; prompts.len()];
        for (place, (number, _)) in (0..).zip(&prompts) {
            if let Some(slot) = places.get_mut(*number as usize) {
                *slot = place;
            }
        }
        (prompts.into_iter().map(|(_, prompt)| prompt).collect(), places)
    }
}

/// A digest of a source and turns, with lengths, so that no two lists of turns run together.
fn digest(source: u16, turns: &[String]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(source.to_le_bytes());
    for turn in turns {
        digest.update((turn.len() as u64).to_le_bytes());
        digest.update(turn);
    }
    digest.finalize().into()
}

/// The smaller of two labels; any label rather than none.
fn smallest(one: Option<String>, other: Option<String>) -> Option<String> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
