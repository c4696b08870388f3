//! The loss along one direction: its slope and its curvature there.

use super::hutchinson::gradients_beside;
use crate::examples::Examples;
use crate::graph::Network;
use crate::{Parameters, Result};
use burn::tensor::Device;
use tersor::Progress;

/// First and second derivative of the mean loss of examples along a direction d: g d and d^T H d, nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Along {
    /// g d.
    pub slope: f64,
    /// d^T H d.
    pub curvature: f64,
}

/// Measures both by gradients a step to either side, `batch` examples at a time, at most.
///
/// `direction` has a value for each of the network's parameters, none for those that do not train; the step is `step` times the
/// direction. Batches count by their labelled rows.
///
/// # Errors
/// As [`Network::forward`].
pub fn along(
    network: &Network,
    parameters: &Parameters,
    examples: &dyn Examples,
    device: &Device,
    (direction, step): (&[Vec<f32>], f32),
    batch: usize,
    progress: &dyn Progress,
) -> Result<Along> {
    let indices: Vec<usize> = (0..examples.len()).collect();
    let (mut sums, mut n_rows) = (Along::default(), 0.0);
    progress.start("derivatives along an error", indices.len() as u64);
    for chunk in indices.chunks(network.input.at_once(batch)) {
        let part = examples.batch(chunk, None)?;
        let derivative = |by: f32| -> Result<f64> {
            let gradients = gradients_beside(network, parameters, &part, device, direction, by)?;
            let products = gradients.iter().flatten().zip(direction.iter().flatten());
            Ok(products.map(|(&g, &d)| f64::from(g) * f64::from(d)).sum())
        };
        let (above, below) = (derivative(step)?, derivative(-step)?);
        let rows = part.n_labelled() as f64;
        sums.slope += rows * f64::midpoint(above, below);
        sums.curvature += rows * (above - below) / (2.0 * f64::from(step));
        n_rows += rows;
        progress.advance(chunk.len() as u64);
    }
    progress.finish();
    let rows = f64::max(n_rows, 1.0);
    Ok(Along {
        slope: sums.slope / rows,
        curvature: sums.curvature / rows,
    })
}
