//! What was measured on rows of scores, as a table and as a picture.

use std::io::{self, Write};
use std::path::Path;

use super::rows::Dropped;
use super::{Measured, Report, Single};
use crate::cli::eval::plot::{self, Chart, Dot, Line};
use crate::cli::eval::routers::RANDOM;
use crate::cli::output::Failure;

pub(super) fn table(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let Dropped { trained, incomplete } = report.dropped;
    writeln!(out, "{} rows, {} models", report.rows, report.pool.len())?;
    writeln!(out, "left out: {trained} trained on, {incomplete} without a score of every model\n")?;
    writeln!(
        out,
        "{:<44} score   points above best single, 95 % interval      AIQ   USD/1k at best single",
        "who chooses"
    )?;
    let best = report.singles.get(&report.best_single).map_or(0.0, |single| single.quality);
    let without_interval = |out: &mut dyn Write, name: &str, quality: f64| {
        writeln!(out, "{name:<44} {quality:.4} {:>+12.2}", 100.0 * (quality - best))
    };
    without_interval(out, &format!("best single: {}", report.best_single), best)?;
    let mut routers: Vec<(&String, &Measured)> = report.routers.iter().collect();
    routers.sort_by(|one, other| one.1.quality.total_cmp(&other.1.quality));
    for (name, measured) in routers {
        row(out, name, measured)?;
    }
    const DATASET_ORACLE: &str = "best model of the category (dataset oracle)";
    match report.dataset_oracle {
        Some(quality) => without_interval(out, DATASET_ORACLE, quality)?,
        None => writeln!(out, "{DATASET_ORACLE:<44} needs --train: files that the models are picked on")?,
    }
    without_interval(out, "best model of the prompt (oracle)", report.oracle)?;
    if report.routers.values().any(|measured| measured.costs.is_some()) {
        writeln!(
            out,
            "\nAIQ and USD/1k at best single are of the concave hull of quality over cost: mixing two settings by lot reaches it"
        )?;
    }
    writeln!(out)?;
    let mut singles: Vec<(&String, &Single)> = report.singles.iter().collect();
    singles.sort_by(|one, other| other.1.quality.total_cmp(&one.1.quality));
    for (name, single) in singles {
        let cost = single.cost_usd.map_or_else(String::new, |usd| format!("   {:.4} USD/1k", 1e3 * usd));
        writeln!(out, "{name:<44} {:.4}{cost}", single.quality)?;
    }
    Ok(())
}

fn row(out: &mut impl Write, name: &str, measured: &Measured) -> io::Result<()> {
    let Measured { quality, gain, gain_ci95: [low, high], costs } = measured;
    let [gain, low, high] = [gain, low, high].map(|value| 100.0 * value);
    write!(out, "{name:<44} {quality:.4} {gain:>+12.2} [{low:+.2}, {high:+.2}]")?;
    if let Some(costs) = costs {
        let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
        let at_best = number(costs.cost_at_best_single.map(|usd| 1e3 * usd));
        write!(out, "   {:>8} {at_best:>14}", number(costs.aiq))?;
    }
    writeln!(out)
}

/// Quality over cost.
pub(super) fn draw(file: &Path, report: &Report) -> Result<(), Failure> {
    let mut lines: Vec<Line> = report.routers.iter().filter_map(|(name, of)| curve(name, of)).collect();
    if lines.is_empty() {
        return Err(Failure::Usage("--plot draws quality over cost: give --prices".to_owned()));
    }
    let dearest = report.singles.values().filter_map(|single| single.cost_usd).fold(0.0, f64::max);
    let level = |label: String, quality: f64| Line {
        label,
        points: vec![(0.0, quality), (1e3 * dearest, quality)],
        band: Vec::new(),
        is_baseline: true,
        has_dots: false,
    };
    let best = report.singles.get(&report.best_single).map_or(0.0, |single| single.quality);
    lines.extend([
        level(format!("oracle {:.3}", report.oracle), report.oracle),
        level(format!("best single {best:.3}"), best),
    ]);
    lines.extend(report.dataset_oracle.map(|quality| level(format!("dataset oracle {quality:.3}"), quality)));
    let mut singles: Vec<(&String, &Single)> = report.singles.iter().collect();
    // The best first: they are the ones to be named.
    singles.sort_by(|one, other| other.1.quality.total_cmp(&one.1.quality));
    let dot = |(name, single): (&String, &Single)| {
        Some(Dot { label: name.clone(), at: (1e3 * single.cost_usd?, single.quality) })
    };
    let chart = Chart {
        title: format!("quality over cost: {} rows, {} models", report.rows, report.pool.len()),
        across: "USD per thousand requests".to_owned(),
        up: "mean score".to_owned(),
        lines,
        dots_are: "single models",
        dots: singles.into_iter().filter_map(dot).collect(),
    };
    plot::write(file, &chart)
}

/// A router's settings by rising cost; lots have one alone.
fn curve(name: &str, measured: &Measured) -> Option<Line> {
    let costs = measured.costs.as_ref()?;
    let mut points: Vec<(f64, f64)> =
        costs.curve.iter().map(|(usd, quality)| (1e3 * usd, *quality)).collect();
    points.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut band: Vec<(f64, f64, f64)> =
        costs.band.iter().map(|&(usd, low, high)| (1e3 * usd, low, high)).collect();
    band.sort_by(|one, other| one.0.total_cmp(&other.0));
    let aiq = costs.aiq.map_or_else(String::new, |aiq| format!(", AIQ {aiq:.3}"));
    let is_baseline = name == RANDOM;
    Some(Line { label: format!("{name}{aiq}"), points, band, is_baseline, has_dots: is_baseline })
}
