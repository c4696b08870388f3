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

/// The best files made in one way: bytes and what they lose on some examples, as those that lose less than every smaller one. What is not
/// positive has no logarithm and is left out.
fn points(
    records: &[Record],
    (how, examples): (&str, &str),
    lost: impl Fn(&Comparison) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let point = |record: &Record| {
        let score = record.scores.iter().find(|s| s.examples == examples)?;
        let lost = lost(score.comparison.as_ref()?)?;
        (lost > 0.0).then_some((record.bytes as f64, lost))
    };
    let mut points: Vec<(f64, f64)> = records
        .iter()
        .filter(|r| r.how == how)
        .filter_map(point)
        .collect();
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut least = f64::INFINITY;
    points.retain(|&(_, lost)| {
        let is_better = lost < least;
        least = least.min(lost);
        is_better
    });
    points
}

/// Where lines between such points, through the logarithms of what is lost, come to a loss; `None` beyond the first and the last.
fn bytes_at(points: &[(f64, f64)], lost: f64) -> Option<f64> {
    points.windows(2).find_map(|pair| {
        let &[(small, most), (large, least)] = pair else {
            return None;
        };
        let at = (most / lost).ln() / (most / least).ln();
        (least <= lost && lost <= most).then_some(small + at * (large - small))
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

/// Of each file, how much is saved beside each other way whose files reach its divergence, on the examples of its first score.
pub fn savings(records: &[Record], beside: &[Record]) -> Vec<Saving> {
    let mut savings = Vec::new();
    for how in ways(beside) {
        for record in records {
            let reached = record.scores.first().and_then(|score| {
                let line = points(beside, (how, &score.examples), |c| c.divergence);
                bytes_at(&line, score.comparison?.divergence?)
            });
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

/// What size each way of making files takes for changes of the loss, where it has files on both sides of them that lose something. The
/// examples are those of the first score of all.
pub fn sizes_at_losses(records: &[Record], loss_changes: &[f64]) -> Vec<SizeAtLoss> {
    let Some(first) = records.first().and_then(|r| r.scores.first()) else {
        return Vec::new();
    };
    let mut sizes = Vec::new();
    for how in ways(records) {
        let line = points(records, (how, &first.examples), |c| Some(c.loss_change));
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
    fn larger_files_that_are_worse_do_not_count() {
        let beside = [
            record("peer", 100, 0.01),
            record("peer", 200, 0.1),
            record("peer", 300, 0.05),
            record("peer", 400, 0.001),
        ];
        let saved = savings(&[record("ours", 125, 0.01 / 10f64.powf(0.25))], &beside);
        // A quarter of the way from 100 to 400 bytes.
        assert!((saved[0].bytes_beside - 175.0).abs() < 1e-6, "{saved:?}");
        assert!(savings(&[record("ours", 50, 0.05)], &beside).is_empty());
    }

    #[test]
    fn scores_on_other_examples_are_not_compared() {
        let mut beside = [record("peer", 400, 0.01), record("peer", 200, 0.1)];
        let ours = [record("ours", 100, 0.05)];
        assert_eq!(savings(&ours, &beside).len(), 1);
        beside[0].scores[0].examples = "!0%10".into();
        assert!(savings(&ours, &beside).is_empty());
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
