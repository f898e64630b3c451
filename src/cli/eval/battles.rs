//! Battles: how well win probabilities fit what was judged.

mod show;

use std::collections::{BTreeMap, BTreeSet};

use pointsman_routers::SkillMatrix;
use pointsman_routers::data::{Battle, Dataset, Prompt, ReadOptions};
use pointsman_routers::evaluate::{BattleMeasures, Bin, Fit, Interval, PredictedBattle, measure_battles};
use pointsman_routers::split::PromptHash;
use pointsman_routers::train::routing_text;
use serde::Serialize;

use super::routers::{Subject, Subjects};
use super::{Arguments, HINT_TRAINED};
use crate::cli::data;
use crate::cli::output::Failure;

/// What is written for programs.
#[derive(Serialize)]
struct Report {
    benchmark: &'static str,
    prompts: usize,
    battles: usize,
    /// Prompts that a router was trained on.
    dropped_trained: usize,
    /// Battles of models that a router does not know.
    dropped_unknown: usize,
    unknown_models: Vec<String>,
    /// What a battle counts for.
    battle_weights: &'static str,
    /// Even odds.
    random: Even,
    routers: BTreeMap<String, OfRouter>,
}

#[derive(Serialize)]
struct Even {
    log_loss: f64,
    accuracy: f64,
}

/// One router, over all and by source.
#[derive(Serialize)]
struct OfRouter {
    #[serde(skip)]
    is_baseline: bool,
    overall: Measured,
    sources: BTreeMap<String, Measured>,
}

/// One router on some battles.
#[derive(Serialize)]
struct Measured {
    prompts: usize,
    battles: usize,
    decisive: usize,
    /// What the router's and the ratings' log-odds are multiplied by; null over several sources.
    label_scale: Option<f64>,
    /// Where that comes from.
    label_scale_of: &'static str,
    #[serde(flatten)]
    router: Measures,
    /// The global ratings, at the same scale.
    global: Measures,
    log_loss_difference: Difference,
    accuracy_difference: Option<Difference>,
}

#[derive(Serialize)]
struct Measures {
    log_loss: f64,
    accuracy: Option<f64>,
    calibration_error: f64,
    calibration: Vec<Point>,
}

/// A bin of a calibration curve.
#[derive(Serialize)]
struct Point {
    predicted: f64,
    observed: f64,
    ci95: [f64; 2],
    weight: f64,
}

/// The router less the global ratings.
#[derive(Serialize)]
struct Difference {
    mean: f64,
    ci95: [f64; 2],
}

/// The battles that are measured on.
struct Field {
    data: Dataset,
    battles: Vec<Battle>,
    /// The models of the battles, by their places in the data.
    models: Vec<u16>,
    /// The prompts of the battles, ascending.
    prompts: Vec<u32>,
    dropped_trained: usize,
    dropped_unknown: usize,
    unknown: BTreeSet<u16>,
}

/// What a battle counts for.
const BATTLE_WEIGHTS: &str = "1 if judged, 2/k if it follows from a row with k scored models";
/// Where a scale comes from: a source that the router was trained on has that of its labels; for any other the
/// probabilities are those that are served.
const SCALE_TRAINED: &str = "artefact";
const SCALE_SERVED: &str = "as served";
const SCALE_BY_SOURCE: &str = "by source";

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (data, _) = data::read("--data", &arguments.data, &ReadOptions::default())?;
    let mut subjects = Subjects::load(arguments)?;
    let field = Field::new(data, &subjects)?;
    let texts: Vec<String> = field
        .prompts
        .iter()
        .filter_map(|&at| field.data.prompts.get(at as usize).map(routing_text))
        .collect();
    let names: Vec<&str> = field.models.iter().map(|&model| field.name(model)).collect();
    subjects.keep_fit(&names, &field.hashes());
    let prompts = subjects.read(arguments, &texts)?;
    let mut routers = BTreeMap::new();
    for subject in &subjects.all {
        let candidates = subject.place(&names)?;
        let skills = subject.score(&prompts, &candidates)?;
        let prior: Vec<f64> = candidates.iter().map(|candidate| subject.prior(candidate)).collect();
        if let Some(measured) = field.measure(subject, &skills, &prior) {
            routers.insert(subject.name.clone(), measured);
        }
    }
    let report = Report {
        benchmark: "battles",
        prompts: field.prompts.len(),
        battles: field.battles.len(),
        dropped_trained: field.dropped_trained,
        dropped_unknown: field.dropped_unknown,
        unknown_models: field.unknown.iter().map(|&model| field.name(model).to_owned()).collect(),
        battle_weights: BATTLE_WEIGHTS,
        random: Even { log_loss: std::f64::consts::LN_2, accuracy: 0.5 },
        routers,
    };
    if let Some(file) = &arguments.plot {
        show::draw(file, &report)?;
    }
    super::write(arguments.format, &report, |out| show::table(out, &report))
}

impl Field {
    fn new(data: Dataset, subjects: &Subjects) -> Result<Self, Failure> {
        let all = data.battles(|_| true);
        if all.is_empty() {
            return Err(Failure::Because(
                "--data holds no battles with prompts: give battle rows, or outcomes of several models"
                    .to_owned(),
            ));
        }
        let hash = |battle: &Battle| data.prompts.get(battle.prompt as usize).map(|prompt| prompt.hash());
        let is_trained = |battle: &&Battle| hash(battle).is_some_and(|hash| subjects.trained.contains(&hash));
        let trained: BTreeSet<u32> = all.iter().filter(is_trained).map(|battle| battle.prompt).collect();
        let is_known = |name: &String| subjects.asked().all(|subject| subject.find(name).is_some());
        let known: Vec<bool> = data.models.iter().map(is_known).collect();
        let knows = |model: u16| known.get(usize::from(model)).copied().unwrap_or_default();
        let new: Vec<&Battle> = all.iter().filter(|battle| !trained.contains(&battle.prompt)).collect();
        let unknown: BTreeSet<u16> = new
            .iter()
            .flat_map(|battle| [battle.model_a, battle.model_b])
            .filter(|&model| !knows(model))
            .collect();
        let battles: Vec<Battle> = new
            .iter()
            .filter(|battle| knows(battle.model_a) && knows(battle.model_b))
            .map(|battle| **battle)
            .collect();
        if battles.is_empty() {
            return Err(Failure::Because(format!(
                "no battle is left: {} prompts are ones that a router was trained on, {} battles are of models that one does not know. {HINT_TRAINED}",
                trained.len(),
                new.len()
            )));
        }
        let models: BTreeSet<u16> =
            battles.iter().flat_map(|battle| [battle.model_a, battle.model_b]).collect();
        let prompts: BTreeSet<u32> = battles.iter().map(|battle| battle.prompt).collect();
        Ok(Self {
            dropped_trained: trained.len(),
            dropped_unknown: new.len() - battles.len(),
            unknown,
            models: models.into_iter().collect(),
            prompts: prompts.into_iter().collect(),
            battles,
            data,
        })
    }

    /// Hashes of the prompts.
    fn hashes(&self) -> BTreeSet<PromptHash> {
        let prompts = self.prompts.iter().filter_map(|&at| self.data.prompts.get(at as usize));
        prompts.map(Prompt::hash).collect()
    }

    fn name(&self, model: u16) -> &str {
        self.data.models.get(usize::from(model)).map_or("", String::as_str)
    }

    /// `skills` has a row per prompt and a column per model of the field, `prior` θ⁰ of each such model.
    fn measure(&self, subject: &Subject, skills: &SkillMatrix, prior: &[f64]) -> Option<OfRouter> {
        let mut by_source: BTreeMap<u16, Vec<PredictedBattle>> = BTreeMap::new();
        for battle in &self.battles {
            let row = self.prompts.binary_search(&battle.prompt).ok()?;
            let a = self.models.binary_search(&battle.model_a).ok()?;
            let b = self.models.binary_search(&battle.model_b).ok()?;
            by_source.entry(battle.source).or_default().push(PredictedBattle {
                prompt: battle.prompt,
                share: f64::from(battle.share),
                weight: f64::from(battle.weight),
                router: skills[(row, a)] - skills[(row, b)],
                global: prior.get(a)? - prior.get(b)?,
            });
        }
        let (mut sources, mut all) = (BTreeMap::new(), Vec::with_capacity(self.battles.len()));
        for (source, mut battles) in by_source {
            let name = self.data.sources.get(usize::from(source))?;
            let known = subject.label_scales.get(name).copied();
            let (scale, of) = known.map_or((1.0, SCALE_SERVED), |scale| (scale, SCALE_TRAINED));
            for battle in &mut battles {
                battle.router *= scale;
                battle.global *= scale;
            }
            sources.insert(name.clone(), Measured::new(measure_battles(&battles)?, Some(scale), of));
            all.extend(battles);
        }
        all.sort_by_key(|battle| battle.prompt);
        let overall = Measured::new(measure_battles(&all)?, None, SCALE_BY_SOURCE);
        Some(OfRouter { is_baseline: subject.is_baseline, overall, sources })
    }
}

impl Measured {
    fn new(measures: BattleMeasures, label_scale: Option<f64>, label_scale_of: &'static str) -> Self {
        let BattleMeasures { prompts, battles, decisive, router, global, .. } = measures;
        Self {
            prompts,
            battles,
            decisive,
            label_scale,
            label_scale_of,
            router: router.into(),
            global: global.into(),
            log_loss_difference: measures.log_loss_difference.into(),
            accuracy_difference: measures.accuracy_difference.map(Difference::from),
        }
    }
}

impl From<Fit> for Measures {
    fn from(fit: Fit) -> Self {
        let Fit { log_loss, accuracy, calibration_error, calibration } = fit;
        Self {
            log_loss,
            accuracy,
            calibration_error,
            calibration: calibration.into_iter().map(Point::from).collect(),
        }
    }
}

impl From<Bin> for Point {
    fn from(Bin { predicted, observed, weight }: Bin) -> Self {
        Self { predicted, observed: observed.mean, ci95: [observed.low, observed.high], weight }
    }
}

impl From<Interval> for Difference {
    fn from(Interval { mean, low, high }: Interval) -> Self {
        Self { mean, ci95: [low, high] }
    }
}
