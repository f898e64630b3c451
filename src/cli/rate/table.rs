//! Ratings as a table for people.

use std::io::{self, Write};

use pointsman_routers::leaderboard::{Leaderboard, Rating, Standing, UNANCHORED_ELO, Votes};

use crate::cli::output::thousands;

/// Models of a remark that are named.
const NAMED_MAX: usize = 10;

/// Writes a table of every group of models, and what is to be said of it.
pub(super) fn write(
    out: &mut impl Write,
    votes: &Votes,
    leaderboard: &Leaderboard,
    resamples: usize,
) -> io::Result<()> {
    let (models, battles) = (votes.models().len() as u64, votes.battles());
    writeln!(out, "{} battles of {} models", thousands(battles), thousands(models))?;
    if resamples > 0 {
        writeln!(out, "95 % intervals from {resamples} resamples")?;
    }
    let width = leaderboard.ratings.iter().map(|rating| rating.model.chars().count()).max().unwrap_or(0);
    for (number, group) in leaderboard.groups.iter().enumerate() {
        let level = match &group.anchor {
            Some(anchor) => format!("relative to {} = {}", anchor.model, anchor.elo),
            None => format!("relative to a mean of {UNANCHORED_ELO}"),
        };
        let which = if leaderboard.groups.len() > 1 { format!("group {number}, ") } else { String::new() };
        writeln!(out, "\n{which}{level}\n")?;
        writeln!(out, "rank  {:<width$}       Elo    95 % interval      battles", "model")?;
        let of_group = leaderboard.ratings.iter().filter(|rating| rating.group == number);
        for (place, rating) in of_group.enumerate() {
            row(out, place + 1, rating, width)?;
        }
    }
    let remarks = remarks(leaderboard);
    if !remarks.is_empty() {
        writeln!(out)?;
    }
    remarks.iter().try_for_each(|remark| writeln!(out, "{remark}"))
}

fn row(out: &mut impl Write, rank: usize, rating: &Rating, width: usize) -> io::Result<()> {
    let Rating { model, elo, battles, standing, .. } = rating;
    let interval = match (rating.interval, standing) {
        (Some([low, high]), _) => format!("{low:.1} to {high:.1}"),
        (None, Standing::Fitted) => String::new(),
        (None, Standing::Unbeaten) => "won all *".to_owned(),
        (None, Standing::Winless) => "lost all *".to_owned(),
        (None, Standing::OneSided) => "unbounded *".to_owned(),
    };
    writeln!(out, "{rank:>4}  {model:<width$}  {elo:>8.1}  {interval:>16}  {:>10}", thousands(*battles))
}

/// What ratings alone would not say.
pub(super) fn remarks(leaderboard: &Leaderboard) -> Vec<String> {
    let mut remarks = Vec::new();
    let placed: Vec<&Rating> =
        leaderboard.ratings.iter().filter(|rating| rating.standing != Standing::Fitted).collect();
    if !placed.is_empty() {
        let names: Vec<&str> = placed.iter().take(NAMED_MAX).map(|rating| rating.model.as_str()).collect();
        let more = if placed.len() > NAMED_MAX { ", …" } else { "" };
        remarks.push(format!(
            "* the votes alone give no finite rating to {} of the models: {}{more}. They are placed as if each had \
             also tied once with an average model, and move no other rating; more battles settle them.",
            placed.len(),
            names.join(", "),
        ));
    }
    if leaderboard.groups.len() > 1 {
        remarks.push(format!(
            "No battle links {} groups of models: ratings of different groups cannot be compared. Battles between \
             them join them; until then give each an --anchor.",
            leaderboard.groups.len(),
        ));
    }
    for (number, _) in leaderboard.groups.iter().enumerate().filter(|(_, group)| group.anchor.is_none()) {
        let which =
            if leaderboard.groups.len() > 1 { format!("group {number}") } else { "the data".to_owned() };
        remarks.push(format!(
            "There is no anchor in {which}: its mean rating is {UNANCHORED_ELO}, and ratings cannot be compared with \
             the Arena's. Give a model's rating with --anchor MODEL=ELO.",
        ));
    }
    remarks
}
