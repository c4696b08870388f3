//! A sweep as table, CSV and picture.

use super::SweepPoint;
use crate::{Error, Result};
use plotters::prelude::*;
use std::fmt::Write;

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

fn row(point: &SweepPoint) -> [String; 10] {
    [
        point.method.into(),
        point.scope.into(),
        point.coder.into(),
        point.target_bpw.to_string(),
        point.file_bytes.to_string(),
        format!("{:.4}", point.bpw),
        format!("{:.3}", point.ratio),
        format!("{:.4e}", point.predicted_loss),
        format!("{:.4e}", point.noise),
        format!("{:.4e}", point.squared_error),
    ]
}

/// A table in Markdown, readable as it is.
pub fn table(points: &[SweepPoint]) -> String {
    let rows: Vec<[String; 10]> = std::iter::once(COLUMNS.map(String::from))
        .chain(points.iter().map(row))
        .collect();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|r| r.get(column))
            .map(String::len)
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
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
    let mut text = COLUMNS.join(",") + "\n";
    for point in points {
        let _ = writeln!(text, "{}", row(point).join(","));
    }
    text
}

/// A picture in SVG: predicted loss (on a logarithmic scale) against bits per weight, a line per method, scope and coder.
///
/// # Errors
/// [`Error::Options`] if there is nothing to draw.
pub fn svg(points: &[SweepPoint], title: &str) -> Result<String> {
    let drawable = || points.iter().filter(|p| p.predicted_loss > 0.0);
    let range = |value: fn(&SweepPoint) -> f64| {
        drawable()
            .map(value)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            })
    };
    let ((x_low, x_high), (y_low, y_high)) = (range(|p| p.bpw), range(|p| p.predicted_loss));
    if !(x_low.is_finite() && y_low.is_finite()) {
        return Err(Error::Options(
            "the sweep has no point with a loss: there is nothing to draw".into(),
        ));
    }
    let mut text = String::new();
    draw(points, title, (x_low, x_high), (y_low, y_high), &mut text)
        .map_err(|e| Error::Options(format!("the picture could not be drawn: {e}")))?;
    Ok(text)
}

fn draw(
    points: &[SweepPoint],
    title: &str,
    x: (f64, f64),
    y: (f64, f64),
    text: &mut String,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(text, (900, 600)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(x.0 - 0.1..x.1 + 0.1, (y.0 / 1.5..y.1 * 1.5).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("bits per weight, whole file")
        .y_desc("predicted loss increase")
        .y_label_formatter(&|v| format!("{v:.0e}"))
        .draw()?;
    let mut curves: Vec<(String, Vec<&SweepPoint>)> = Vec::new();
    for point in points.iter().filter(|p| p.predicted_loss > 0.0) {
        let name = format!("{} {} {}", point.method, point.scope, point.coder);
        match curves.iter_mut().find(|c| c.0 == name) {
            Some(curve) => curve.1.push(point),
            None => curves.push((name, vec![point])),
        }
    }
    for (i, (name, mut curve)) in curves.into_iter().enumerate() {
        curve.sort_by(|a, b| a.bpw.total_cmp(&b.bpw));
        let color = Palette99::pick(i).to_rgba();
        let line = curve.iter().map(|p| (p.bpw, p.predicted_loss));
        chart
            .draw_series(LineSeries::new(line.clone(), color.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(line.map(|at| Circle::new(at, 3, color.filled())))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(method: &'static str, bpw: f64, predicted_loss: f64) -> SweepPoint {
        let (file_bytes, seconds) = (1000, 0.5);
        let (scope, coder) = ("tensor", "ans");
        SweepPoint {
            method,
            scope,
            coder,
            target_bpw: bpw,
            file_bytes,
            bpw,
            ratio: 16.0,
            predicted_loss,
            noise: 0.01,
            squared_error: 0.1,
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
        assert_eq!(picture.matches("<circle").count(), 3);
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        assert!(svg(&[], "empty").is_err());
        assert!(svg(&[point("grid", 2.0, 0.0)], "lossless").is_err());
    }
}
