//! How good a network is, and how much a compressed one differs from its original.

use crate::examples::{Batch, Examples};
use crate::gradient::logits;
use crate::graph::{Network, Weights};
use crate::loss::{Logits, divergences};
use crate::{Error, Parameters, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use tersor::Progress;

/// What a network makes of every labelled row of a set, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Cross-entropy in nats.
    pub losses: Vec<f32>,
    /// Whether the largest logit is the label's.
    pub correct: Vec<bool>,
    /// Divergence from a reference in nats; empty without one.
    pub divergences: Vec<f32>,
    /// Logits, if they were asked for.
    pub logits: Option<Logits>,
}

/// Summary of [`Scores`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Rows: images, or tokens.
    pub n: usize,
    /// Share of rows whose largest logit is the label's.
    pub accuracy: f64,
    /// Standard error of the accuracy, binomial.
    pub accuracy_error: f64,
    /// Mean cross-entropy in nats.
    pub loss: f64,
    /// Standard error of the loss.
    pub loss_error: f64,
    /// exp(loss), at most the largest number there is: a network that is broken may lose more than 709 nats.
    pub perplexity: f64,
}

/// Two networks on the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Accuracy of the other less that of the original.
    pub accuracy_change: f64,
    /// Its standard error, from the rows on which just one of the two is right.
    pub accuracy_change_error: f64,
    /// Loss of the other less that of the original, in nats.
    pub loss_change: f64,
    /// Its standard error, from the differences row by row.
    pub loss_change_error: f64,
    /// Mean Kullback-Leibler divergence of the other from the original in nats, if it was measured.
    pub divergence: Option<f64>,
}

/// Standard error of a share of `n`.
pub(crate) fn binomial_error(share: f64, n: usize) -> f64 {
    (share * (1.0 - share) / n.max(1) as f64).sqrt()
}

fn mean_and_error(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let n = values.clone().count().max(1) as f64;
    let mean = values.clone().sum::<f64>() / n;
    let variance = values.map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, (variance / n).sqrt())
}

impl Scores {
    /// Means with their standard errors.
    pub fn summary(&self) -> Evaluation {
        let n = self.losses.len();
        let right = self.correct.iter().filter(|&&c| c).count();
        let accuracy = right as f64 / n.max(1) as f64;
        let (loss, loss_error) = mean_and_error(self.losses.iter().map(|&l| f64::from(l)));
        Evaluation {
            n,
            accuracy,
            accuracy_error: binomial_error(accuracy, n),
            loss,
            loss_error,
            perplexity: loss.exp().min(f64::MAX),
        }
    }

    /// Those of some of the rows, by their index; without logits.
    #[must_use]
    pub fn filtered(&self, is_meant: impl Fn(usize) -> bool) -> Self {
        fn pick<T: Copy>(values: &[T], is_meant: &impl Fn(usize) -> bool) -> Vec<T> {
            let chosen = values.iter().enumerate().filter(|&(row, _)| is_meant(row));
            chosen.map(|(_, &value)| value).collect()
        }
        Self {
            losses: pick(&self.losses, &is_meant),
            correct: pick(&self.correct, &is_meant),
            divergences: pick(&self.divergences, &is_meant),
            logits: None,
        }
    }

    /// This, the original, against another network on the same rows.
    ///
    /// # Errors
    /// [`Error::Input`] if the two were not measured on equally many rows.
    pub fn compare(&self, other: &Self) -> Result<Comparison> {
        if self.losses.len() != other.losses.len() {
            let (a, b) = (self.losses.len(), other.losses.len());
            return Err(different_rows(a, b));
        }
        let correct = self.correct.iter().zip(&other.correct);
        let changes = correct.map(|(&a, &b)| f64::from(u8::from(b)) - f64::from(u8::from(a)));
        let (accuracy_change, accuracy_change_error) = mean_and_error(changes);
        let losses = self.losses.iter().zip(&other.losses);
        let (loss_change, loss_change_error) =
            mean_and_error(losses.map(|(&a, &b)| f64::from(b) - f64::from(a)));
        let divergences = other.divergences.iter().map(|&d| f64::from(d));
        Ok(Comparison {
            accuracy_change,
            accuracy_change_error,
            loss_change,
            loss_change_error,
            divergence: (!other.divergences.is_empty()).then(|| mean_and_error(divergences).0),
        })
    }
}

/// How to evaluate.
#[derive(Clone, Copy, Debug)]
pub struct EvaluateOptions<'a> {
    /// Examples per batch, at most.
    pub batch: usize,
    /// Keeps all logits, to be a reference later.
    pub keep_logits: bool,
    /// Scores of the original on the same examples, with its logits.
    pub reference: Option<&'a Scores>,
}

impl Default for EvaluateOptions<'_> {
    fn default() -> Self {
        Self {
            batch: 100,
            keep_logits: false,
            reference: None,
        }
    }
}

/// Scores of a network on all examples.
///
/// # Errors
/// As [`Network::forward`]; [`Error::Input`] if the reference has no logits, or those of other rows.
pub fn evaluate(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    device: &Device,
    options: &EvaluateOptions<'_>,
    progress: &dyn Progress,
) -> Result<Scores> {
    let weights = Weights::new(parameters, device, false);
    let indices: Vec<usize> = (0..examples.len()).collect();
    let mut scores = Scores {
        losses: Vec::new(),
        correct: Vec::new(),
        divergences: Vec::new(),
        logits: None,
    };
    let expected = options.reference.map(expected).transpose()?;
    let mut expected_rows = expected.map(Logits::rows);
    progress.start("evaluate", indices.len() as u64);
    for chunk in indices.chunks(network.input.at_once(options.batch)) {
        let batch: Batch = examples.batch(chunk, None)?;
        let logits = logits(network, &weights, &batch)?;
        let rows = logits.losses(&batch.labels);
        scores.losses.extend(rows.losses);
        scores.correct.extend(rows.correct);
        let labelled = || logits.labelled(&batch.labels);
        if let Some(expected) = &mut expected_rows {
            // The rows at hand first: what ends the pairs is not to take an expected row with it.
            let pairs = labelled().zip(expected).map(|(row, expected)| (expected, row));
            scores.divergences.extend(divergences(pairs));
        }
        if options.keep_logits {
            let none = || Logits {
                values: Vec::new(),
                classes: logits.classes,
            };
            let kept = scores.logits.get_or_insert_with(none);
            kept.values.extend(labelled().flatten());
        }
        progress.advance(chunk.len() as u64);
    }
    progress.finish();
    if let Some(expected) = expected {
        let (a, b) = (expected.rows().count(), scores.losses.len());
        if a != b {
            return Err(different_rows(a, b));
        }
    }
    Ok(scores)
}

/// The logits of a reference.
fn expected(reference: &Scores) -> Result<&Logits> {
    let logits = reference.logits.as_ref();
    logits.ok_or_else(|| Error::Input("the reference was evaluated without keeping its logits".into()))
}

fn different_rows(a: usize, b: usize) -> Error {
    Error::Input(format!("scores of {a} and of {b} rows cannot be compared"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_broken_network_loses_can_be_written_and_read() {
        let scores = Scores {
            losses: vec![900.0, 1100.0],
            correct: vec![false, true],
            divergences: Vec::new(),
            logits: None,
        };
        let summary = scores.summary();
        assert_eq!((summary.loss, summary.perplexity), (1000.0, f64::MAX));
        let text = serde_json::to_string(&summary).unwrap();
        assert_eq!(serde_json::from_str::<Evaluation>(&text).unwrap(), summary);
    }
}
