//! Prints the tables of the model card: `evaluate_mf FILE…`, over the data files that the card lists.
//!
//! Five seeds; about a minute and a half.

use std::error::Error;
use std::io::{Write, stdout};
use std::path::Path;

use pointsman_routers::data::{DatasetBuilder, PresentationOrders, ReadOptions, Singles};
use pointsman_routers::embed;
use pointsman_routers::evaluate::{ChoiceRow, Interval, LossRow, evaluate_mf};
use pointsman_routers::train::{MfOptions, embed_prompts};

const SEEDS: [u64; 5] = [1, 2, 3, 4, 5];

fn main() -> Result<(), Box<dyn Error>> {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        return Err("usage: evaluate_mf FILE…".into());
    }
    let mut builder = DatasetBuilder::new();
    for file in &files {
        builder.read_file(Path::new(file), &ReadOptions::default(), &mut |_| ())?;
    }
    let data = builder.finish(PresentationOrders::United(Singles::Keep));
    let embeddings = embed_prompts(&data, &embed::default_static()?, &mut |_| ())?;
    let report = evaluate_mf(&data, &embeddings, &MfOptions::default(), &SEEDS, &mut |_| ())?;
    let mut out = stdout().lock();
    writeln!(out, "| source | prompts | `mf` | global fit | difference | by seed |")?;
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
    Ok(())
}

fn interval(of: Interval, factor: f64, digits: usize) -> String {
    let [mean, low, high] = [of.mean, of.low, of.high].map(|value| factor * value);
    format!("{mean:+.digits$} [{low:+.digits$}, {high:+.digits$}]")
}

fn listed(values: &[f64], factor: f64, digits: usize) -> String {
    values.iter().map(|value| format!("{:+.digits$}", factor * value)).collect::<Vec<_>>().join(" ")
}
