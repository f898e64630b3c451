//! How far a streamed answer has come, and whether its end is an honest one.

use std::collections::BTreeSet;

use crate::openai::chunk::{Dialect, Observation};

/// Choices whose end is remembered: a stream that finishes more different ones than this is not tracked further.
const CHOICES_MAX: usize = 4096;

/// The state of one streamed answer.
#[derive(Debug)]
pub struct Progress {
    dialect: Dialect,
    choices: usize,
    finished: BTreeSet<u32>,
    terminal: bool,
    failed: bool,
    characters: u64,
}

impl Progress {
    /// An answer of `choices` choices, none of which has begun.
    #[must_use]
    pub fn new(dialect: Dialect, choices: u32) -> Self {
        let choices = usize::try_from(choices).unwrap_or(CHOICES_MAX).min(CHOICES_MAX);
        Self { dialect, choices, finished: BTreeSet::new(), terminal: false, failed: false, characters: 0 }
    }

    /// Takes note of an event.
    pub fn observe(&mut self, seen: &Observation) {
        self.terminal |= seen.terminal;
        self.failed |= seen.failed;
        self.characters = self.characters.saturating_add(seen.characters);
        if self.finished.len() < CHOICES_MAX {
            self.finished.extend(&seen.finished);
        }
    }

    /// Law 5: an answer is whole when every choice has a `finish_reason` (responses: after a terminal event).
    #[must_use]
    pub fn is_whole(&self) -> bool {
        match self.dialect {
            Dialect::Choices => self.finished.len() >= self.choices,
            Dialect::Responses | Dialect::Embeddings => self.terminal,
        }
    }

    /// It has come to its end, which is that the upstream says it failed.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// The characters that the model has written so far.
    #[must_use]
    pub fn characters(&self) -> u64 {
        self.characters
    }

    /// What closes the stream when the upstream left it out.
    #[must_use]
    pub fn closing(&self) -> &'static [u8] {
        match self.dialect {
            Dialect::Choices => b"data: [DONE]\n\n",
            Dialect::Responses | Dialect::Embeddings => b"",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_choices_must_finish() {
        let mut progress = Progress::new(Dialect::Choices, 2);
        let finish = |index| Observation { finished: vec![index], ..Observation::default() };
        progress.observe(&finish(1));
        progress.observe(&finish(1));
        assert!(!progress.is_whole());
        progress.observe(&finish(0));
        assert!(progress.is_whole());
    }
}
