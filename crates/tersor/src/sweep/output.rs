//! A sweep as table, CSV and picture.

use super::SweepPoint;
use crate::options::{Method, Scope};
use crate::{Error, Result};
use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::*;
use std::fmt::Write;
use tersor_codec::Coder;

/// Columns of text and CSV.
const COLUMNS: [&str; 10] = [
    "method",
    "scope",
    "coder",
    "target_bpw",
    "bytes",
    "bpw",
    "ratio",
    "predicted_loss",
    "noise",
    "squared_error",
];
/// Those of the bound, where it was asked for.
const BOUND_COLUMNS: [&str; 3] = ["entropy_bpw", "bound_bpw", "gap_bpw"];

/// A line of names, then one per point; `missing` stands for what is not known.
fn rows(points: &[SweepPoint], missing: &str) -> Vec<Vec<String>> {
    let has_gaps = points.iter().any(|p| p.gap.is_some());
    let mut names: Vec<String> = COLUMNS.map(String::from).to_vec();
    if has_gaps {
        names.extend(BOUND_COLUMNS.map(String::from));
    }
    let row = |point: &SweepPoint| {
        let mut cells = cells(point, missing).to_vec();
        if has_gaps {
            let gap = point.gap.map(|g| [g.entropy_bpw, g.bound_bpw, g.gap_bpw]);
            cells.extend(match gap {
                Some(gap) => gap.map(|bits| format!("{bits:.3}")),
                None => [missing; 3].map(String::from),
            });
        }
        cells
    };
    std::iter::once(names).chain(points.iter().map(row)).collect()
}

fn cells(point: &SweepPoint, missing: &str) -> [String; 10] {
    [
        point.method.into(),
        point.scope.into(),
        point.coder.into(),
        point.target_bpw.to_string(),
        point.file_bytes.to_string(),
        format!("{:.4}", point.bpw),
        format!("{:.3}", point.ratio),
        point
            .predicted_loss
            .map_or(missing.to_owned(), |loss| format!("{loss:.4e}")),
        format!("{:.4e}", point.noise),
        format!("{:.4e}", point.squared_error),
    ]
}

/// A table in Markdown, readable as it is.
pub fn table(points: &[SweepPoint]) -> String {
    let rows = rows(points, "-");
    let n_columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|r| r.get(column));
        cells.map(String::len).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..n_columns).map(width).collect();
    let mut text = String::new();
    for (i, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, &w)| format!("{cell:<w$}"))
            .collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if i == 0 {
            let rule: Vec<String> = widths.iter().map(|&w| "-".repeat(w)).collect();
            let _ = writeln!(text, "| {} |", rule.join(" | "));
        }
    }
    text
}

/// Comma-separated values with a line of names.
pub fn csv(points: &[SweepPoint]) -> String {
    rows(points, "").iter().map(|row| row.join(",") + "\n").collect()
}

/// What a picture shows over bits per weight.
struct Measure {
    label: &'static str,
    of: fn(&SweepPoint) -> Option<f64>,
}

impl Measure {
    /// Predicted loss where sensitivities tell it, else noise.
    fn new(points: &[SweepPoint]) -> Self {
        if points.iter().any(|p| p.predicted_loss.is_some()) {
            Self {
                label: "predicted loss increase",
                of: |p| p.predicted_loss,
            }
        } else {
            Self {
                label: "noise: squared error over energy",
                of: |p| Some(p.noise),
            }
        }
    }

    /// Where a point lies, if a logarithmic scale can show it.
    fn at(&self, point: &SweepPoint) -> Option<(f64, f64)> {
        let y = (self.of)(point).filter(|y| *y > 0.0)?;
        Some((point.bpw, y))
    }
}

/// A picture in SVG: predicted loss, or noise without sensitivities, on a logarithmic scale against bits per weight, a line per
/// method, scope and coder.
///
/// # Errors
/// [`Error::Options`] if there is nothing to draw.
pub fn svg(points: &[SweepPoint], title: &str) -> Result<String> {
    let measure = Measure::new(points);
    let range = |values: &mut dyn Iterator<Item = f64>| {
        values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
            (low.min(v), high.max(v))
        })
    };
    let shown = || points.iter().filter_map(|p| measure.at(p));
    let bounds = points.iter().filter_map(|p| bound_at(p, &measure));
    let x = range(&mut shown().chain(bounds).map(|p| p.0));
    let y = range(&mut shown().map(|p| p.1));
    if !(x.0.is_finite() && y.0.is_finite()) {
        return Err(Error::Options(
            "the sweep has no point with a loss: there is nothing to draw".into(),
        ));
    }
    let mut text = String::new();
    draw(points, &measure, title, (x, y), &mut text)
        .map_err(|e| Error::Options(format!("the picture could not be drawn: {e}")))?;
    Ok(text)
}

/// Width of the picture, of the legend in it, and height, in pixels.
const SIZE: (u32, u32, u32) = (1000, 230, 600);
/// Height of a line of the legend.
const LINE: i32 = 17;

/// A curve's colour says the method, its width the scope, and the shape of its points the coder.
#[derive(Clone, Copy)]
struct Style {
    color: RGBAColor,
    width: u32,
    marker: u8,
}

impl Style {
    fn of(point: &SweepPoint) -> Self {
        let method = Method::ALL
            .iter()
            .position(|m| m.name() == point.method)
            .unwrap_or(0);
        let marker = Coder::ENTROPY
            .iter()
            .position(|c| c.name() == point.coder)
            .unwrap_or(0) as u8;
        let width = if point.scope == Scope::Tensor.name() { 2 } else { 1 };
        Self {
            color: Palette99::pick(method).to_rgba(),
            width,
            marker,
        }
    }

    /// Draws a cross, a triangle, a disc or a ring.
    fn mark<DB: DrawingBackend>(self, area: &DrawingArea<DB, Shift>, at: (i32, i32)) -> Drawn<DB> {
        match self.marker {
            0 => area.draw(&Cross::new(at, 3, self.color.stroke_width(1))),
            1 => area.draw(&TriangleMarker::new(at, 4, self.color.filled())),
            2 => area.draw(&Circle::new(at, 3, self.color.filled())),
            _ => area.draw(&Circle::new(at, 4, self.color.stroke_width(1))),
        }
    }
}

/// The outcome of drawing on a backend.
type Drawn<DB> = std::result::Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

fn draw(
    points: &[SweepPoint],
    measure: &Measure,
    title: &str,
    (x, y): ((f64, f64), (f64, f64)),
    text: &mut String,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let (width, legend_width, height) = SIZE;
    let area = SVGBackend::with_string(text, (width, height)).into_drawing_area();
    area.fill(&WHITE)?;
    let (plot, legend) = area.split_horizontally(width - legend_width);
    let mut chart = ChartBuilder::on(&plot)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(x.0 - 0.1..x.1 + 0.1, (y.0 / 1.5..y.1 * 1.5).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("bits per weight, whole file")
        .y_desc(measure.label)
        .y_label_formatter(&|v| format!("{v:.0e}"))
        .draw()?;
    let mut curves: Vec<(String, Vec<&SweepPoint>)> = Vec::new();
    for point in points.iter().filter(|p| measure.at(p).is_some()) {
        let name = format!("{} {} {}", point.method, point.scope, point.coder);
        match curves.iter_mut().find(|c| c.0 == name) {
            Some(curve) => curve.1.push(point),
            None => curves.push((name, vec![point])),
        }
    }
    let mut line = 50;
    for (name, mut curve) in curves {
        curve.sort_by(|a, b| a.bpw.total_cmp(&b.bpw));
        let Some(style) = curve.first().map(|p| Style::of(p)) else {
            continue;
        };
        let stroke = style.color.stroke_width(style.width);
        let at = curve.iter().filter_map(|p| measure.at(p));
        chart.draw_series(LineSeries::new(at.clone(), stroke))?;
        for at in at {
            style.mark(&area, chart.plotting_area().map_coordinate(&at))?;
        }
        legend.draw(&PathElement::new([(0, line), (24, line)], stroke))?;
        style.mark(&legend, (12, line))?;
        legend.draw(&Text::new(name, (32, line - 6), ("sans-serif", 13)))?;
        line += LINE;
    }
    let mut bound: Vec<(f64, f64)> = points.iter().filter_map(|p| bound_at(p, measure)).collect();
    bound.sort_by(|a, b| a.0.total_cmp(&b.0));
    if !bound.is_empty() {
        let stroke = BLACK.stroke_width(2);
        chart.draw_series(LineSeries::new(bound, stroke))?;
        legend.draw(&PathElement::new([(0, line), (24, line)], stroke))?;
        legend.draw(&Text::new(
            "bound of memoryless codes",
            (32, line - 6),
            ("sans-serif", 13),
        ))?;
    }
    area.present()?;
    Ok(())
}

/// Where the bound of a point lies, if nothing but symbols took bits.
fn bound_at(point: &SweepPoint, measure: &Measure) -> Option<(f64, f64)> {
    let (_, loss) = measure.at(point)?;
    let gap = point.gap?;
    Some((
        gap.bound_bpw * gap.n_elements / point.size.n_weights.max(1) as f64,
        loss,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InputSize;
    use crate::sweep::Gap;

    fn point(method: &'static str, bpw: f64, predicted_loss: impl Into<Option<f64>>) -> SweepPoint {
        let (file_bytes, seconds) = (1000, 0.5);
        let (scope, coder) = ("tensor", "ans");
        SweepPoint {
            method,
            scope,
            coder,
            size: InputSize::default(),
            target_bpw: bpw,
            file_bytes,
            bpw,
            ratio: 16.0,
            predicted_loss: predicted_loss.into(),
            noise: 0.01,
            squared_error: 0.1,
            gap: None,
            seconds,
        }
    }

    #[test]
    fn tables_have_a_line_per_point_and_pictures_a_curve_per_method() {
        let points = [
            point("grid", 2.0, 0.1),
            point("grid", 3.0, 0.02),
            point("kmeans", 2.0, 0.3),
        ];
        assert_eq!(table(&points).lines().count(), 5);
        assert_eq!(
            csv(&points).lines().nth(3).unwrap(),
            "kmeans,tensor,ans,2,1000,2.0000,16.000,3.0000e-1,1.0000e-2,1.0000e-1"
        );
        let picture = svg(&points, "test").unwrap();
        assert!(picture.contains("grid tensor ans") && picture.contains("kmeans tensor ans"));
        assert_eq!(
            picture.matches("<circle").count(),
            3 + 2,
            "three points, and two curves in the legend"
        );
    }

    #[test]
    fn without_sensitivities_no_loss_is_told_and_noise_is_drawn() {
        let points = [point("grid", 2.0, None), point("grid", 3.0, None)];
        assert!(
            csv(&points).ends_with(",16.000,,1.0000e-2,1.0000e-1\n"),
            "{}",
            csv(&points)
        );
        assert!(table(&points).contains("| - "), "{}", table(&points));
        assert!(svg(&points, "test").unwrap().contains("noise"));
        assert!(
            svg(&[point("grid", 2.0, 0.1)], "test")
                .unwrap()
                .contains("predicted loss")
        );
    }

    #[test]
    fn a_bound_has_columns_and_a_curve() {
        let with_gap = |bpw: f64| SweepPoint {
            gap: Some(Gap {
                n_elements: 9.0,
                entropy_bpw: bpw,
                bound_bpw: bpw - 0.2,
                gap_bpw: 0.2,
            }),
            size: InputSize {
                n_weights: 10,
                ..InputSize::default()
            },
            ..point("grid", bpw, 0.1 / bpw)
        };
        let points = [with_gap(2.0), with_gap(3.0), point("kmeans", 3.0, 0.2)];
        let text = csv(&points);
        assert!(
            text.lines().nth(1).unwrap().ends_with(",2.000,1.800,0.200"),
            "{text}"
        );
        assert!(text.ends_with(",,,\n"), "{text}");
        assert!(
            svg(&points, "test")
                .unwrap()
                .contains("bound of memoryless codes")
        );
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        assert!(svg(&[], "empty").is_err());
        assert!(svg(&[point("grid", 2.0, 0.0)], "lossless").is_err());
    }
}
