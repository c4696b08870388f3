//! Results as pictures: points of a few series.

use super::{ConvergenceReport, EcsqRun, Measure, PAPER_METHODS, Panel, Record, Records, Table1Report};
use crate::{Error, Result};
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::prelude::*;
use std::ops::Range;

/// Pixels.
const SIZE: (u32, u32) = (760, 480);

/// Points of a series: to the right, and up.
type Points = Vec<(f64, f64)>;

/// What a picture says.
struct Picture<'a> {
    caption: &'a str,
    axes: [&'a str; 2],
    series: Vec<(String, Points)>,
    /// Whether what goes up is drawn by its logarithm.
    is_logarithmic: bool,
    /// Whether points of a series are joined.
    has_lines: bool,
}

/// Test loss after fine-tuning against the paper's ratio, a point per seed and method, as SVG: accuracy does not separate the methods.
///
/// # Errors
/// [`Error::Input`] if the report has no row, or what the drawing says.
pub fn table1_svg(network: &str, report: &Table1Report) -> Result<String> {
    let of_method = |name: &str| -> Points {
        let rows = report.rows.iter().filter(|r| r.result.method == name);
        rows.map(|r| (r.result.after.ratio, r.result.after.loss))
            .collect()
    };
    let series = PAPER_METHODS
        .iter()
        .map(|m| (m.name().to_owned(), of_method(m.name())));
    Picture {
        caption: &format!("{network}: pruned, quantized, Huffman coded, fine-tuned"),
        axes: [
            "the paper's ratio: four bytes per parameter over bytes of the file",
            "test loss, nats",
        ],
        series: series.collect(),
        is_logarithmic: false,
        has_lines: false,
    }
    .svg()
}

/// Files against what is lost, as SVG, a series for each way of making them: divergence from the original by bytes, of those
/// that have one, or, if the first has none, the share of examples that are wrong by ratio. Of each record the first score counts.
///
/// # Errors
/// [`Error::Input`] if there is no record, or what the drawing says.
pub fn frontier_svg(network: &str, records: &Records) -> Result<String> {
    let of_first = records.records.first().and_then(|r| r.scores.first());
    let has_divergences = of_first.is_some_and(|s| s.comparison.is_some_and(|c| c.divergence.is_some()));
    let mut series: Vec<(String, Points)> = Vec::new();
    for record in &records.records {
        let Some(score) = record.scores.first() else {
            continue;
        };
        let point = match divergence(record) {
            _ if !has_divergences => (record.ratio, 100.0 * (1.0 - score.decoded.accuracy)),
            Some(divergence) => (record.bytes as f64 / 1000.0, divergence),
            None => continue,
        };
        match series.iter_mut().find(|(name, _)| *name == record.how) {
            Some((_, points)) => points.push(point),
            None => series.push((record.how.clone(), vec![point])),
        }
    }
    for (_, points) in &mut series {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    Picture {
        caption: network,
        axes: if has_divergences {
            [
                "whole file, thousands of bytes",
                "divergence from the original, nats",
            ]
        } else {
            [
                "four bytes per parameter over bytes of the file",
                "wrong, per cent",
            ]
        },
        series,
        is_logarithmic: has_divergences,
        has_lines: has_divergences,
    }
    .svg()
}

fn divergence(record: &Record) -> Option<f64> {
    let measured = record.scores.first().and_then(|s| s.comparison?.divergence);
    measured.filter(|d| *d > 0.0)
}

/// Files of some series against bits of the whole file per parameter, as SVG. Of each record the first score counts; what would have no
/// logarithm is left out of divergences and losses.
///
/// # Errors
/// [`Error::Input`] if there is no record, or what the drawing says.
pub fn panel_svg(panel: &Panel, records: &Records) -> Result<String> {
    let of_series = |name: &String| {
        let records = records.records.iter().filter(|r| r.how == *name);
        let point = |r: &Record| {
            let up = match panel.measure {
                Measure::Accuracy => 100.0 * r.scores.first()?.decoded.accuracy,
                Measure::Divergence => divergence(r)?,
                Measure::Loss => {
                    let change = r.scores.first()?.comparison?.loss_change;
                    Some(change).filter(|c| *c > 0.0)?
                }
            };
            Some((32.0 / r.ratio, up))
        };
        let mut points: Points = records.filter_map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        (name.clone(), points)
    };
    Picture {
        caption: &panel.caption,
        axes: [
            "bits of the whole file per parameter",
            match panel.measure {
                Measure::Accuracy => "right, per cent",
                Measure::Divergence => "divergence from the original, nats",
                Measure::Loss => "loss added to the original's, nats",
            },
        ],
        series: panel.series.iter().map(of_series).collect(),
        is_logarithmic: panel.measure != Measure::Accuracy,
        has_lines: true,
    }
    .svg()
}

/// How far the cost of ECSQ is above the best that any start came to, against iterations, at the slope of the middle, as SVG.
///
/// # Errors
/// [`Error::Input`] if the report has no run, or what the drawing says.
pub fn convergence_svg(network: &str, report: &ConvergenceReport) -> Result<String> {
    let slope = report.ecsq.get(report.ecsq.len() / 2).map_or(0.0, |r| r.slope);
    let runs = || report.ecsq.iter().filter(|r| r.slope == slope);
    let costs = || runs().flat_map(|r| r.trace.iter().copied());
    let best = costs().fold(f64::INFINITY, f64::min);
    let series = |run: &EcsqRun| {
        let points = run.trace.iter().enumerate();
        let points = points
            .map(|(i, j)| (i as f64, (j / best - 1.0).max(1e-6)))
            .collect();
        (run.start.clone(), points)
    };
    Picture {
        caption: &format!("{network}: iterative ECSQ from eight starts"),
        axes: ["iterations", "cost above the best, share"],
        series: runs().map(series).collect(),
        is_logarithmic: true,
        has_lines: true,
    }
    .svg()
}

/// Least and greatest, and a twentieth more on both sides.
fn range(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    let margin = (0.05 * (high - low)).max(0.01 * high.abs());
    low - margin..high + margin
}

impl Picture<'_> {
    fn svg(&self) -> Result<String> {
        let all = || self.series.iter().flat_map(|(_, points)| points);
        if all().next().is_none() {
            return Err(Error::Input("there is nothing to draw".into()));
        }
        let (right, up) = (range(all().map(|p| p.0)), range(all().map(|p| p.1)));
        let mut text = String::new();
        let drawn = if self.is_logarithmic {
            let low = all().map(|p| p.1).fold(f64::INFINITY, f64::min);
            self.draw(right, (0.8 * low..up.end * 1.2).log_scale(), &mut text)
        } else {
            self.draw(right, up, &mut text)
        };
        drawn.map_err(|e| Error::Input(format!("the picture cannot be drawn: {e}")))?;
        Ok(text)
    }

    fn draw<Y>(
        &self,
        right: Range<f64>,
        up: Y,
        text: &mut String,
    ) -> std::result::Result<(), Box<dyn std::error::Error>>
    where
        Y: AsRangedCoord<Value = f64>,
        Y::CoordDescType: ValueFormatter<f64>,
    {
        let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(self.caption, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d::<_, Y>(right, up)?;
        let [x, y] = self.axes;
        chart.configure_mesh().x_desc(x).y_desc(y).draw()?;
        for (index, (name, points)) in self.series.iter().enumerate() {
            let style = Palette99::pick(index).filled();
            if self.has_lines {
                chart.draw_series(LineSeries::new(points.iter().copied(), Palette99::pick(index)))?;
            }
            chart
                .draw_series(points.iter().map(|&at| Circle::new(at, 5, style)))?
                .label(name)
                .legend(move |(x, y)| Circle::new((x + 10, y), 5, style));
        }
        chart
            .configure_series_labels()
            .border_style(BLACK)
            .background_style(WHITE)
            .draw()?;
        drop(chart);
        area.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiments::{Measured, MethodRow, Table1Row};

    #[test]
    fn a_point_for_each_row_and_each_method_in_the_legend() {
        let at = |ratio: f64| Measured {
            bytes: 1,
            ratio,
            accuracy: 0.99,
            accuracy_error: None,
            loss: 0.02 / ratio,
        };
        let row = |method: &str, ratio: f64| Table1Row {
            seed: 1,
            file: "x.tersor".into(),
            paper_ratio: ratio,
            result: MethodRow {
                method: method.into(),
                coder: "huffman".into(),
                before: at(ratio),
                after: at(ratio),
            },
            comparison: None,
            held_out_accuracy: 0.99,
            held_out_loss: 0.03,
        };
        let report = Table1Report {
            epochs: None,
            networks: Vec::new(),
            rows: vec![row("kmeans", 45.0), row("uniform", 51.0)],
        };
        let picture = table1_svg("LeNet-5", &report).unwrap();
        assert_eq!(picture.matches("<circle").count(), 2 + PAPER_METHODS.len());
        assert!(table1_svg("LeNet-5", &Table1Report::default()).is_err());
    }
}
