//! Reads data files of any format and says what is in them: `load_data [--leaderboard] FILE…`.
//!
//! Prints each file's report, what all files make together, and the peak of memory where the system tells it.

use pointsman_routers::data::{DataError, DatasetBuilder, PresentationOrders, ReadOptions, Singles};
use std::{env, fs, path::PathBuf, process::ExitCode, time::Instant};

fn main() -> ExitCode {
    let (flags, files): (Vec<String>, Vec<String>) = env::args().skip(1).partition(|it| it.starts_with("--"));
    if files.is_empty() || flags.iter().any(|flag| flag != "--leaderboard") {
        eprintln!("usage: load_data [--leaderboard] FILE...");
        return ExitCode::from(2);
    }
    match load(&files, !flags.is_empty()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn load(files: &[String], leaderboard_filter: bool) -> Result<(), DataError> {
    let options = ReadOptions { leaderboard_filter, ..ReadOptions::default() };
    let mut builder = DatasetBuilder::new();
    for file in files {
        let start = Instant::now();
        let mut bytes = 0;
        let report = builder.read_file(&PathBuf::from(file), &options, &mut |read| bytes = read)?;
        let seconds = start.elapsed().as_secs_f64();
        let (rows, refused) = (report.rows, report.rejected_total());
        println!(
            "{file}: {rows} rows of {}, {refused} refused, {bytes} bytes in {seconds:.2} s",
            report.format.name()
        );
        if let Some(counts) = report.filter {
            println!("  {} good, {} anonymous, {} sampled", counts.before, counts.anonymous, counts.sampled);
        }
        for example in &report.examples {
            println!("  {} {}: {}", report.format.unit(), example.line, example.problem);
        }
    }
    let data = builder.finish(PresentationOrders::United(Singles::Keep));
    let votes: u64 = data.votes.iter().flat_map(|pair| pair.counts).sum();
    println!(
        "{} models, {} prompts, {} judged battles",
        data.models.len(),
        data.prompts.len(),
        data.judged.len()
    );
    println!("{} prompts with scores, {votes} votes on {} pairs", data.outcomes.len(), data.votes.len());
    println!("{} battles in all", data.battles(|_| true).len());
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
        println!("peak memory {}", peak.trim());
    }
    Ok(())
}
