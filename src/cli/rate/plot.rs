//! Ratings as a picture: a line per model, a dot at its Elo, a whisker over its interval.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use pointsman_routers::leaderboard::{Leaderboard, Rating, Standing, UNANCHORED_ELO};

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

const FONT: &str = "sans-serif";
/// Pixels.
const WIDTH: i32 = 960;
const ROW: i32 = 17;
const HEADING: i32 = 66;
const FOOTING: i32 = 44;
const RIGHT: i32 = 24;
/// About the width of a letter of the names.
const LETTER: i32 = 7;
const GRID: RGBColor = RGBColor(225, 225, 225);
const INTERVAL: RGBColor = RGBColor(96, 146, 205);
const DOT: RGBColor = RGBColor(24, 72, 130);
/// Most lines of the grid.
const TICKS_MAX: f64 = 10.0;

/// The text of an SVG file.
pub(super) fn draw(leaderboard: &Leaderboard, resamples: usize) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    let height = |models: usize| HEADING + FOOTING + ROW * i32::try_from(models).unwrap_or(i32::MAX / 64);
    let total: i32 = leaderboard.groups.iter().map(|group| height(group.models)).sum();
    {
        let canvas = SVGBackend::with_string(&mut svg, (WIDTH.unsigned_abs(), total.unsigned_abs()))
            .into_drawing_area();
        canvas.fill(&WHITE)?;
        let mut top = 0;
        for (number, group) in leaderboard.groups.iter().enumerate() {
            let ratings: Vec<&Rating> =
                leaderboard.ratings.iter().filter(|rating| rating.group == number).collect();
            let level = match &group.anchor {
                Some(anchor) => format!("Elo, {} = {}", anchor.model, anchor.elo),
                None => format!("Elo, mean = {UNANCHORED_ELO}"),
            };
            Panel::new(&ratings, top).draw(&canvas, &ratings, &level, resamples)?;
            top += height(group.models);
        }
        canvas.present()?;
    }
    Ok(svg)
}

/// The part of the canvas that shows one group of models.
struct Panel {
    top: i32,
    left: i32,
    low: f64,
    high: f64,
    tick: f64,
}

impl Panel {
    fn new(ratings: &[&Rating], top: i32) -> Self {
        let bounds = ratings.iter().flat_map(|rating| {
            let [low, high] = rating.interval.unwrap_or([rating.elo; 2]);
            [low.min(rating.elo), high.max(rating.elo)]
        });
        let (low, high) =
            bounds.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), elo| (low.min(elo), high.max(elo)));
        let tick = tick(high - low);
        let letters = ratings.iter().map(|rating| rating.model.chars().count()).max().unwrap_or(0);
        let left = LETTER * i32::try_from(letters).unwrap_or(0) + 24;
        let (low, high) = ((low / tick).floor() * tick, (high / tick).ceil() * tick);
        // Where all ratings are one, it stands in the middle.
        let (low, high) = if high > low { (low, high) } else { (low - tick, high + tick) };
        Self { top, left: left.min(WIDTH / 2), low, high, tick }
    }

    fn x(&self, elo: f64) -> i32 {
        let share = (elo - self.low) / (self.high - self.low);
        self.left + (share * f64::from(WIDTH - RIGHT - self.left)).round() as i32
    }

    fn y(&self, place: usize) -> i32 {
        self.top + HEADING + ROW * i32::try_from(place).unwrap_or(0) + ROW / 2
    }

    fn draw(&self, canvas: &Canvas<'_>, ratings: &[&Rating], level: &str, resamples: usize) -> Drawn {
        let middle = i32::midpoint(self.left, WIDTH - RIGHT);
        let title = if resamples > 0 {
            "Ratings, with 95 % intervals by resampling the battles".to_owned()
        } else {
            "Ratings".to_owned()
        };
        text(canvas, &title, (middle, self.top + 16), 16, HPos::Center)?;
        self.draw_grid(canvas, ratings.len(), level, middle)?;
        for (place, rating) in ratings.iter().enumerate() {
            self.draw_rating(canvas, place, rating)?;
        }
        if ratings.iter().any(|rating| rating.standing != Standing::Fitted) {
            let said = "○ the votes alone give no finite rating: placed by one virtual tie";
            text(canvas, said, (self.left, self.bottom(ratings.len()) + 34), 11, HPos::Left)?;
        }
        Ok(())
    }

    fn bottom(&self, models: usize) -> i32 {
        self.y(models) - ROW / 2
    }

    fn draw_grid(&self, canvas: &Canvas<'_>, models: usize, level: &str, middle: i32) -> Drawn {
        let (top, bottom) = (self.y(0) - ROW / 2, self.bottom(models));
        let ticks = ((self.high - self.low) / self.tick).round() as i32;
        for number in 0..=ticks {
            let elo = self.low + self.tick * f64::from(number);
            let x = self.x(elo);
            canvas.draw(&PathElement::new([(x, top), (x, bottom)], GRID))?;
            // Tall pictures are read from either end.
            for y in [top - 8, bottom + 10] {
                text(canvas, &format!("{}", (elo * 100.0).round() / 100.0), (x, y), 11, HPos::Center)?;
            }
        }
        text(canvas, level, (middle, top - 26), 12, HPos::Center)
    }

    fn draw_rating(&self, canvas: &Canvas<'_>, place: usize, rating: &Rating) -> Drawn {
        let (x, y) = (self.x(rating.elo), self.y(place));
        text(canvas, &rating.model, (self.left - 10, y), 12, HPos::Right)?;
        // Leads the eye from the name to the dot.
        canvas.draw(&PathElement::new([(self.left, y), (x, y)], GRID))?;
        if let Some([low, high]) = rating.interval {
            let (low, high) = (self.x(low), self.x(high));
            canvas.draw(&PathElement::new([(low, y), (high, y)], INTERVAL.stroke_width(3)))?;
        }
        let style = if rating.standing == Standing::Fitted { DOT.filled() } else { DOT.stroke_width(1) };
        canvas.draw(&Circle::new((x, y), 3, style))?;
        Ok(())
    }
}

/// A distance between lines of the grid that people like: 1, 2 or 5 times a power of ten.
fn tick(range: f64) -> f64 {
    let least = (range / TICKS_MAX).max(1e-3);
    let power = 10.0_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|step| step * power).find(|tick| *tick >= least).unwrap_or(10.0 * power)
}

fn text(canvas: &Canvas<'_>, text: &str, place: (i32, i32), size: i32, anchor: HPos) -> Drawn {
    let style = (FONT, size).into_font().color(&BLACK).pos(Pos::new(anchor, VPos::Center));
    canvas.draw(&Text::new(text, place, style))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_grid_are_round() {
        for (range, expected) in [(700.0, 100.0), (1000.0, 100.0), (180.0, 20.0), (3.0, 0.5), (0.0, 1e-3)] {
            assert!((tick(range) - expected).abs() < 1e-9, "{range}: {}", tick(range));
        }
    }
}
