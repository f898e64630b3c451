//! Prints the tables of the model card: `evaluate KIND ENCODER|- SEED,… FILE…`, over the data files that the card lists; `-`
//! is the embedder in the binary. Some minutes for each seed; the card has 1,2,3,4,5.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;

use pointsman_routers::data::{Dataset, DatasetBuilder, PresentationOrders, Prompt, ReadOptions, Singles};
use pointsman_routers::embed::{Embedder, default_static};
use pointsman_routers::encoder::Encoder;
use pointsman_routers::evaluate::{ChoiceRow, Interval, LossRow, PairQuality, evaluate, measure_pair};
use pointsman_routers::train::{Material, Origin, Part, Recipe, Trained, embed_prompts, train};

/// The pair whose win rate orders prompts.
const PAIR: [&str; 2] = ["gpt-4-1106-preview", "mixtral-8x7b-instruct-v0.1"];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kind, encoder, seeds, files @ ..] = &arguments[..] else {
        return Err("usage: evaluate KIND ENCODER|- SEED,… FILE…".into());
    };
    let seeds: Vec<u64> = seeds.split(',').map(str::parse).collect::<Result<_, _>>()?;
    let mut builder = DatasetBuilder::new();
    for file in files {
        builder.read_file(Path::new(file), &ReadOptions::default(), &mut |_| ())?;
    }
    let data = builder.finish(PresentationOrders::United(Singles::Drop));
    let embedder: Box<dyn Embedder> = if encoder == "-" {
        Box::new(default_static()?)
    } else {
        Box::new(Encoder::load(Path::new(encoder))?)
    };
    let embeddings = embed_prompts(&data, &*embedder, &mut |_| ())?;
    let mut out = stdout().lock();
    let mut areas: Vec<(String, Vec<f64>)> = Vec::new();
    let recipe = Recipe::of(kind).ok_or_else(|| format!("`{kind}` is not trained"))?;
    let origin = Origin { embedder: embedder.fingerprint().to_owned(), sources: Vec::new() };
    let (data, embeddings) = (&data, &embeddings);
    let trained = |part: &(dyn Fn(&Prompt) -> Part + Sync), seed: u64| {
        train(&recipe, &Material { data, embeddings, origin: &origin, part, seed }, &|_, _| ())
    };
    let report = evaluate(data, embeddings, &trained, &seeds, &mut |trained, is_test| {
        for (source, area) in pair_areas(data, trained, is_test) {
            match areas.iter_mut().find(|(of, _)| *of == source) {
                Some((_, all)) => all.push(area),
                None => areas.push((source, vec![area])),
            }
        }
        eprintln!(
            "temperature {:.3}, {:?}, scales {:?}",
            trained.temperature, trained.settings, trained.scales
        );
    })?;
    writeln!(out, "| source | prompts | `{kind}` | global fit | difference | by seed |")?;
    for LossRow { source, prompts, router, global, difference, by_seed } in &report.losses {
        let by_seed = listed(by_seed, 1.0, 4);
        let difference = interval(*difference, 1.0, 5);
        writeln!(out, "| {source} | {prompts} | {router:.4} | {global:.4} | {difference} | {by_seed} |")?;
    }
    writeln!(
        out,
        "\n| source | who chooses | prompts | score | points above the best single model | by seed |"
    )?;
    for ChoiceRow { source, strategy, prompts, score, gain, by_seed } in &report.choices {
        let (gain, by_seed) = (interval(*gain, 100.0, 2), listed(by_seed, 100.0, 2));
        writeln!(out, "| {source} | {strategy:?} | {prompts} | {score:.4} | {gain} | {by_seed} |")?;
    }
    writeln!(out, "\n| prompts | APGR of {} over {} | by seed |", PAIR[0], PAIR[1])?;
    for (source, by_seed) in &areas {
        let mean = by_seed.iter().sum::<f64>() / by_seed.len() as f64;
        writeln!(out, "| {source} | {mean:.3} | {} |", listed(by_seed, 1.0, 3))?;
    }
    Ok(())
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
