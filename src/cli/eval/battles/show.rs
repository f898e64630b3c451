//! What was measured on battles, as a table and as a picture.

use std::io::{self, Write};
use std::path::Path;

use super::{Difference, Measured, Measures, OfRouter, Report};
use crate::cli::eval::plot::{self, Chart, Line};
use crate::cli::output::{Failure, thousands};

pub(super) fn table(out: &mut impl Write, report: &Report) -> io::Result<()> {
    let [battles, prompts] = [report.battles, report.prompts].map(|count| thousands(count as u64));
    writeln!(out, "{battles} battles on {prompts} prompts")?;
    writeln!(
        out,
        "left out: {} prompts trained on, {} battles of {} models that a router does not know",
        thousands(report.dropped_trained as u64),
        thousands(report.dropped_unknown as u64),
        report.unknown_models.len()
    )?;
    writeln!(
        out,
        "log-losses are of one battle, natural logarithm; even odds: {:.4}\n\
         weights of battles: {}\n\
         scale: what log-odds are multiplied by, those of the router and of the global ratings. Of sources that a router was \
         trained on: its labels'; of others 1, the probabilities as `route` serves them",
        report.random.log_loss, report.battle_weights
    )?;
    for (name, OfRouter { overall, sources, .. }) in &report.routers {
        let width = sources.keys().map(|source| source.chars().count()).max().unwrap_or(0).max(11);
        writeln!(
            out,
            "\n{name:width$}   prompts  log-loss   global  difference, 95 % interval     accuracy   global   calibration error   scale"
        )?;
        for (source, measured) in sources {
            row(out, source, width, measured)?;
        }
        if sources.len() > 1 {
            row(out, "all", width, overall)?;
        }
        writeln!(out, "\n{:width$}   predicted  observed  95 % interval      weight", "calibration")?;
        for point in &overall.router.calibration {
            let [low, high] = point.ci95;
            let (predicted, observed, weight) = (point.predicted, point.observed, point.weight);
            writeln!(
                out,
                "{:width$}   {predicted:>9.3}  {observed:>8.3}  {low:.3} to {high:.3}  {weight:>10.0}",
                ""
            )?;
        }
    }
    Ok(())
}

fn row(out: &mut impl Write, source: &str, width: usize, measured: &Measured) -> io::Result<()> {
    let Measured { prompts, router, global, log_loss_difference, .. } = measured;
    let Difference { mean, ci95: [low, high] } = log_loss_difference;
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.4}"));
    let scale = measured.label_scale.map_or_else(|| "–".to_owned(), |scale| format!("{scale:.3}"));
    writeln!(
        out,
        "{source:width$}  {:>8}  {:>8.4} {:>8.4}  {mean:+.4} [{low:+.4}, {high:+.4}]  {:>8} {:>8}  {:>18.4}  {scale:>6}",
        thousands(*prompts as u64),
        router.log_loss,
        global.log_loss,
        number(router.accuracy),
        number(global.accuracy),
        router.calibration_error
    )
}

pub(super) fn draw(file: &Path, report: &Report) -> Result<(), Failure> {
    let diagonal = Line {
        label: "what is predicted happens".to_owned(),
        points: vec![(0.0, 0.0), (1.0, 1.0)],
        band: Vec::new(),
        is_baseline: true,
        has_dots: false,
    };
    let of_routers =
        report.routers.iter().map(|(name, of)| line(name, &of.overall.router, !of.is_baseline, false));
    // Routers of the same data share their ratings; the first one's stand for all.
    let of_global =
        report.routers.values().next().map(|of| line("global ratings", &of.overall.global, false, true));
    let chart = Chart {
        title: format!("calibration on {} battles of {} prompts", report.battles, report.prompts),
        across: "predicted win probability".to_owned(),
        up: "observed share of wins, ties counting half".to_owned(),
        lines: of_routers.chain(of_global).chain([diagonal]).collect(),
        dots_are: "",
        dots: Vec::new(),
    };
    plot::write(file, &chart)
}

fn line(name: &str, measures: &Measures, has_band: bool, is_baseline: bool) -> Line {
    let points = measures.calibration.iter();
    let band = points.clone().map(|point| (point.predicted, point.ci95[0], point.ci95[1]));
    Line {
        label: format!("{name}, log-loss {:.4}", measures.log_loss),
        points: points.map(|point| (point.predicted, point.observed)).collect(),
        band: if has_band { band.collect() } else { Vec::new() },
        is_baseline,
        has_dots: true,
    }
}
