//! `pointsman rate`: Elo ratings of models from votes.

mod plot;
mod table;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use pointsman_routers::artifact::Anchor;
use pointsman_routers::data::{LoadReport, ReadOptions};
use pointsman_routers::identity;
use pointsman_routers::leaderboard::{self, Leaderboard, Options, Rating, Standing, Tally, Votes};
use serde::Serialize;

use super::output::{Failure, write_file};
use super::progress;
use super::{Format, data};

/// Rate models by votes: Bradley–Terry skills and Elo, with intervals
///
/// Reads every format by its content, plain or gzipped: vote counts, battle rows, clean_battle arrays (by the Arena
/// leaderboard's rule: `anony` true, then `dedup_tag.sampled` true), the Arena's CSV, JSON lines and Parquet, and
/// outcome rows, whose better score wins. Several files are rated together. Names are canonical: spellings that are
/// known to mean one model are one. A tie counts half a win to each side.
///
/// Ratings are those of maximum likelihood: nothing pulls them towards each other. They are relative to
/// mixtral-8x7b-instruct-v0.1 = 1114, as the Arena's are; where that fights no battle, the mean of all models is 1000,
/// or an --anchor says what else. Models that no chain of battles links are rated apart, each group for itself. A model
/// for which the votes alone give no finite rating, as it won or lost every battle, is marked: it is placed as if it
/// had also tied once with an average model, without moving the others, and has no interval.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman rate arena_votes_20240814.json
  pointsman rate clean_battle_20240814_public.json --plot ratings.svg
  pointsman rate battles.jsonl votes.json.gz --anchor gpt-4-0613=1162 --format json

JSON: [{model, theta, elo, ci95: [low, high], battles, group, placed_by_prior}], by group and then best first; theta in
logits, ci95 of the Elo (null where the votes bound nothing). Groups are numbered from 0, the largest; a rating with
placed_by_prior true is one that the votes alone do not determine.

Exit status: 0 when rated, 1 when not, 2 for a wrong command line.")]
pub(super) struct Arguments {
    /// Files of votes
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,

    /// Resamples that the intervals are made of; 0 for no intervals
    #[arg(long, value_name = "N", default_value_t = Options::default().resamples, value_parser = resamples)]
    resamples: usize,

    /// Decides the resamples
    #[arg(long, value_name = "N", default_value_t = Options::default().seed)]
    seed: u64,

    /// The Elo of a model, which the others are relative to; again for each group that no battle links to the others
    #[arg(long, value_name = "MODEL=ELO", value_parser = anchor)]
    anchor: Vec<Anchor>,

    /// Of clean_battle files, take the rows that the Arena's leaderboard leaves out, too
    #[arg(long)]
    unfiltered: bool,

    /// Draw the ratings, an SVG file
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,

    /// How the ratings are written to stdout
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// More say nothing more, and would not fit into memory.
const RESAMPLES_MAX: usize = 10_000;

fn resamples(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if number <= RESAMPLES_MAX { Ok(number) } else { Err(format!("more than {RESAMPLES_MAX}")) }
}

fn anchor(text: &str) -> Result<Anchor, String> {
    let (model, elo) = text.rsplit_once('=').ok_or("expected MODEL=ELO")?;
    let elo: f64 = elo.trim().parse().map_err(|_| "the Elo is not a number".to_owned())?;
    if !elo.is_finite() {
        return Err("the Elo is not finite".to_owned());
    }
    Ok(Anchor { model: identity::canonical(model).to_owned(), elo })
}

/// One rating for programs.
#[derive(Serialize)]
struct Row<'a> {
    model: &'a str,
    theta: f64,
    elo: f64,
    ci95: [Option<f64>; 2],
    battles: u64,
    group: usize,
    placed_by_prior: bool,
}

impl<'a> From<&'a Rating> for Row<'a> {
    fn from(rating: &'a Rating) -> Self {
        Self {
            model: &rating.model,
            theta: rating.skill,
            elo: rating.elo,
            ci95: rating.interval.map_or([None; 2], |bounds| bounds.map(Some)),
            battles: rating.battles,
            group: rating.group,
            placed_by_prior: rating.standing != Standing::Fitted,
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (votes, reports) = read(arguments)?;
    let options =
        Options { anchors: arguments.anchor.clone(), resamples: arguments.resamples, seed: arguments.seed };
    let bar = progress::bar("resamples", arguments.resamples);
    let rated = leaderboard::rate(&votes, &options, &mut |done| bar.set_position(done as u64));
    bar.finish_and_clear();
    let leaderboard = rated.map_err(Failure::because)?;
    if let Some(file) = &arguments.plot {
        write_plot(file, &leaderboard, arguments.resamples)?;
    }
    let mut stdout = io::stdout().lock();
    match arguments.format {
        Format::Text => {
            reports.iter().try_for_each(|report| writeln!(stdout, "{}", data::account(report)))?;
            table::write(&mut stdout, &votes, &leaderboard, arguments.resamples)?;
        }
        Format::Json => {
            reports.iter().for_each(|report| tracing::info!("{}", data::account(report)));
            table::remarks(&leaderboard).iter().for_each(|remark| tracing::warn!("{remark}"));
            let rows: Vec<Row<'_>> = leaderboard.ratings.iter().map(Row::from).collect();
            serde_json::to_writer_pretty(&mut stdout, &rows).map_err(io::Error::from)?;
            writeln!(stdout)?;
        }
    }
    Ok(())
}

fn read(arguments: &Arguments) -> Result<(Votes, Vec<LoadReport>), Failure> {
    let options = ReadOptions { leaderboard_filter: !arguments.unfiltered, ..ReadOptions::default() };
    let mut tally = Tally::default();
    let reports = data::read_rows("FILE", &arguments.files, &options, &mut |row| tally.add(&row))?;
    Ok((tally.finish(), reports))
}

fn write_plot(file: &Path, leaderboard: &Leaderboard, resamples: usize) -> Result<(), Failure> {
    let drawn = plot::draw(leaderboard, resamples)
        .map_err(|error| Failure::Because(format!("the ratings cannot be drawn: {error}")))?;
    write_file(file, drawn.as_bytes())
}
