//! How alike two estimates of sensitivities are.

use super::Comparison;
use crate::experiments::estimates::estimate_name;
use crate::experiments::files::ExperimentTask;
use crate::experiments::record::write_json;
use crate::graph::ParameterSpec;
use crate::sensitivity::{Diagonal, Estimate, Estimator, mean, read_sensitivities};
use crate::{Result, graph::Network};
use serde::Serialize;

/// What others are compared with: noisy, negative values as zero, of examples in another order than theirs.
const REFERENCE: Estimate = Estimate {
    seed: 1,
    ..Estimate::new(Estimator::Hutchinson { probes: 4 }, 1000)
};
/// Name of the report.
const REPORT: &str = "correlations.json";

/// Rank correlations (Spearman) of an estimate with Hutchinson's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Correlation {
    /// The estimate, and how many examples.
    pub estimate: String,
    /// Over all weights of two or more dimensions.
    pub weights: f64,
    /// The median of those within one tensor, the lower one if there are two.
    pub within: f64,
    /// Between the means of tensors.
    pub between: f64,
}

/// Ranks from 0, equal values sharing the mean of theirs.
fn ranks(values: &[f32]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let value = |&i: &usize| values.get(i).copied().unwrap_or_default();
    order.sort_by(|a, b| value(a).total_cmp(&value(b)));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    for run in order.chunk_by(|a, b| value(a).total_cmp(&value(b)).is_eq()) {
        let rank = start as f64 + (run.len() - 1) as f64 / 2.0;
        for &i in run {
            if let Some(slot) = ranks.get_mut(i) {
                *slot = rank;
            }
        }
        start += run.len();
    }
    ranks
}

/// Spearman's rank correlation; not a number if one of the two does not vary.
fn spearman(a: &[f32], b: &[f32]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let middle = (a.len() as f64 - 1.0) / 2.0;
    let product =
        |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| (x - middle) * (y - middle)).sum() };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// Indices of the parameters of two or more dimensions.
fn matrices(network: &Network) -> Vec<usize> {
    let is_matrix = |(_, spec): &(usize, &ParameterSpec)| spec.shape.len() > 1;
    let found = network.parameters.iter().enumerate().filter(is_matrix);
    found.map(|(i, _)| i).collect()
}

fn correlate(network: &Network, estimate: String, h: &Diagonal, reference: &Diagonal) -> Correlation {
    let tensors: Vec<(&[f32], &[f32])> = matrices(network)
        .into_iter()
        .filter_map(|i| Some((h.get(i)?.as_slice(), reference.get(i)?.as_slice())))
        .filter(|(a, b)| !a.is_empty() && a.len() == b.len())
        .collect();
    let (a, b): (Vec<&[f32]>, Vec<&[f32]>) = tensors.iter().copied().unzip();
    let means = |tensors: &[&[f32]]| tensors.iter().map(|t| mean(t) as f32).collect::<Vec<f32>>();
    let mut within: Vec<f64> = tensors
        .iter()
        .map(|(a, b)| spearman(a, b))
        .filter(|r| !r.is_nan())
        .collect();
    within.sort_by(f64::total_cmp);
    Correlation {
        estimate,
        weights: spearman(&a.concat(), &b.concat()),
        within: within
            .get(within.len().saturating_sub(1) / 2)
            .copied()
            .unwrap_or(f64::NAN),
        between: spearman(&means(&a), &means(&b)),
    }
}

impl Comparison {
    /// Correlates every estimate that files are made with, one of Hutchinson's among them, with Hutchinson's of other vectors.
    ///
    /// # Errors
    /// As measuring.
    pub fn correlations(&self, task: &ExperimentTask<'_>) -> Result<Vec<Correlation>> {
        let read = |estimate| {
            let path = self.sensitivities(task, estimate, false)?;
            read_sensitivities(&path, &task.network.parameters)
        };
        let reference = read(REFERENCE)?;
        let correlate = |estimate| {
            let name = estimate_name(estimate);
            Ok(correlate(task.network, name, &read(estimate)?, &reference))
        };
        let found: Vec<Correlation> = self
            .estimates()
            .into_iter()
            .map(correlate)
            .collect::<Result<_>>()?;
        write_json(&task.folder.join(REPORT), &found)?;
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_equal_values_are_shared() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 0.0]), [2.5, 1.0, 2.5, 0.0]);
    }

    #[test]
    fn correlation_sees_order_alone() {
        let a = [0.1, 5.0, 0.2, 9.0, 0.3];
        let grown = a.map(|x: f32| x.exp());
        assert!((spearman(&a, &grown) - 1.0).abs() < 1e-12);
        assert!((spearman(&a, &grown.map(|x| -x)) + 1.0).abs() < 1e-12);
        assert!(spearman(&a, &[1.0, 1.0, 1.0, 1.0, 1.0]).is_nan());
        // 1 - 6 sum d^2 / n (n^2 - 1), without ties.
        let b = [2.0, 1.0, 3.0, 5.0, 4.0];
        let d: [f64; 5] = [0.0 - 1.0, 3.0 - 0.0, 1.0 - 2.0, 4.0 - 4.0, 2.0 - 3.0];
        let expected = 1.0 - 6.0 * d.iter().map(|d| d * d).sum::<f64>() / 120.0;
        assert!((spearman(&a, &b) - expected).abs() < 1e-12);
    }
}
