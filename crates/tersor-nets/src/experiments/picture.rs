//! Table 1 as a picture: test loss against ratio, since accuracy does not separate the methods.

use super::{PAPER_METHODS, Table1Report};
use crate::{Error, Result};
use plotters::prelude::*;

/// Pixels.
const SIZE: (u32, u32) = (760, 480);

/// Points of one method: ratio and test loss in nats, one per seed.
type Points = Vec<(f64, f64)>;

/// Test loss after fine-tuning against the paper's ratio, a point per seed and method, as SVG.
///
/// # Errors
/// [`Error::Input`] if the report has no row, or what the drawing says.
pub fn table1_svg(report: &Table1Report) -> Result<String> {
    let methods: Vec<(&str, Points)> = PAPER_METHODS
        .iter()
        .map(|method| {
            let rows = report.rows.iter().filter(|r| r.result.method == method.name());
            let points = rows
                .map(|r| (r.result.after.ratio, r.result.after.loss))
                .collect();
            (method.name(), points)
        })
        .collect();
    let all: Points = methods
        .iter()
        .flat_map(|(_, points)| points.iter().copied())
        .collect();
    if all.is_empty() {
        return Err(Error::Input("the report has no row to draw".into()));
    }
    let mut text = String::new();
    draw(&methods, &all, &mut text).map_err(|e| Error::Input(format!("the picture cannot be drawn: {e}")))?;
    Ok(text)
}

/// Least and greatest, and a twentieth more on both sides.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| {
        (l.min(v), h.max(v))
    });
    let margin = (0.05 * (high - low)).max(0.01 * high.abs());
    low - margin..high + margin
}

fn draw(
    methods: &[(&str, Points)],
    all: &[(f64, f64)],
    text: &mut String,
) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "LeNet-5 on MNIST, pruned, quantized, Huffman coded, fine-tuned",
            ("sans-serif", 18),
        )
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(range(all.iter().map(|p| p.0)), range(all.iter().map(|p| p.1)))?;
    chart
        .configure_mesh()
        .x_desc("the paper's ratio: four bytes per parameter over bytes of the file")
        .y_desc("test loss, nats")
        .draw()?;
    for (index, (name, points)) in methods.iter().enumerate() {
        let style = Palette99::pick(index).filled();
        chart
            .draw_series(points.iter().map(|&at| Circle::new(at, 5, style)))?
            .label(*name)
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
            held_out_accuracy: 0.99,
            held_out_loss: 0.03,
        };
        let report = Table1Report {
            networks: Vec::new(),
            rows: vec![row("kmeans", 45.0), row("uniform", 51.0)],
        };
        let picture = table1_svg(&report).unwrap();
        assert_eq!(picture.matches("<circle").count(), 2 + PAPER_METHODS.len());
        assert!(table1_svg(&Table1Report::default()).is_err());
    }
}
