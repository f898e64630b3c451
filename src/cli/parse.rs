//! Values of options that several commands take.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;

use pointsman::config::Probability;

use super::output::Failure;

/// A model's name, less the white space around it.
pub(super) fn name(text: &str) -> Result<String, String> {
    Ok(text.trim().to_owned())
}

/// How many of something of which one is needed at least.
pub(super) fn at_least_one(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "expected a whole number, 1 or more".to_owned())
}

/// The same as a number.
pub(super) fn count(text: &str) -> Result<usize, String> {
    at_least_one(text).map(NonZeroUsize::get)
}

pub(super) fn probability(text: &str) -> Result<Probability, String> {
    let number = text.parse().map_err(|_| "not a number".to_owned())?;
    Probability::new(number).ok_or_else(|| "not within 0 and 1".to_owned())
}

/// USD per thousand requests.
pub(super) fn budget(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if number.is_finite() && number > 0.0 {
        Ok(number)
    } else {
        Err("not above zero, or not finite".to_owned())
    }
}

/// The models of a pool: no empty name, none twice.
pub(super) fn distinct(models: &[String]) -> Result<(), Failure> {
    let mut distinct = BTreeSet::new();
    if models.iter().any(String::is_empty) {
        return Err(Failure::Usage("--models holds an empty name".to_owned()));
    }
    match models.iter().find(|model| !distinct.insert(*model)) {
        Some(model) => Err(Failure::Usage(format!("--models holds '{model}' twice"))),
        None => Ok(()),
    }
}
