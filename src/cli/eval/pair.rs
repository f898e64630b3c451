//! RouteLLM's benchmarks: two models.

use std::collections::BTreeMap;
use std::io::{self, Write};

use pointsman_routers::benchmark::{Benchmark, Question};
use pointsman_routers::evaluate::{PairCurve, PairMeasures, PairQuality, measure_pair, measure_random};
use pointsman_routers::select::win_probability;
use pointsman_routers::split::prompt_hash;
use serde::Serialize;

use super::Arguments;
use super::plot::{self, Line};
use super::routers::{LENGTH, Subjects};
use crate::cli::Format;
use crate::cli::output::{Failure, write_file};

/// What is written for programs.
#[derive(Serialize)]
struct Report<'a> {
    benchmark: &'static str,
    questions: usize,
    dropped_trained: usize,
    dropped_contaminated: usize,
    rejected_rows: usize,
    strong: &'a str,
    weak: &'a str,
    strong_quality: f64,
    weak_quality: f64,
    /// Whether the model called strong is the weaker one here.
    strong_is_weaker: bool,
    routers: BTreeMap<&'a str, Measured>,
}

/// One router's line.
#[derive(Serialize)]
struct Measured {
    apgr: Option<f64>,
    apgr_ci95: Option<[f64; 2]>,
    apgr_11pt: Option<f64>,
    cpt50: Option<f64>,
    cpt80: Option<f64>,
    /// (share of the strong model, mean quality) at every question.
    curve: Vec<(f64, f64)>,
}

pub(super) fn run(arguments: &Arguments, benchmark: Benchmark) -> Result<(), Failure> {
    let [folder] = &arguments.data[..] else {
        return Err(Failure::Usage("--data takes one folder for this benchmark".to_owned()));
    };
    let (strong, weak) = (arguments.strong.as_str(), arguments.weak.as_str());
    let read = benchmark.read(folder, strong, weak).map_err(Failure::because)?;
    read.examples.iter().for_each(|example| tracing::warn!("{example}"));
    let subjects = Subjects::load(arguments)?;
    let before = read.questions.len();
    let is_new = |question: &&Question| {
        !question.turns.first().is_some_and(|turn| subjects.trained.contains(&prompt_hash(turn)))
    };
    let questions: Vec<&Question> = read.questions.iter().filter(is_new).collect();
    if questions.is_empty() {
        return Err(Failure::Because("every question is one that a router was trained on".to_owned()));
    }
    let qualities: Vec<PairQuality> = questions.iter().map(|question| question.quality).collect();
    let texts: Vec<&str> =
        questions.iter().filter_map(|question| question.turns.first().map(String::as_str)).collect();
    let mut measured = BTreeMap::new();
    for subject in &subjects.all {
        if subject.name == "random" {
            measured.insert("random", entry(measure_random(&qualities), PairCurve::random(&qualities)));
            continue;
        }
        let candidates = Subjects::place(subject, &[strong, weak])?;
        let skills = subject.score(&texts, &candidates)?;
        let scores: Vec<f64> = skills.row_iter().map(|row| win_probability(row[0], row[1])).collect();
        let curve = PairCurve::new(&scores, &qualities);
        measured.insert(&subject.name, entry(measure_pair(&scores, &qualities), curve));
    }
    let lengths: Vec<f64> = texts.iter().map(|text| text.chars().count() as f64).collect();
    let curve = PairCurve::new(&lengths, &qualities);
    measured.insert(LENGTH, entry(measure_pair(&lengths, &qualities), curve));
    let whole = PairCurve::random(&qualities);
    let report = Report {
        benchmark: benchmark.name(),
        questions: questions.len(),
        dropped_trained: before - questions.len(),
        dropped_contaminated: read.contaminated,
        rejected_rows: read.rejected,
        strong,
        weak,
        strong_quality: whole.strong(),
        weak_quality: whole.weak(),
        strong_is_weaker: whole.strong() < whole.weak(),
        routers: measured,
    };
    if let Some(file) = &arguments.plot {
        draw(file, &report, benchmark)?;
    }
    let mut stdout = io::stdout().lock();
    match arguments.format {
        Format::Json => {
            serde_json::to_writer(&mut stdout, &report).map_err(io::Error::from)?;
            writeln!(stdout)?;
        }
        Format::Text => table(&mut stdout, &report)?,
    }
    Ok(())
}

fn entry(measures: PairMeasures, curve: PairCurve) -> Measured {
    let PairMeasures { apgr, apgr_interval, apgr_of_paper, cpt50, cpt80 } = measures;
    Measured { apgr, apgr_ci95: apgr_interval, apgr_11pt: apgr_of_paper, cpt50, cpt80, curve: curve.points }
}

fn table(out: &mut impl Write, report: &Report<'_>) -> io::Result<()> {
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
    writeln!(out, "{:width$}   APGR   95 % interval     11 points   CPT 50 %   CPT 80 %", "router")?;
    let mut rows: Vec<(&&str, &Measured)> = report.routers.iter().collect();
    rows.sort_by(|one, other| other.1.apgr.unwrap_or(0.0).total_cmp(&one.1.apgr.unwrap_or(0.0)));
    let number = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
    for (name, row) in rows {
        let interval =
            row.apgr_ci95.map_or_else(|| "–".to_owned(), |[low, high]| format!("{low:.3} to {high:.3}"));
        let (apgr, paper) = (number(row.apgr), number(row.apgr_11pt));
        let (half, most) = (number(row.cpt50), number(row.cpt80));
        writeln!(out, "{name:width$}  {apgr:>5}  {interval:>14}  {paper:>11}  {half:>9}  {most:>9}")?;
    }
    Ok(())
}

fn draw(file: &std::path::Path, report: &Report<'_>, benchmark: Benchmark) -> Result<(), Failure> {
    let lines: Vec<Line<'_>> = report
        .routers
        .iter()
        .map(|(name, measured)| Line {
            label: measured.apgr.map_or_else(|| (*name).to_owned(), |apgr| format!("{name}, APGR {apgr:.3}")),
            points: &measured.curve,
            is_baseline: matches!(*name, "random" | LENGTH),
        })
        .collect();
    let chart = plot::Chart {
        title: format!("{}: {} questions", report.benchmark, report.questions),
        across: format!("share of questions answered by {}", report.strong),
        up: benchmark.unit().to_owned(),
        lines: &lines,
    };
    let svg = plot::draw(&chart)
        .map_err(|error| Failure::Because(format!("{} cannot be drawn: {error}", file.display())))?;
    write_file(file, svg.as_bytes())
}
