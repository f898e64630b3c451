//! RouteLLM's benchmarks: two models.

mod show;

use std::cmp::Ordering;
use std::collections::BTreeMap;

use pointsman_routers::benchmark::{Benchmark, Question};
use pointsman_routers::evaluate::{
    PairCurve, PairMeasures, PairQuality, measure_pair, measure_random, quality_band,
};
use pointsman_routers::identity;
use pointsman_routers::select::win_probability;
use pointsman_routers::split::prompt_hash;
use serde::Serialize;

use super::routers::{LENGTH, ORACLE, RANDOM, Subjects};
use super::{Arguments, HINT_TRAINED};
use crate::cli::files;
use crate::cli::output::Failure;

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
    /// (share, low, high): the interval of the quality, for the plot.
    #[serde(skip)]
    band: Vec<(f64, f64, f64)>,
}

/// What `--data` names.
const EXPECTED: &str = "the folder of the benchmark's files, under their own names";

pub(super) fn run(arguments: &Arguments, benchmark: Benchmark) -> Result<(), Failure> {
    let [folder] = &arguments.data[..] else {
        return Err(Failure::Usage("--data takes one folder for this benchmark".to_owned()));
    };
    let (strong, weak) = (arguments.strong.as_str(), arguments.weak.as_str());
    if identity::canonical(strong) == identity::canonical(weak) {
        return Err(Failure::Usage(format!("--strong and --weak are one model, {strong}: give two")));
    }
    files::expect("--data", folder, EXPECTED)?;
    let read = benchmark.read(folder, strong, weak).map_err(Failure::because)?;
    read.examples.iter().for_each(|example| tracing::warn!("{example}"));
    let mut subjects = Subjects::load(arguments)?;
    let before = read.questions.len();
    let is_new = |question: &&Question| {
        !question.turns.first().is_some_and(|turn| subjects.trained.contains(&prompt_hash(turn)))
    };
    let questions: Vec<&Question> = read.questions.iter().filter(is_new).collect();
    if questions.is_empty() {
        return Err(Failure::Because(format!(
            "no question is left: {} are contaminated, {before} are of prompts that a router was trained on. {HINT_TRAINED}",
            read.contaminated
        )));
    }
    let qualities: Vec<PairQuality> = questions.iter().map(|question| question.quality).collect();
    let texts: Vec<String> =
        questions.iter().filter_map(|question| question.turns.first().cloned()).collect();
    subjects.keep_fit(&[strong, weak], &texts.iter().map(|text| prompt_hash(text)).collect());
    let mut measured = baselines(&texts, &qualities, subjects.compare(strong, weak));
    let prompts = subjects.read(arguments, &texts)?;
    for subject in &subjects.all {
        let candidates = subject.place(&[strong, weak])?;
        let skills = subject.score(&prompts, &candidates)?;
        let scores: Vec<f64> = skills.row_iter().map(|row| win_probability(row[0], row[1])).collect();
        // Shades are for routers: those of baselines would hide them.
        let has_band = arguments.plot.is_some() && !subject.is_baseline;
        measured.insert(&subject.name, by_scores(&scores, &qualities, has_band));
    }
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
        show::draw(file, &report, benchmark)?;
    }
    super::write(arguments.format, &report, |out| show::table(out, &report))
}

/// What needs no training: lots, the length of the prompt, and knowing the answers. `rated` says how the strong model's
/// global rating compares with the weak one's: the long prompts go to the model that is rated higher, whichever is called
/// strong; to neither rather than the other where the ratings don't say.
fn baselines<'a>(
    texts: &[String],
    qualities: &[PairQuality],
    rated: Option<Ordering>,
) -> BTreeMap<&'a str, Measured> {
    let sign = match rated {
        Some(Ordering::Greater) => 1.0,
        Some(Ordering::Less) => -1.0,
        Some(Ordering::Equal) | None => 0.0,
    };
    let lengths: Vec<f64> = texts.iter().map(|text| sign * text.chars().count() as f64).collect();
    let gains: Vec<f64> = qualities.iter().map(|quality| quality.strong - quality.weak).collect();
    let without_band = |scores: &[f64]| by_scores(scores, qualities, false);
    BTreeMap::from([
        (RANDOM, entry(measure_random(qualities), PairCurve::random(qualities), Vec::new())),
        (LENGTH, without_band(&lengths)),
        (ORACLE, without_band(&gains)),
    ])
}

/// A router that gives the strong model these scores.
fn by_scores(scores: &[f64], qualities: &[PairQuality], has_band: bool) -> Measured {
    let band = if has_band { quality_band(scores, qualities) } else { Vec::new() };
    entry(measure_pair(scores, qualities), PairCurve::new(scores, qualities), band)
}

fn entry(measures: PairMeasures, curve: PairCurve, band: Vec<(f64, f64, f64)>) -> Measured {
    let PairMeasures { apgr, apgr_interval, apgr_of_paper, cpt50, cpt80 } = measures;
    let (apgr_ci95, apgr_11pt) = (apgr_interval, apgr_of_paper);
    Measured { apgr, apgr_ci95, apgr_11pt, cpt50, cpt80, curve: curve.points, band }
}
