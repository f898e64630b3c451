//! The table of metrics in the documentation.

use std::{collections::BTreeMap, fs};

/// A metric, as it is documented.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) kind: String,
    /// In their order.
    pub(super) labels: Vec<String>,
    /// How many combinations of labels there are at most: a number and what it is to be multiplied with.
    series: String,
}

/// How much of everything is configured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) tenants: usize,
    pub(super) routes: usize,
    pub(super) models: usize,
    pub(super) budgets: usize,
}

impl Family {
    /// How many combinations of labels a gateway of this size shows at most.
    pub(super) fn series_max(&self, sizes: Sizes) -> usize {
        let digits: String = self.series.chars().take_while(char::is_ascii_digit).collect();
        let factor = if digits.is_empty() { 1 } else { digits.parse().unwrap() };
        let of = |letter| match letter {
            'T' => sizes.tenants,
            'R' => sizes.routes,
            'M' => sizes.models,
            'B' => sizes.budgets,
            _ => panic!("{}", self.series),
        };
        self.series.chars().skip(digits.len()).map(of).product::<usize>() * factor
    }
}

/// Every metric there is, by its name.
pub(super) fn families() -> BTreeMap<String, Family> {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md")).unwrap();
    let mut families = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, labels, series, what] = cells[..] else { panic!("{line}") };
        assert!(!what.is_empty(), "{line}");
        let mut labels: Vec<String> = labels
            .split(", ")
            .filter(|label| !label.is_empty())
            .map(|label| label.trim_matches('`').to_owned())
            .collect();
        labels.sort_unstable();
        let family = Family { kind: kind.to_owned(), labels, series: series.to_owned() };
        let known = families.insert(name.trim_matches('`').to_owned(), family);
        assert!(known.is_none(), "{name} is there twice");
    }
    assert!(families.len() > 50, "{}", families.len());
    families
}
