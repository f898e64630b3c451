//! Prints the tables of the model card: `evaluate ROUTER,… SEED,… SHARE FILE…`, over the data files that the card lists. A router is
//! a kind, such as `mf`, on the embedder in the binary, or `kind@DIR` on the encoder in a folder, such as
//! `bert@all-MiniLM-L6-v2`, or `causal@PATH` on a language model. Measured is a share of the held-out prompts, 1 for all. Some minutes for each router,
//! of `causal` an hour for a quarter; the card has the seeds 1,2,3,4,5.

mod causal;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;

use causal::Causal;
use faer::Mat;
use pointsman_routers::data::{Dataset, DatasetBuilder, PresentationOrders, Prompt, ReadOptions, Singles};
use pointsman_routers::embed::{Embedder, default_static};
use pointsman_routers::encoder::Encoder;
use pointsman_routers::evaluate::{
    ChoiceRow, Interval, PairQuality, Pool, Report, Strategy, evaluate, measure_pair,
};
use pointsman_routers::split::{Side, Split};
use pointsman_routers::train::{Material, Origin, Part, Recipe, Trained, embed_prompts, train};

/// Chooses the prompts that are measured, where not all are.
const MEASURED_SEED: u64 = 77;

/// The pair whose win rate orders prompts.
const PAIR: [&str; 2] = ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"];

/// What every router is compared with, and what the tables call it.
const BASELINES: [(Strategy, &str); 4] = [
    (Strategy::Neighbours, "100 nearest neighbours, this source alone"),
    (Strategy::Clusters, "25 clusters, this source alone"),
    (Strategy::DatasetOracle, "best model of the task (the task being told)"),
    (Strategy::Oracle, "best model of the prompt"),
];

/// A router, measured.
struct Measured {
    /// Its kind, and where it reads with an encoder, the name of that.
    name: String,
    report: Report,
    /// APGR under each seed, by set of prompts.
    areas: Vec<(String, Vec<f64>)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [routers, seeds, share, files @ ..] = &arguments[..] else {
        return Err("usage: evaluate ROUTER,… SEED,… SHARE FILE…".into());
    };
    let share: f64 = share.parse()?;
    // Another split than those of the seeds.
    let measured_split = Split::new(MEASURED_SEED);
    let is_measured =
        |prompt: &Prompt| share >= 1.0 || measured_split.side(prompt.hash(), share) == Side::Dev;
    let seeds: Vec<u64> = seeds.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let mut builder = DatasetBuilder::new();
    for file in files {
        builder.read_file(Path::new(file), &ReadOptions::default(), &mut |_| ())?;
    }
    let data = builder.finish(PresentationOrders::United(Singles::Drop));
    let mut embedded: BTreeMap<Option<&str>, Embedded> = BTreeMap::new();
    let mut measured = Vec::new();
    for router in routers.split(',') {
        let (kind, encoder) = router.split_once('@').map_or((router, None), |(kind, of)| (kind, Some(of)));
        let how = match (kind, encoder) {
            ("causal", Some(path)) => How::Asked(Causal::load(Path::new(path))?),
            _ => How::Trained(Recipe::of(kind).ok_or_else(|| format!("`{kind}` is not trained"))?),
        };
        let embedder = encoder.filter(|_| kind != "causal");
        let embedded = match embedded.entry(embedder) {
            Entry::Occupied(made) => made.into_mut(),
            Entry::Vacant(wanted) => wanted.insert(Embedded::new(&data, embedder)?),
        };
        let folder = encoder.and_then(|encoder| Path::new(encoder).file_name()).map(|name| name.display());
        let name = folder.map_or_else(|| format!("`{kind}`"), |folder| format!("`{kind}`, {folder}"));
        eprintln!("{name}");
        measured.push(measure((&data, &is_measured), &how, embedded, &seeds, name)?);
    }
    let mut out = stdout().lock();
    write_losses(&mut out, &measured)?;
    write_choices(&mut out, &measured, Pool::Whole)?;
    write_choices(&mut out, &measured, Pool::WithoutBestFifth)?;
    write_areas(&mut out, &measured)?;
    Ok(())
}

/// The prompts as one embedder reads them.
struct Embedded {
    fingerprint: String,
    embeddings: Mat<f32>,
}

impl Embedded {
    fn new(data: &Dataset, encoder: Option<&str>) -> Result<Self, Box<dyn Error>> {
        let embedder: Box<dyn Embedder> = match encoder {
            None => Box::new(default_static()?),
            Some(folder) => Box::new(Encoder::load(Path::new(folder))?),
        };
        let embeddings = embed_prompts(data, &*embedder, &mut |_| ())?;
        Ok(Self { fingerprint: embedder.fingerprint().to_owned(), embeddings })
    }
}

/// How a router comes about.
enum How {
    Trained(Recipe),
    Asked(Causal),
}

fn measure(
    (data, is_measured): (&Dataset, &(dyn Fn(&Prompt) -> bool + Sync)),
    how: &How,
    embedded: &Embedded,
    seeds: &[u64],
    name: String,
) -> Result<Measured, Box<dyn Error>> {
    let Embedded { fingerprint, embeddings } = embedded;
    let origin = Origin { embedder: fingerprint.clone(), sources: Vec::new() };
    let trained = |part: &(dyn Fn(&Prompt) -> Part + Sync), seed: u64| match how {
        How::Trained(recipe) => {
            train(recipe, &Material { data, embeddings, origin: &origin, part, seed }, &|_, _| ())
        }
        How::Asked(causal) => {
            let is_measured = |prompt: &Prompt| part(prompt) == Part::Unused && is_measured(prompt);
            causal.train(data, part, &is_measured, seed)
        }
    };
    let mut areas: Vec<(String, Vec<f64>)> = Vec::new();
    let report = evaluate(data, embeddings, &trained, seeds, &is_measured, &mut |trained, is_test| {
        for (source, area) in pair_areas(data, trained, is_test) {
            match areas.iter_mut().find(|(of, _)| *of == source) {
                Some((_, all)) => all.push(area),
                None => areas.push((source, vec![area])),
            }
        }
        let Trained { temperature, settings, scales, .. } = trained;
        eprintln!("temperature {temperature:.3}, {settings:?}, scales {scales:?}");
    })?;
    Ok(Measured { name, report, areas })
}

fn write_losses(out: &mut impl Write, measured: &[Measured]) -> std::io::Result<()> {
    writeln!(
        out,
        "Log-loss of held-out battles; below it the difference from the global Bradley–Terry fit of the same training \
         prompts, and that by seed:\n"
    )?;
    write_head(out, &["source", "prompts", "global fit"], measured)?;
    for (place, row) in measured.first().map_or(&[][..], |first| &first.report.losses).iter().enumerate() {
        write!(out, "| {} | {} | {:.4} |", row.source, row.prompts, row.global)?;
        for router in measured {
            let Some(row) = router.report.losses.get(place) else { continue };
            let by_seed = listed(&row.by_seed, 1.0, 4);
            write!(out, " {:.4}<br>{}<br>{by_seed} |", row.router, interval(row.difference, 1.0, 4))?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}

fn write_choices(out: &mut impl Write, measured: &[Measured], pool: Pool) -> std::io::Result<()> {
    let whose = match pool {
        Pool::Whole => "",
        Pool::WithoutBestFifth => ", once the best fifth of its models is taken away",
    };
    writeln!(
        out,
        "Mean score of the chosen model (price aside) in points above the best single model picked on the training \
         side{whose}:\n"
    )?;
    writeln!(out, "| source | who chooses | score | gain | by seed |\n|---|---|---|---|---|")?;
    let rows = |of: &Measured| -> Vec<ChoiceRow> {
        of.report.choices.iter().filter(|row| row.pool == pool).cloned().collect()
    };
    let by_router: Vec<Vec<ChoiceRow>> = measured.iter().map(rows).collect();
    let Some(first) = by_router.first() else { return Ok(()) };
    // Where GPT-4 gave the scores, itself is the best on almost every prompt.
    let mut sources: Vec<&str> =
        first.iter().map(|row| &row.source[..]).filter(|source| !source.starts_with("arena")).collect();
    sources.dedup();
    for source in sources {
        let mut write = |rows: &[ChoiceRow], strategy, name: &str| match rows
            .iter()
            .find(|row| row.source == source && row.strategy == strategy)
        {
            Some(row) => writeln!(
                out,
                "| {source} | {name} | {:.4} | {} | {} |",
                row.score,
                interval(row.gain, 100.0, 2),
                listed(&row.by_seed, 100.0, 2)
            ),
            None => Ok(()),
        };
        for (router, rows) in measured.iter().zip(&by_router) {
            write(rows, Strategy::Router, &format!("**{}**", router.name))?;
        }
        for (strategy, name) in BASELINES {
            write(first, strategy, name)?;
        }
    }
    writeln!(out)
}

fn write_areas(out: &mut impl Write, measured: &[Measured]) -> std::io::Result<()> {
    writeln!(
        out,
        "APGR of {} over {} on held-out prompts, 0.5 by lot: of the two models' own scores, or, `tiers`, of the gap \
         between the source's upper and lower models (on llmrouter the prompts of gsm8k, whose models are others). Mean, \
         and by seed:\n",
        PAIR[0], PAIR[1]
    )?;
    write_head(out, &["prompts"], measured)?;
    for (place, (source, _)) in measured.first().map_or(&[][..], |first| &first.areas).iter().enumerate() {
        write!(out, "| {source} |")?;
        for (_, by_seed) in measured.iter().filter_map(|router| router.areas.get(place)) {
            let mean = by_seed.iter().sum::<f64>() / by_seed.len() as f64;
            let by_seed: Vec<String> = by_seed.iter().map(|area| format!("{area:.3}")).collect();
            write!(out, " {mean:.3}<br>{} |", by_seed.join(" "))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The head of a table with a column for each router.
fn write_head(out: &mut impl Write, first: &[&str], measured: &[Measured]) -> std::io::Result<()> {
    let names = first.iter().copied().chain(measured.iter().map(|router| &router.name[..]));
    let names: Vec<&str> = names.collect();
    writeln!(out, "| {} |\n|{}", names.join(" | "), "---|".repeat(names.len()))
}

/// APGR on the held-out prompts of each source that scores both models; and where none of its models is one of the two,
/// for school mathematics, the win rate of the two over the gap between the source's upper and lower models.
fn pair_areas(data: &Dataset, trained: &Trained, is_test: &dyn Fn(&Prompt) -> bool) -> Vec<(String, f64)> {
    let Some([strong, weak]) = PAIR
        .map(|name| data.model(name))
        .into_iter()
        .collect::<Option<Vec<_>>>()
        .and_then(|pair| <[usize; 2]>::try_from(pair).ok())
    else {
        return Vec::new();
    };
    let mut areas = Vec::new();
    let gap_of =
        |prompt: u32| trained.skills[(prompt as usize, strong)] - trained.skills[(prompt as usize, weak)];
    for (number, source) in data.sources.iter().enumerate() {
        let mut pairs = Vec::new();
        let mut tiers = Vec::new();
        for outcomes in &data.outcomes {
            let prompt = &data.prompts[outcomes.prompt as usize];
            if usize::from(prompt.source) != number || !is_test(prompt) {
                continue;
            }
            let score = |model: usize| outcomes.score_of(model).map(|score| score.score);
            if let (Some(strong), Some(weak)) = (score(strong), score(weak)) {
                pairs.push((gap_of(outcomes.prompt), strong, weak));
            }
            if prompt.category.as_deref() == Some("gsm8k") || source.starts_with("arena") {
                let mut ranked: Vec<(f64, f64)> = outcomes
                    .scores
                    .iter()
                    .map(|score| (trained.global.skills[usize::from(score.model)], score.score))
                    .collect();
                ranked.sort_by(|one, other| other.0.total_cmp(&one.0));
                let top = if source.starts_with("arena") { 2 } else { ranked.len() / 2 };
                let mean = |some: &[(f64, f64)]| {
                    some.iter().map(|one| one.1).sum::<f64>() / some.len().max(1) as f64
                };
                tiers.push((gap_of(outcomes.prompt), mean(&ranked[..top]), mean(&ranked[top..])));
            }
        }
        for (name, of) in [("pair", pairs), ("tiers", tiers)] {
            if of.is_empty() {
                continue;
            }
            let scores: Vec<f64> = of.iter().map(|one| one.0).collect();
            let qualities: Vec<PairQuality> =
                of.iter().map(|&(_, strong, weak)| PairQuality { strong, weak }).collect();
            let measured = measure_pair(&scores, &qualities);
            areas.push((format!("{source}, {name}"), measured.apgr.unwrap_or(f64::NAN)));
        }
    }
    areas
}

fn interval(of: Interval, factor: f64, digits: usize) -> String {
    let [mean, low, high] = [of.mean, of.low, of.high].map(|value| factor * value);
    format!("{mean:+.digits$} [{low:+.digits$}, {high:+.digits$}]")
}

fn listed(values: &[f64], factor: f64, digits: usize) -> String {
    values.iter().map(|value| format!("{:+.digits$}", factor * value)).collect::<Vec<_>>().join(" ")
}
