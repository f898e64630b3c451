//! What the lines and dots of a picture are, beside it.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::{BASELINE, Canvas, Chart, Drawn, FONT, Line, Look, SHADE};

/// Pixels: from one entry to the next, and of the sample of each line.
const ROW: i32 = 22;
const SWATCH: i32 = 26;
/// Pixels: where the first entry stands, and where its text begins.
const TOP: i32 = 56;
const LEFT: i32 = SWATCH + 10;
/// Pixels: about the width of a letter.
const LETTER: u32 = 7;
/// Letters of a label, at most.
const LETTERS_MAX: usize = 44;
const SHADED: &str = "shaded: 95 % intervals";

/// Pixels.
pub(super) fn width(chart: &Chart) -> u32 {
    let lines = chart.lines.iter().map(|line| shown(&line.label).chars().count());
    let letters = lines.chain([chart.dots_are.len(), SHADED.len()]).max().unwrap_or(0);
    LEFT.unsigned_abs() + 10 + LETTER * u32::try_from(letters).unwrap_or(0)
}

pub(super) fn draw(area: &Canvas<'_>, chart: &Chart, looks: &[Look]) -> Drawn {
    let mut y = TOP;
    for (line, look) in chart.lines.iter().zip(looks) {
        draw_sample(area, line, *look, y)?;
        text(area, &line.label, y)?;
        y += ROW;
    }
    if !chart.dots.is_empty() {
        area.draw(&Circle::new((SWATCH / 2, y), 4, BASELINE.stroke_width(1)))?;
        text(area, chart.dots_are, y)?;
        y += ROW;
    }
    if chart.lines.iter().any(|line| !line.band.is_empty()) {
        text(area, SHADED, y)?;
    }
    Ok(())
}

/// How the line looks: its shade, its dashes; a dot where it is no more than that.
fn draw_sample(area: &Canvas<'_>, line: &Line, look: Look, y: i32) -> Drawn {
    if !line.band.is_empty() {
        let shade = look.colour.mix(2.0 * SHADE).filled();
        area.draw(&Rectangle::new([(0, y - 7), (SWATCH, y + 7)], shade))?;
    }
    if line.has_dots {
        area.draw(&Circle::new((SWATCH / 2, y), 3, look.colour.filled()))?;
    }
    if line.points.len() < 2 {
        return Ok(());
    }
    let (dash, gap) = if look.dashes.1 == 0 { (SWATCH, 0) } else { look.dashes };
    let mut start = 0;
    while start < SWATCH {
        let ends = [(start, y), ((start + dash).min(SWATCH), y)];
        area.draw(&PathElement::new(ends, look.colour.stroke_width(look.width + 1)))?;
        start += dash + gap;
    }
    Ok(())
}

fn text(area: &Canvas<'_>, label: &str, y: i32) -> Drawn {
    let style = (FONT, 13).into_font().color(&BLACK).pos(Pos::new(HPos::Left, VPos::Center));
    area.draw(&Text::new(shown(label), (LEFT, y), style))?;
    Ok(())
}

/// A label as it is shown: of a long one, such as a path, the end.
fn shown(label: &str) -> String {
    let letters = label.chars().count();
    if letters <= LETTERS_MAX {
        return label.to_owned();
    }
    std::iter::once('…').chain(label.chars().skip(letters - LETTERS_MAX + 1)).collect()
}
