//! Usage as a table for people.

use std::io::{self, Write};

use pointsman::ledger::report::{Totals, UsageReport, day_text};

use crate::cli::output::thousands;

/// What counts are called.
const COUNTS: [&str; 6] = ["calls", "estimated", "prompt", "cached", "completion", "reasoning"];

/// The fewest decimals of money.
const DECIMALS_MIN: usize = 2;

/// Writes the groups, each a line, and their sum.
pub(super) fn write(out: &mut impl Write, report: &UsageReport) -> io::Result<()> {
    writeln!(out, "{}\n", heading(report))?;
    if report.rows.is_empty() {
        return writeln!(out, "Nothing was used.");
    }
    let decimals = report.rows.iter().map(|row| decimals(row.used)).max().unwrap_or(DECIMALS_MIN);
    let titles = report.by.iter().map(|dimension| dimension.name().to_owned());
    let head: Vec<String> = titles.chain(COUNTS.map(str::to_owned)).chain(["cost USD".to_owned()]).collect();
    let mut lines = vec![head];
    for row in &report.rows {
        let names = row.names.iter().map(|name| name.as_deref().map_or_else(|| "-".to_owned(), printable));
        lines.push(names.chain(numbers(row.used, decimals)).collect());
    }
    let names = (0..report.by.len()).map(|place| if place == 0 { "total" } else { "" }.to_owned());
    lines.push(names.chain(numbers(report.total, decimals)).collect());
    write_lines(out, &lines, report.by.len())
}

/// Of which requests.
fn heading(report: &UsageReport) -> String {
    let filter = &report.filter;
    let mut text = match filter.tenant() {
        Some(tenant) => format!("Usage of {}", printable(tenant)),
        None => "Usage".to_owned(),
    };
    if let Some(from) = filter.from() {
        text += &format!(" from {}", day_text(from));
    }
    match filter.to() {
        Some(to) => text += &format!(" to {}", day_text(to.saturating_sub(1))),
        None if filter.from().is_some() => text += " on",
        None => {}
    }
    text + " (UTC)"
}

/// Names may come from anywhere: what a terminal would act upon is written as an escape.
fn printable(name: &str) -> String {
    let shown = |letter: char| -> String {
        if letter.is_control() { letter.escape_default().collect() } else { letter.into() }
    };
    name.chars().map(shown).collect()
}

fn decimals(used: Totals) -> usize {
    used.cost.to_string().split_once('.').map_or(0, |(_, decimals)| decimals.len())
}

fn numbers(used: Totals, decimals_max: usize) -> impl Iterator<Item = String> {
    let missing = decimals_max.saturating_sub(decimals(used));
    let cost = used.cost.to_string();
    let (whole, decimals) = cost.split_once('.').unwrap_or((&cost, ""));
    let whole = whole.parse().map_or_else(|_| whole.to_owned(), thousands);
    let cost = format!("{whole}.{decimals}{}", "0".repeat(missing));
    used.counts().map(thousands).into_iter().chain([cost])
}

/// Each column as wide as its widest entry, names to the left and numbers to the right.
fn write_lines(out: &mut impl Write, lines: &[Vec<String>], names: usize) -> io::Result<()> {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|entry| entry.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for line in lines {
        let entries = line.iter().zip(&widths).enumerate().map(|(column, (entry, width))| {
            if column < names { format!("{entry:<width$}") } else { format!("{entry:>width$}") }
        });
        writeln!(out, "{}", entries.collect::<Vec<String>>().join("  ").trim_end())?;
    }
    Ok(())
}
