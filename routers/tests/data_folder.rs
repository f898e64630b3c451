//! The published data, where it is at hand: every file read whole, with the figures known of it.
//!
//! Looks into the folder that `POINTSMAN_DATA` names, or `../shared/data` beside the checkout; without one, these
//! tests say so and check nothing.

#![cfg(test)]

use pointsman_routers::{
    data::{Dataset, DatasetBuilder, LoadReport, PresentationOrders, ReadOptions, Singles},
    identity,
};
use std::{env, path::PathBuf};

const FILES: [&str; 7] = [
    "arena_votes_20240814.json",
    "battles_openassistant.jsonl",
    "outcomes_arena_bench.jsonl",
    "outcomes_llmrouter.jsonl",
    "outcomes_mmlu_gold_1500.jsonl",
    "outcomes_mmlu_pro.jsonl",
    "outcomes_zeroeval.jsonl",
];

const UNITED: PresentationOrders = PresentationOrders::United(Singles::Drop);

fn folder() -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let folder = env::var_os("POINTSMAN_DATA").map_or_else(beside, PathBuf::from);
    let found = folder.join(FILES[0]).is_file();
    if !found {
        eprintln!("SKIPPED: no data in {}; set POINTSMAN_DATA", folder.display());
    }
    found.then_some(folder)
}

fn load(folder: &std::path::Path, files: &[&str]) -> (Dataset, Vec<LoadReport>) {
    let mut builder = DatasetBuilder::new();
    let mut read = |file: &&str| {
        let path = folder.join(file);
        let mut bytes = 0;
        let report = builder.read_file(&path, &ReadOptions::default(), &mut |read| bytes = read).unwrap();
        assert_eq!(bytes, path.metadata().unwrap().len(), "progress ends at the file's size");
        report
    };
    let reports = files.iter().map(&mut read).collect();
    (builder.finish(UNITED), reports)
}

#[test]
fn every_file_is_read_to_its_last_row() {
    let Some(folder) = folder() else { return };
    let (data, reports) = load(&folder, &FILES);
    let rows: Vec<u64> = reports.iter().map(|report| report.rows).collect();
    assert_eq!(rows, [3_460, 38_544, 299, 5_398, 1_500, 5_158, 1_502]);
    assert!(reports.iter().all(|report| report.rejected_total() == 0));
    for model in &data.models {
        assert_eq!(identity::lookup(model), Some(model.as_str()), "every name of every file is in the table");
    }
    let votes: u64 = data.votes.iter().flat_map(|pair| pair.counts).sum();
    assert_eq!((votes, data.votes.len()), (1_670_250, 3_460));
    // Two conversations have the same turns: their verdicts come together.
    assert_eq!(data.orders.united, 18_581);
    assert_eq!((data.orders.single_kept, data.orders.single_dropped), (0, 1_343));
    assert_eq!(data.judged.len(), 18_581);
    // 12 prompts of the gold labels occur twice.
    assert_eq!(data.outcomes.len(), 299 + 5_398 + 1_488 + 5_158 + 1_502);
    assert_eq!(
        data.battles(|_| true).len(),
        data.judged.len() + data.outcomes.iter().map(|of| of.pairs()).sum::<usize>()
    );
}

#[test]
fn the_order_of_files_does_not_matter() {
    let Some(folder) = folder() else { return };
    let small = ["outcomes_zeroeval.jsonl", "arena_votes_20240814.json", "outcomes_arena_bench.jsonl"];
    let turned = [small[2], small[0], small[1]];
    assert_eq!(load(&folder, &small).0, load(&folder, &turned).0);
}

#[test]
fn runs_by_several_providers_are_one_model() {
    let Some(folder) = folder() else { return };
    let (data, _) = load(&folder, &["outcomes_zeroeval.jsonl"]);
    // 52 spellings, of which 405B has three and 70B two.
    assert_eq!(data.models.len(), 49);
    let model = data.model("llama-3.1-405b-instruct").unwrap();
    let of_405b =
        data.outcomes.iter().flat_map(|of| &of.scores).filter(|score| usize::from(score.model) == model);
    assert_eq!(of_405b.clone().count(), 1_502);
    assert!(
        of_405b.clone().any(|score| (score.score - 2.0 / 3.0).abs() < 1e-12),
        "three runs, two of them right"
    );
}
