//! Files beside those of other software on the same network: how much smaller at equal divergence, and what size takes a given loss.

use super::record::Record;
use crate::evaluate::Comparison;
use serde::Serialize;
use std::path::PathBuf;

/// How much smaller a file is than one made otherwise that is as far from the original.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Saving {
    /// The file.
    pub file: PathBuf,
    /// How the other would be made.
    pub beside: String,
    /// Bytes that it would have.
    pub bytes_beside: f64,
    /// Share of these that is saved: negative if the file is larger.
    pub saved: f64,
}

/// Bytes of a way of making files at which a loss is reached.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SizeAtLoss {
    /// How files are made.
    pub how: String,
    /// Change of the loss, nats.
    pub loss_change: f64,
    /// Bytes of the whole file.
    pub bytes: f64,
}

/// Bytes of files, and what they lose.
type Points = Vec<(f64, f64)>;

/// The files made in one way. Of each record the first score counts; what is not positive has no logarithm and is left out.
fn points(records: &[Record], how: &str, lost: impl Fn(&Comparison) -> Option<f64>) -> Points {
    let point = |record: &Record| {
        let lost = lost(record.scores.first()?.comparison.as_ref()?)?;
        (lost > 0.0).then_some((record.bytes as f64, lost))
    };
    let mut points: Points = records
        .iter()
        .filter(|r| r.how == how)
        .filter_map(point)
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    points
}

/// Where lines between neighbours, through the logarithms of what is lost, come to a loss; `None` beyond the first and the last.
/// Where they do so more than once, as sizes that are not in order may, the smallest.
fn bytes_at(points: &Points, lost: f64) -> Option<f64> {
    points.windows(2).find_map(|pair| {
        let &[(small, most), (large, least)] = pair else {
            return None;
        };
        let is_between = least <= lost && lost <= most;
        let at = (most / lost).ln() / (most / least).ln();
        is_between.then(|| {
            if at.is_finite() {
                small + at * (large - small)
            } else {
                small
            }
        })
    })
}

/// The ways in which files are made, each once.
fn ways(records: &[Record]) -> Vec<&str> {
    let mut ways: Vec<&str> = Vec::new();
    for record in records {
        if !ways.contains(&record.how.as_str()) {
            ways.push(&record.how);
        }
    }
    ways
}

/// Of each file, how much is saved beside each other way whose files reach its divergence.
pub fn savings(records: &[Record], beside: &[Record]) -> Vec<Saving> {
    let mut savings = Vec::new();
    for how in ways(beside) {
        let line = points(beside, how, |c| c.divergence);
        for record in records {
            let score = record.scores.first().and_then(|s| s.comparison);
            let reached = score.and_then(|c| bytes_at(&line, c.divergence?));
            savings.extend(reached.map(|bytes_beside| Saving {
                file: record.file.clone(),
                beside: how.to_owned(),
                bytes_beside,
                saved: 1.0 - record.bytes as f64 / bytes_beside,
            }));
        }
    }
    savings
}

/// What size each way of making files takes for changes of the loss, where it has files on both sides of them.
pub fn sizes_at_losses(records: &[Record], loss_changes: &[f64]) -> Vec<SizeAtLoss> {
    let mut sizes = Vec::new();
    for how in ways(records) {
        let line = points(records, how, |c| Some(c.loss_change));
        sizes.extend(loss_changes.iter().filter_map(|&loss_change| {
            let bytes = bytes_at(&line, loss_change)?;
            Some(SizeAtLoss {
                how: how.to_owned(),
                loss_change,
                bytes,
            })
        }));
    }
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::Evaluation;
    use crate::experiments::Score;

    fn record(how: &str, bytes: u64, divergence: f64) -> Record {
        let decoded = Evaluation {
            n: 1,
            accuracy: 1.0,
            accuracy_error: 0.0,
            loss: 1.0,
            loss_error: 0.0,
            perplexity: 1.0,
        };
        let comparison = Comparison {
            accuracy_change: 0.0,
            accuracy_change_error: 0.0,
            loss_change: 2.0 * divergence,
            loss_change_error: 0.0,
            divergence: Some(divergence),
        };
        let score = Score {
            examples: "0..".into(),
            decoded,
            original: Some(decoded),
            comparison: Some(comparison),
        };
        Record {
            file: format!("{bytes}.tersor").into(),
            how: how.into(),
            settings: String::new(),
            seed: None,
            bytes,
            ratio: 1.0,
            speed: None,
            scores: vec![score],
        }
    }

    #[test]
    fn savings_are_read_off_lines_through_logarithms() {
        let beside = [
            record("peer", 400, 0.01),
            record("peer", 200, 0.1),
            record("other", 300, 0.5),
        ];
        // Half the way between 0.1 and 0.01 in logarithms is half the way between 200 and 400 bytes.
        let ours = [
            record("ours", 240, 0.1 / 10f64.sqrt()),
            record("ours", 100, 0.1),
            record("ours", 50, 0.2),
        ];
        let saved = savings(&ours, &beside);
        let shares: Vec<f64> = saved.iter().map(|s| (s.saved * 1e9).round() / 1e9).collect();
        assert_eq!(shares, [0.2, 0.5], "no file of the peer diverges by 0.2");
        assert!(saved.iter().all(|s| s.beside == "peer"), "one point is no line");
    }

    #[test]
    fn sizes_are_read_off_where_files_lie_on_both_sides() {
        let records = [record("ours", 100, 0.1), record("ours", 300, 0.001)];
        let sizes = sizes_at_losses(&records, &[0.02, 0.5]);
        let [size] = sizes.as_slice() else {
            panic!("{sizes:?}")
        };
        // The loss changes by twice the divergence: 0.02 is in the middle.
        assert!((size.bytes - 200.0).abs() < 1e-6 && size.how == "ours");
    }
}
