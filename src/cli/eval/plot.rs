//! Quality as a picture: a line per router over a share or a cost.

use std::error::Error;

use plotters::prelude::*;

/// Pixels.
const SIZE: (u32, u32) = (960, 600);
const FONT: &str = "sans-serif";
/// Colours that are told apart by people who see few of them (Okabe and Ito 2008).
const COLOURS: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(60, 60, 60),
];
const BASELINE: RGBColor = RGBColor(150, 150, 150);
/// Points that a line is drawn through, at most.
const POINTS_MAX: usize = 1500;

/// One line.
pub(super) struct Line<'a> {
    pub(super) label: String,
    pub(super) points: &'a [(f64, f64)],
    pub(super) is_baseline: bool,
}

/// What is drawn.
pub(super) struct Chart<'a> {
    pub(super) title: String,
    pub(super) across: String,
    pub(super) up: String,
    pub(super) lines: &'a [Line<'a>],
}

/// The text of an SVG file.
pub(super) fn draw(chart: &Chart<'_>) -> Result<String, Box<dyn Error>> {
    let mut svg = String::new();
    {
        let canvas = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        canvas.fill(&WHITE)?;
        let all = || chart.lines.iter().flat_map(|line| line.points);
        let (left, right) = bounds(all().map(|point| point.0));
        let (low, high) = bounds(all().map(|point| point.1));
        let margin = 0.04 * (high - low);
        let mut axes = ChartBuilder::on(&canvas)
            .caption(&chart.title, (FONT, 20))
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(left..right, (low - margin)..(high + margin))?;
        axes.configure_mesh()
            .x_desc(&chart.across)
            .y_desc(&chart.up)
            .light_line_style(WHITE)
            .axis_desc_style((FONT, 14))
            .label_style((FONT, 12))
            .draw()?;
        let mut colours = COLOURS.iter().cycle();
        for line in chart.lines {
            let colour = if line.is_baseline { BASELINE } else { *colours.next().unwrap_or(&BLACK) };
            let style = colour.stroke_width(if line.is_baseline { 1 } else { 2 });
            let step = line.points.len().div_ceil(POINTS_MAX).max(1);
            let last = line.points.last().copied();
            let points = line.points.iter().copied().step_by(step).chain(last);
            axes.draw_series(LineSeries::new(points, style))?
                .label(&line.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
        }
        axes.configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BASELINE)
            .label_font((FONT, 13))
            .draw()?;
        canvas.present()?;
    }
    Ok(svg)
}

/// The least and the largest value, a little apart when they are one.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low < high { (low, high) } else { (low.min(1e9) - 0.5, low.min(1e9) + 0.5) }
}
