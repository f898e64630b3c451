//! Curves as a picture: a line and a shaded interval per router, dots for single models, a legend beside them.

mod labels;
mod legend;

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{Pos, VPos};

use self::labels::Labels;
use crate::cli::output::{Failure, write_file};

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Axes<'a, 'b> = ChartContext<'b, SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;
type Drawn = Result<(), Box<dyn Error>>;

/// Pixels: of the axes with what belongs to them.
const WIDTH: u32 = 800;
const HEIGHT: u32 = 600;
const FONT: &str = "sans-serif";
/// Colours that are told apart by people who see few of them (Okabe and Ito 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(150, 75, 0),
];
const BASELINE: RGBColor = RGBColor(110, 110, 110);
const GRID: RGBColor = RGBColor(228, 228, 228);
/// Dashes and gaps of the baselines, in pixels; the first is a solid line.
const DASHES: [(i32, i32); 4] = [(1, 0), (8, 5), (2, 4), (14, 4)];
const SHADE: f64 = 0.10;
/// The edges of a shade: where several overlap, they tell whose it is.
const EDGE: f64 = 0.35;
/// Points that a line is drawn through, at most.
const POINTS_MAX: usize = 1500;

/// One line.
pub(super) struct Line {
    pub(super) label: String,
    pub(super) points: Vec<(f64, f64)>,
    /// The interval around it: (place, low, high).
    pub(super) band: Vec<(f64, f64, f64)>,
    pub(super) is_baseline: bool,
    /// Whether each point is marked.
    pub(super) has_dots: bool,
}

/// A single model.
pub(super) struct Dot {
    pub(super) label: String,
    pub(super) at: (f64, f64),
}

/// What is drawn.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) across: String,
    pub(super) up: String,
    /// In the order of the legend.
    pub(super) lines: Vec<Line>,
    /// What the dots are, for the legend.
    pub(super) dots_are: &'static str,
    /// Those that matter most first: where there is no room, the others go without a label.
    pub(super) dots: Vec<Dot>,
}

/// How a line looks.
#[derive(Clone, Copy)]
struct Look {
    colour: RGBColor,
    width: u32,
    dashes: (i32, i32),
}

/// Draws an SVG file.
pub(super) fn write(file: &Path, chart: &Chart) -> Result<(), Failure> {
    let svg = draw(chart)
        .map_err(|error| Failure::Because(format!("{} cannot be drawn: {error}", file.display())))?;
    write_file(file, svg.as_bytes())
}

/// The text of an SVG file.
fn draw(chart: &Chart) -> Result<String, Box<dyn Error>> {
    let looks = looks(&chart.lines);
    let width = WIDTH + legend::width(chart);
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, (width, HEIGHT)).into_drawing_area();
        canvas.fill(&WHITE)?;
        let (left, right) = canvas.split_horizontally(WIDTH);
        draw_axes(&left, chart, &looks)?;
        legend::draw(&right, chart, &looks)?;
        canvas.present()?;
    }
    Ok(svg)
}

fn looks(lines: &[Line]) -> Vec<Look> {
    let mut colours = COLOURS.iter().cycle();
    let mut dashes = DASHES.iter().cycle();
    let look = |line: &Line| {
        if line.is_baseline {
            Look { colour: BASELINE, width: 1, dashes: dashes.next().copied().unwrap_or((1, 0)) }
        } else {
            Look { colour: colours.next().copied().unwrap_or(BLACK), width: 2, dashes: (1, 0) }
        }
    };
    lines.iter().map(look).collect()
}

fn draw_axes(area: &Canvas<'_>, chart: &Chart, looks: &[Look]) -> Drawn {
    let points =
        || chart.lines.iter().flat_map(|line| &line.points).chain(chart.dots.iter().map(|dot| &dot.at));
    let bands = || chart.lines.iter().flat_map(|line| &line.band);
    let (left, mut right) = bounds(points().map(|at| at.0));
    if !chart.dots.is_empty() {
        // Room for half a dot.
        right += 0.02 * (right - left);
    }
    let heights = points().map(|at| at.1).chain(bands().flat_map(|&(_, low, high)| [low, high]));
    let (low, high) = bounds(heights);
    let margin = 0.03 * (high - low);
    let mut axes = ChartBuilder::on(area)
        .caption(&chart.title, (FONT, 18))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(66)
        .build_cartesian_2d(left..right, (low - margin)..(high + margin))?;
    axes.configure_mesh()
        .x_desc(&chart.across)
        .y_desc(&chart.up)
        .bold_line_style(GRID)
        .light_line_style(WHITE)
        .axis_style(BASELINE)
        .axis_desc_style((FONT, 14))
        .label_style((FONT, 12))
        .draw()?;
    // Shades first: no line is hidden by another's.
    for (line, look) in chart.lines.iter().zip(looks) {
        draw_band(&mut axes, line, *look)?;
    }
    for (line, look) in chart.lines.iter().zip(looks) {
        draw_line(&mut axes, line, *look)?;
    }
    draw_dots(area, &mut axes, chart)
}

fn draw_band(axes: &mut Axes<'_, '_>, line: &Line, look: Look) -> Drawn {
    if line.band.is_empty() {
        return Ok(());
    }
    let there = line.band.iter().map(|&(place, _, high)| (place, high));
    let back = line.band.iter().rev().map(|&(place, low, _)| (place, low));
    let around: Vec<(f64, f64)> = there.chain(back).collect();
    axes.draw_series(std::iter::once(Polygon::new(around, look.colour.mix(SHADE).filled())))?;
    let edge = look.colour.mix(EDGE).stroke_width(1);
    axes.draw_series(LineSeries::new(line.band.iter().map(|&(place, low, _)| (place, low)), edge))?;
    axes.draw_series(LineSeries::new(line.band.iter().map(|&(place, _, high)| (place, high)), edge))?;
    Ok(())
}

fn draw_line(axes: &mut Axes<'_, '_>, line: &Line, look: Look) -> Drawn {
    let style = look.colour.stroke_width(look.width);
    let step = line.points.len().div_ceil(POINTS_MAX).max(1);
    let last = line.points.last().copied();
    let points = line.points.iter().copied().step_by(step).chain(last);
    match look.dashes {
        (_, 0) => axes.draw_series(LineSeries::new(points, style))?,
        (dash, gap) => axes.draw_series(DashedLineSeries::new(points, dash, gap, style))?,
    };
    if line.has_dots {
        let dots = line.points.iter().map(|&at| Circle::new(at, 3, look.colour.filled()));
        axes.draw_series(dots)?;
    }
    Ok(())
}

/// Single models, each with its name where there is room for it.
fn draw_dots(area: &Canvas<'_>, axes: &mut Axes<'_, '_>, chart: &Chart) -> Drawn {
    let style = BASELINE.stroke_width(1);
    axes.draw_series(chart.dots.iter().map(|dot| Circle::new(dot.at, 4, style)))?;
    let at: Vec<(i32, i32)> = chart.dots.iter().map(|dot| axes.backend_coord(&dot.at)).collect();
    let (across, up) = axes.plotting_area().get_pixel_range();
    let mut labels = Labels::new((across.start, across.end), (up.start, up.end), &at);
    for (dot, at) in chart.dots.iter().zip(&at) {
        let Some((x, y, side)) = labels.place(&dot.label, *at) else { continue };
        // Lines that cross a name stay behind it.
        let [low, high] = labels::behind(&dot.label, x, y, &side);
        area.draw(&Rectangle::new([low, high], WHITE.mix(0.75).filled()))?;
        let style = (FONT, 11).into_font().color(&BASELINE).pos(Pos::new(side, VPos::Center));
        area.draw(&Text::new(dot.label.clone(), (x, y), style))?;
    }
    Ok(())
}

/// The least and the largest value, a little apart when they are one.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low < high { (low, high) } else { (low.min(1e9) - 0.5, low.min(1e9) + 0.5) }
}
