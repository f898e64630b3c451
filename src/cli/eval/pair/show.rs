//! What was measured on two models, as a table and as a picture.

use std::io::{self, Write};
use std::path::Path;

use pointsman_routers::benchmark::Benchmark;

use super::{Measured, Report};
use crate::cli::eval::plot::{self, Chart, Line};
use crate::cli::eval::routers::{LENGTH, ORACLE, RANDOM};
use crate::cli::output::Failure;

/// The routers, the best first.
fn ranked<'a>(report: &'a Report<'_>) -> Vec<(&'a str, &'a Measured)> {
    let mut rows: Vec<(&str, &Measured)> =
        report.routers.iter().map(|(name, measured)| (*name, measured)).collect();
    rows.sort_by(|one, other| other.1.apgr.unwrap_or(0.0).total_cmp(&one.1.apgr.unwrap_or(0.0)));
    rows
}

pub(super) fn table(out: &mut impl Write, report: &Report<'_>) -> io::Result<()> {
    let Report { questions, dropped_trained, dropped_contaminated, rejected_rows, .. } = report;
    writeln!(out, "{}: {questions} questions", report.benchmark)?;
    writeln!(
        out,
        "left out: {dropped_trained} trained on, {dropped_contaminated} contaminated, {rejected_rows} rows that could not be read"
    )?;
    writeln!(
        out,
        "{} {:.4}, {} {:.4}\n",
        report.strong, report.strong_quality, report.weak, report.weak_quality
    )?;
    if report.strong_is_weaker {
        writeln!(out, "{} is the weaker model here: its gap is recovered downwards\n", report.strong)?;
    }
    let width = report.routers.keys().map(|name| name.chars().count()).max().unwrap_or(0).max(6);
    writeln!(out, "{:width$}   APGR   95 % interval    11 points   CPT 50 %   CPT 80 %", "router")?;
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
    for (name, row) in ranked(report) {
        let interval =
            row.apgr_ci95.map_or_else(|| "–".to_owned(), |[low, high]| format!("{low:.3} to {high:.3}"));
        let (apgr, paper) = (number(row.apgr), number(row.apgr_11pt));
        let (half, most) = (number(row.cpt50), number(row.cpt80));
        writeln!(out, "{name:width$}  {apgr:>5}  {interval:>14}  {paper:>11}  {half:>9}  {most:>9}")?;
    }
    Ok(())
}

pub(super) fn draw(file: &Path, report: &Report<'_>, benchmark: Benchmark) -> Result<(), Failure> {
    let line = |(name, measured): (&str, &Measured)| Line {
        label: measured.apgr.map_or_else(|| name.to_owned(), |apgr| format!("{name}, APGR {apgr:.3}")),
        points: measured.curve.clone(),
        band: measured.band.clone(),
        is_baseline: [RANDOM, LENGTH, ORACLE].contains(&name),
        has_dots: false,
    };
    let chart = Chart {
        title: format!("{}: {} questions", report.benchmark, report.questions),
        across: format!("share of questions answered by {}", report.strong),
        up: benchmark.unit().to_owned(),
        lines: ranked(report).into_iter().map(line).collect(),
        dots_are: "",
        dots: Vec::new(),
    };
    plot::write(file, &chart)
}
