//! Names numbered as they come, and put in order at the end.

use crate::data::DataError;
use std::collections::HashMap;

/// The most different names: their numbers are 16 bits wide.
const NAMES_MAX: usize = 1 << 16;

/// Names numbered as they come.
#[derive(Debug)]
pub(super) struct Names {
    /// What they name, for messages.
    what: &'static str,
    numbers: HashMap<String, u16>,
}

impl Names {
    /// No names yet.
    pub(super) fn of(what: &'static str) -> Self {
        Self { what, numbers: HashMap::new() }
    }

    /// The number of a name.
    pub(super) fn number(&mut self, name: &str) -> Result<u16, DataError> {
        if let Some(&number) = self.numbers.get(name) {
            return Ok(number);
        }
        let too_many = DataError::TooMany { what: self.what, limit: NAMES_MAX };
        let number = u16::try_from(self.numbers.len()).map_err(|_| too_many)?;
        self.numbers.insert(name.to_owned(), number);
        Ok(number)
    }

    /// The names in order, and the place of each number among them.
    pub(super) fn sorted(self) -> (Vec<String>, Vec<u16>) {
        let mut names: Vec<(String, u16)> = self.numbers.into_iter().collect();
        names.sort_unstable();
        let mut places = vec![0; names.len()];
        for (place, (_, number)) in (0..).zip(&names) {
            if let Some(slot) = places.get_mut(usize::from(*number)) {
                *slot = place;
            }
        }
        (names.into_iter().map(|(name, _)| name).collect(), places)
    }
}
