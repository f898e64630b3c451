//! A decision as a table for people.

use std::io::{self, Write};

use pointsman::config::Selection;

use pointsman::routing::explain::Explanation;

/// Characters of a prompt that are shown.
const PROMPT_CHARACTERS: usize = 80;

/// Writes the prompt, the choice, and a row for every model, best first.
pub(super) fn write(
    out: &mut impl Write,
    turns: &[String],
    selection: Selection,
    told: &Explanation<'_>,
) -> io::Result<()> {
    let Explanation { router, decision_us, .. } = told;
    let model = told.model.unwrap_or_default();
    writeln!(out, "prompt  {}", shown(turns))?;
    writeln!(out, "chosen  {model}  (router {router}, {}, {decision_us} µs)\n", rule(selection))?;
    let width = told.ranking.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    write!(out, "  {:<width$}      skill", "")?;
    for place in 1..=told.ranking.len() {
        write!(out, "  {:>6}", format!("vs {place}"))?;
    }
    writeln!(out)?;
    for (index, name) in told.ranking.iter().enumerate() {
        let skill = told.skills.get(name).copied().unwrap_or_default();
        write!(out, "{:>2}  {name:<width$}  {skill:>8.3}", index + 1)?;
        for other in &told.ranking {
            match told.win_rates.get(name).and_then(|rates| rates.get(other)) {
                Some(rate) => write!(out, "  {:>5.1}%", 100.0 * rate)?,
                None => write!(out, "  {:>6}", "–")?,
            }
        }
        writeln!(out)?;
    }
    for (name, reason) in &told.excluded {
        writeln!(out, " –  {name} {reason}")?;
    }
    for battle in &told.nearest_battles {
        let [a, b] = battle.models;
        let result = match battle.share {
            share if share > 0.5 => "beat",
            share if share < 0.5 => "lost to",
            _ => "tied with",
        };
        writeln!(
            out,
            "      on known prompt {} ({:.2} alike) {a} {result} {b}",
            battle.id, battle.similarity
        )?;
    }
    writeln!(out)
}

fn rule(selection: Selection) -> String {
    match selection {
        Selection::Threshold(alpha) => format!("threshold {}", alpha.get()),
        Selection::StrongShare(share) => format!("strong share {}", share.get()),
        Selection::Utility(lambda) => format!("utility {lambda}"),
        Selection::BudgetUsdPer1k(usd) => format!("budget {usd} USD per 1k"),
    }
}

/// The beginning of the last turn, on one line.
fn shown(turns: &[String]) -> String {
    let turn = turns.last().map_or("", String::as_str);
    let line = turn.chars().map(|character| if character.is_control() { ' ' } else { character });
    let mut line: String = line.take(PROMPT_CHARACTERS).collect();
    if turn.chars().nth(PROMPT_CHARACTERS).is_some() {
        line.push('…');
    }
    line
}
